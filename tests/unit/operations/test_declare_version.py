"""The version of a cluster is written into the estate's own file, completely or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from estate.loader import DATA, load
from operations.upgrade import declare_version


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a copy of the project's own estate, to be changed."""
    return Path(shutil.copytree(DATA, tmp_path / "data"))


def test_a_declared_version_is_loaded_again_and_the_file_keeps_its_mode(data: Path) -> None:
    file = data / "kubernetes.yaml"
    before = file.read_bytes()
    file.chmod(0o640)
    assert declare_version("futian", "1.36.4", data) == file
    assert {c.site: c.version for c in load(data).clusters}["futian"] == "1.36.4"
    assert declare_version("futian", "1.37.2", data).read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o640
    assert not list(data.glob(".*"))


def test_an_unknown_site_changes_nothing(data: Path) -> None:
    before = (data / "kubernetes.yaml").read_bytes()
    with pytest.raises(KeyError):
        declare_version("province", "1.36.4", data)
    assert (data / "kubernetes.yaml").read_bytes() == before
