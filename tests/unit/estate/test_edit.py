"""One value of an estate's file is replaced; every other character stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from estate import edit
from estate.loader import DATA, load
from estate.problems import EstateError

TEXT = """\
# why
kubernetes:  # all of it
  clusters:
    - {site: a, version: 1.37.2}   # first
    - site: b
      version: "1.36.4" # quoted
"""


@pytest.mark.parametrize(
    ("index", "value", "old", "new"),
    [
        (0, "1.36.4", "version: 1.37.2}", "version: 1.36.4}"),
        (1, "1.37.2", '"1.36.4" #', "1.37.2 #"),
        (0, "1.37", "version: 1.37.2}", 'version: "1.37"}'),
        (0, "城市", "version: 1.37.2}", "version: 城市}"),
    ],
)
@pytest.mark.parametrize("before", ["", "\ufeff", "# 民政\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_the_value_changes(index: int, value: str, old: str, new: str, before: str, newline: str) -> None:
    text = (before + TEXT).replace("\n", newline)
    assert edit.with_value(text, ("kubernetes", "clusters", index, "version"), value) == text.replace(old, new)


@pytest.mark.parametrize(
    "keys",
    [
        ("nothing",),
        ("kubernetes", "clusters", 2, "version"),
        ("kubernetes", 0),
        ("kubernetes", "clusters", "a"),
        ("kubernetes", "clusters"),
    ],
)
def test_a_missing_value_is_not_added(keys: tuple[str | int, ...]) -> None:
    with pytest.raises(KeyError):
        edit.with_value(TEXT, keys, "x")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a copy of the project's own estate, to be changed."""
    return Path(shutil.copytree(DATA, tmp_path / "data"))


def test_one_clusters_version_changes_and_nothing_else(data: Path) -> None:
    before = (data / "kubernetes.yaml").read_text()
    file, text = edit.with_cluster_version("futian", "1.36.4", data)
    assert file == data / "kubernetes.yaml"
    assert file.read_text() == before
    file.write_text(text)
    assert {c.site: c.version for c in load(data).clusters}["futian"] == "1.36.4"
    assert edit.with_cluster_version("futian", "1.37.2", data) == (file, before)


def test_a_site_without_a_cluster_and_a_broken_estate_are_refused(data: Path) -> None:
    with pytest.raises(KeyError):
        edit.with_cluster_version("province", "1.36.4", data)
    (data / "kubernetes.yaml").write_text("kubernetes: [")
    with pytest.raises(EstateError):
        edit.with_cluster_version("futian", "1.36.4", data)
