"""A client that writes numbered rows one after another, whatever comes, and notes which were acknowledged.

Usage: writer.py DSN FILE. Every line of FILE is a row's number, written once its commit was acknowledged.
"""

import sys
import time
import warnings
from pathlib import Path

import psycopg

RETRY_S = 0.2


def main(dsn: str, path: str) -> None:
    """Until killed. A commit that was acknowledged with a warning is unknown, not acknowledged."""
    number, connection, notices = 0, None, []
    with Path(path).open("a", buffering=1) as acknowledged:
        while True:
            number += 1
            try:
                if connection is None:
                    connection = psycopg.connect(dsn, autocommit=True, connect_timeout=2, prepare_threshold=None)
                    connection.add_notice_handler(notices.append)
                notices.clear()
                connection.execute("INSERT INTO public.row (number) VALUES (%s)", (number,))
                if not notices:
                    acknowledged.write(f"{number}\n")
            except psycopg.Error:
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(RETRY_S)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:3])
