"""A sound estate that a test may spoil, and a way to read it back."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from estate.loader import EstateError, load
from estate.problems import Problem
from tests.unit.estate.documents import SOUND, Document, Refused


@pytest.fixture
def document() -> Document:
    """A sound estate in one document, a fresh copy for each test."""
    return copy.deepcopy(SOUND)


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Write the document to a file, load it, and give the problems; an estate that loads fails the test."""

    def read(document: Document) -> tuple[Problem, ...]:
        file = tmp_path / "estate.yaml"
        file.write_text(yaml.safe_dump(json.loads(json.dumps(document)), allow_unicode=True), encoding="utf-8")
        with pytest.raises(EstateError) as caught:
            load(file)
        assert all(problem.file == str(file) for problem in caught.value.problems)
        return caught.value.problems

    return read
