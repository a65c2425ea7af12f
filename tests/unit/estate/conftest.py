"""A valid estate that a test may change, and a function that loads it again."""

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
    """Return a valid estate as one document, a new copy for each test."""
    return copy.deepcopy(SOUND)


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Write the document to a file, load it and return the problems. If it loads without problems, the test fails."""

    def read(document: Document) -> tuple[Problem, ...]:
        file = tmp_path / "estate.yaml"
        file.write_text(yaml.safe_dump(json.loads(json.dumps(document)), allow_unicode=True), encoding="utf-8")
        with pytest.raises(EstateError) as caught:
            load(file)
        assert all(problem.file == str(file) for problem in caught.value.problems)
        return caught.value.problems

    return read
