"""The passphrase is made once, and a wrong one is recognised without an exception."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stacks.state import passphrase

SALT = "v1:c2FsdHNhbHQ=:v1:bm9uY2Ugbm9uY2Uh:99K+XwDvjT5zvU8bp+Sym/Pke14Q0g=="
"""Salt of a state that the passphrase `right` decrypts."""


@pytest.mark.parametrize("text", ["right", "right\n"])
def test_the_right_passphrase_opens_with_and_without_a_newline(text: str) -> None:
    assert passphrase.opens(text, SALT)


@pytest.mark.parametrize("salt", [SALT, "", "v1", "v1:a:b:c:d", "v1:!:v1:!:!", SALT[:-4]])
def test_a_wrong_passphrase_or_a_damaged_salt_is_refused(salt: str) -> None:
    assert not passphrase.opens("wrong", salt)


def test_concurrent_calls_create_one_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    threads = [threading.Thread(target=passphrase.make, args=(path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [file.name for file in tmp_path.iterdir()] == ["passphrase"]
    assert len(path.read_text().strip()) > 32
