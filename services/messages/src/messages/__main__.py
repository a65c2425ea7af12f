"""Run one instance: `python -m messages`. Its settings come from the environment (see `messages.settings`)."""

import os
import sys

import uvicorn

from messages.observability import log_json
from messages.settings import SettingsError, from_environment
from messages.web import create_app


def main() -> int:
    """Serve until a signal arrives. If a setting is wrong, print one sentence and return 2."""
    try:
        settings = from_environment(os.environ)
        app = create_app(settings)
    except (SettingsError, OSError) as error:
        print(f"messages: {error}", file=sys.stderr)
        return 2
    log_json()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
