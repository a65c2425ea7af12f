"""The guide's new bureau fits in the shipped estate, and a larger one does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from estate.loader import DATA, EstateError, load
from workstation import paths


def estate_with(folder: Path, entry: str) -> Path:
    """Write the shipped estate with one more bureau."""
    for file in DATA.glob("*.yaml"):
        (folder / file.name).write_bytes(file.read_bytes())
    bureaus = folder / "bureaus.yaml"
    bureaus.write_text(bureaus.read_text(encoding="utf-8") + entry, encoding="utf-8")
    return folder


def guides_entry() -> str:
    """Return the entry from the guide."""
    text = (paths.repo() / "docs" / "bureaus.md").read_text(encoding="utf-8")
    (entry,) = re.findall(r"```yaml\n(  - name: planning\n.*?)```", text, re.DOTALL)
    return str(entry)


def test_the_guides_entry_is_sufficient_for_a_new_bureau(tmp_path: Path) -> None:
    assert "planning" in [bureau.name for bureau in load(estate_with(tmp_path, guides_entry())).bureaus]


@pytest.mark.parametrize(("fits", "larger"), [("memory_mib: 256", "memory_mib: 257"), ("cpus: 0.5", "cpus: 0.51")])
def test_a_larger_bureau_does_not_fit(tmp_path: Path, fits: str, larger: str) -> None:
    assert fits in guides_entry()
    with pytest.raises(EstateError, match="lower it or enlarge them"):
        load(estate_with(tmp_path, guides_entry().replace(fits, larger)))
