"""A client that writes numbered rows one after another, continues after every error, and records acknowledged rows.

Usage: writer.py DSN FILE. Every line of FILE is a row's number, written after its commit was acknowledged.
"""

import sys
import time
import warnings
from pathlib import Path

import psycopg

RETRY_S = 0.2


def main(dsn: str, path: str) -> None:
    """Write until killed. A commit that ends with a warning does not count as acknowledged: its result is unknown."""
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
