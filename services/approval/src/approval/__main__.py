"""Run one instance: `python -m approval`. Its settings come from the environment (see `approval.settings`)."""

import os
import sys

import uvicorn

from approval.http_limits import LimitedHttpProtocol
from approval.observability import log_json
from approval.settings import SettingsError, from_environment
from approval.web import create_app


def main() -> int:
    """Serve until a signal arrives. If a setting is wrong, print one sentence and return 2."""
    try:
        settings = from_environment(os.environ)
    except SettingsError as error:
        print(f"approval: {error}", file=sys.stderr)
        return 2
    log_json()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=LimitedHttpProtocol,
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
