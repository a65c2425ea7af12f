"""Runs one instance: `python -m approval`, settings from the environment (see approval.settings)."""

import os
import sys

import uvicorn

from approval.http_limits import LimitedHttpProtocol
from approval.observability import log_json
from approval.settings import SettingsError, from_environment
from approval.web import create_app


def main() -> int:
    """Serves until a signal ends it; 2 with one sentence if a setting is wrong."""
    try:
        settings = from_environment(os.environ)
    except SettingsError as fault:
        print(f"approval: {fault}", file=sys.stderr)
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
