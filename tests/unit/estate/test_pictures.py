"""What people look at: tables, the one document, the drawing."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from estate.addressing import plan
from estate.diagram import draw
from estate.loader import DATA, load
from estate.model import Estate
from estate.printed import FOLDER
from estate.show import places_of, tables, to_json, to_text, to_yaml

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "real-estate"


@pytest.fixture(params=[DATA, EXAMPLE], ids=["own", "example"])
def estate(request: pytest.FixtureRequest) -> Estate:
    """Both estates that the project ships."""
    return load(request.param)


def test_one_document_loads_to_the_same_estate(estate: Estate, tmp_path: Path) -> None:
    """`show --yaml` and `check --file` are each other's inverse."""
    file = tmp_path / "all.yaml"
    file.write_text(to_yaml(estate), encoding="utf-8")
    assert load(file) == estate


def test_every_host_is_drawn_with_its_address(estate: Estate) -> None:
    """The picture is well-formed, leaves out no machine and no link."""
    picture = draw(estate)
    root = ElementTree.fromstring(picture)
    texts = "".join(root.itertext())
    for host in estate.hosts:
        assert host.name in texts
    for link in estate.links:
        assert link.name in texts
        assert link.path in texts
    assert str(plan(estate).anycast["approval"].ipv6) in texts


def test_the_drawing_is_the_same_every_time(estate: Estate) -> None:
    """So that a change of the picture is a change of the estate."""
    assert draw(estate) == draw(estate)


def test_the_generated_drawing_is_current() -> None:
    """`python -m estate.printed` writes it anew."""
    assert (FOLDER / "estate.svg").read_text(encoding="utf-8") == draw(load())


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_tables_are_aligned_in_both_languages(estate: Estate, lang: str) -> None:
    """Chinese characters are counted twice, as a terminal shows them."""
    text = to_text(estate, "zh" if lang == "zh" else "en")
    assert "futian" in text
    rules = [line for line in text.splitlines() if "─" in line]
    assert len(rules) == len(tables(estate))
    assert places_of("福田a") == 5


def test_json_has_every_host(estate: Estate) -> None:
    """Objects keyed by the English heads."""
    hosts = to_json(estate)["hosts"]
    assert isinstance(hosts, list)
    assert [host["name"] for host in hosts] == [host.name for host in estate.hosts]
