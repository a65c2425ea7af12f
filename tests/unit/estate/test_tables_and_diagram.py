"""Outputs for people: the tables, the document and the drawing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from estate.address_report import FOLDER
from estate.addressing import plan
from estate.diagram import draw
from estate.loader import DATA, load
from estate.model import Estate
from estate.tables import Language, display_width, tables, to_json, to_text, to_yaml
from tests.unit.playbooks.clusters import switched_on

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "real-estate"


@pytest.fixture(params=[DATA, EXAMPLE], ids=["own", "example"])
def estate(request: pytest.FixtureRequest) -> Estate:
    """Return both estates that the project ships."""
    return load(request.param)


def test_one_document_loads_to_the_same_estate(estate: Estate, tmp_path: Path) -> None:
    """`show --yaml` and `check --file` are each other's inverse."""
    file = tmp_path / "all.yaml"
    file.write_text(to_yaml(estate), encoding="utf-8")
    assert load(file) == estate


def test_every_host_is_drawn_with_its_address(estate: Estate) -> None:
    """The picture is well-formed and contains every machine and every link."""
    picture = draw(estate)
    root = ElementTree.fromstring(picture)
    texts = "".join(root.itertext())
    for host in estate.hosts:
        assert host.name in texts
    for link in estate.links:
        assert link.name in texts
        assert link.path in texts
    assert str(plan(estate).anycast["approval"].ipv6) in texts


SVG = "{http://www.w3.org/2000/svg}"


def drawn(root: ElementTree.Element) -> set[tuple[str, ...]]:
    """Return all marks below the element: icons, lines by colour and dash, dashed frames, pills and backgrounds."""
    found: set[tuple[str, ...]] = set()
    glyphs = [g for g in root.iter(f"{SVG}g") if "transform" in g.attrib]
    strokes = {id(part) for glyph in glyphs for part in glyph}
    found |= {("glyph", *(part.get("d", part.tag) for part in glyph)) for glyph in glyphs}
    for path in root.iter(f"{SVG}path"):
        if id(path) not in strokes:
            found.add(("line", path.get("stroke", ""), path.get("stroke-dasharray", "")))
    for box in root.iter(f"{SVG}rect"):
        if box.get("stroke-dasharray"):
            found.add(("frame", box.get("stroke-dasharray", "")))
        if box.get("height") == "20.0" and box.get("rx") == "10.0":
            found.add(("pill", box.get("fill", "")))
        if box.get("rx") == "22.0":
            found.add(("ground", box.get("fill", "")))
    return found


def test_the_legend_explains_everything_that_is_drawn(estate: Estate) -> None:
    """A reader would have to guess icons, line colours, frames and pills that the legend lacks."""
    root = ElementTree.fromstring(draw(estate))
    legend = next(g for g in root.iter(f"{SVG}g") if g.get("id") == "legend")
    grounds = {("ground", box.get("fill", "")) for box in legend.iter(f"{SVG}rect") if box.get("rx") == "5.0"}
    explained = drawn(legend) | grounds
    root.remove(legend)
    assert len(drawn(root)) > 20
    assert drawn(root) - explained == set()


def test_the_clusters_are_drawn_with_their_addresses(estate: Estate) -> None:
    """The picture shows each site's version, nodes, prefixes, and the machine with the control plane and registry."""
    root = ElementTree.fromstring(draw(estate))
    groups = {g.get("id"): "".join(g.itertext()) for g in root.iter(f"{SVG}g")}
    computed = plan(estate)
    for cluster in estate.clusters:
        card = groups[f"{cluster.site} kubernetes"]
        assert cluster.version in card
        assert str(computed.clusters[cluster.site].pods.ipv6) in card
        assert str(computed.clusters[cluster.site].cluster_ips.ipv4) in card
        nodes = [host.name for host in estate.nodes_at(cluster.site)]
        assert all(node in card for node in nodes)
        assert "registry" in groups[nodes[0]]
    assert str(computed.anycast["approval"].ipv4) in groups["legend"]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_drawing_in_one_language_has_no_word_of_the_other(estate: Estate, lang: Language) -> None:
    """Names, units, products and commands stay in Latin letters in Chinese, as in the tables."""
    root = ElementTree.fromstring(draw(estate, lang))
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    if lang == "en":
        assert not re.search(r"[一-鿿]", "".join(texts))
        return
    english = {"machines", "links", "sites", "router", "edge router", "applications", "vantage", "votes", "one", "the"}
    assert not english & {word for text in texts for word in re.findall(r"[a-z]+", text)}


def test_the_drawing_is_the_same_every_time(estate: Estate) -> None:
    """A changed picture therefore means a changed estate."""
    assert draw(estate) == draw(estate)


def test_the_generated_drawing_is_current() -> None:
    """`python -m estate.address_report` writes it again."""
    assert (FOLDER / "estate.svg").read_text(encoding="utf-8") == draw(load())


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_tables_are_aligned_in_both_languages(estate: Estate, lang: Language) -> None:
    """A Chinese character counts as two cells, as in a terminal."""
    text = to_text(estate, lang)
    assert "futian" in text
    rules = [line for line in text.splitlines() if "─" in line]
    assert len(rules) == len(tables(estate, lang))
    assert display_width("福田a") == 5


def test_each_language_keeps_to_itself(estate: Estate) -> None:
    """Names, units and addresses stay in Latin letters in Chinese, because commands and configurations use them."""
    assert not re.search(r"[一-鿿]", to_text(estate, "en"))
    named = (estate.places, estate.hosts, estate.links, estate.bureaus, estate.services, estate.vantages)
    names = {place.name for places in named for place in places}
    names |= {link.path for link in estate.links} | {estate.name}
    units = {"IPv", "ms", "Mbit", "s", "RTO", "RPO", "p", "Kubernetes", "Pod", "MiB"}
    for word in re.findall(r"[A-Za-z][A-Za-z0-9-]*", re.sub(r"[0-9a-f]*:[0-9a-f:]+", "", to_text(estate, "zh"))):
        assert word in names or word.rstrip("0123456789") in units, word


def test_json_has_every_host_with_values_of_their_own_types(estate: Estate) -> None:
    """Numbers are numbers, lists are lists, and no key needs quotes in jq."""
    document: Any = json.loads(json.dumps(to_json(estate)))
    assert [host["name"] for host in document["hosts"]] == [host.name for host in estate.hosts]
    assert document["places"][0]["asn"] == estate.sites[0].asn
    assert document["links"][0]["ends"] == list(estate.links[0].ends)
    assert document["services"][0]["objectives"]["rto_s"] == estate.services[0].objectives.rto_s
    assert ip_address(document["services"][0]["anycast"]["ipv6"]).version == 6
    assert all(re.fullmatch(r"[a-z0-9_]+", key) for key in keys(document))


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_bureau_is_shown_with_its_use_of_capacity(lang: Language) -> None:
    """The table has its quota at each site and in total, and the larger share of processors or memory."""
    estate = switched_on(load())
    shown = next(table for table in tables(estate, lang) if any(row[0] == "human-resources" for row in table.rows))
    assert shown.rows[0][2:] == ("approval", "1.5", "1024", "8", "4.5", "3072", "80%", "", "")
    bureau = to_json(estate)["bureaus"][0]  # type: ignore[index]
    assert (bureau["namespace"], bureau["group"]) == ("human-resources", "bureau:human-resources")
    assert bureau["sites"] == [{"site": site.name, "share": 0.8} for site in estate.sites]


def keys(value: Any) -> Iterator[str]:
    """Return the keys of all objects at any depth."""
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys(item)
