"""The report has the measured figures in both languages and is self-contained."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from failover.drills import DRILLS as DRILL_LIST
from failover.drills import Drill
from failover.report import messages, render, write
from failover.report.json_report import as_json
from failover.report.svg import Scale, merged, spread, timeline
from failover.report.verdict import problems, sentence
from failover.result import Verdict
from monitors.collectors.kubernetes import CLUSTER_DOWN
from monitors.collectors.postgres import NOT_STREAMING
from tests.unit.failover import sample_drill

STANDBY_STOPPED = NOT_STREAMING.at("futian-data1")
DRILLS = {
    "pass": sample_drill.result(),
    "objective-missed": sample_drill.result(slow=True),
    "data-violated": sample_drill.result(spoil=True),
    "failed": sample_drill.result(healthy_wall=None, remaining=(STANDBY_STOPPED,)),
}


@pytest.mark.parametrize("verdict", DRILLS)
def test_the_verdict_follows_from_the_measurements(verdict: str) -> None:
    result = DRILLS[verdict]
    assert result.verdict.value == verdict
    assert result.exit_code == {"pass": 0, "objective-missed": 5}.get(verdict, 1)


def test_the_json_has_the_promised_shape() -> None:
    value = json.loads(json.dumps(as_json(DRILLS["pass"])))
    assert value["objectives"]["rto_s"] == 40
    assert value["objectives"]["rpo_records"] == 0
    measured = value["measured"]
    assert measured["write_outage_s"] == pytest.approx(21.3)
    assert measured["read_outage_s"] == pytest.approx(0.8)
    assert measured["recovery_s"] == pytest.approx(63.5)
    assert measured["pods_serving_s"] == pytest.approx(15.2), "must count from the power on"
    assert (measured["acknowledged"], measured["lost"], measured["duplicated"]) == (1700, 0, 0)
    assert {"id", "scenario", "site", "verdict", "objectives", "measured", "timeline", "report"} <= value.keys()
    assert measured.keys() >= {
        "rate_per_s", "acknowledged", "refused", "unknown", "lost", "duplicated", "write_outage_s", "read_outage_s",
        "recovery_s", "availability", "pods_serving_s",
    }  # fmt: skip
    assert {"at_s", "event", "source"} == set(value["timeline"][0])
    assert value["timeline"][1] == {
        "at_s": 0.0,
        "event": "futian loses power, its links drop all packets",
        "source": "injector",
    }


@pytest.mark.parametrize("lang", messages.LANGUAGES)
def test_the_time_until_the_pods_serve_is_reported_and_has_no_promise(lang: str) -> None:
    """It is in the timeline and in a tile. However long it is, the verdict does not count it."""
    name, event = {
        "zh": ("Pod 恢复服务", "福田中心的 Pod 恢复服务"),
        "en": ("Pods serve again", "the pods of Futian serve again"),
    }[lang]
    page = render(DRILLS["pass"], sample_drill.ESTATE, lang)
    assert event in page
    tile = re.search(rf"<h3>{name}</h3>.*?</div>", page, flags=re.DOTALL)
    assert tile
    assert "15.2" in tile[0]
    assert "bar" not in tile[0]
    assert sample_drill.result(pods_wall=sample_drill.START + 3600).verdict is Verdict.PASS


@pytest.mark.parametrize("changes", [{"pods_wall": None}, {"restored_wall": None}])
def test_a_site_without_pods_or_a_drill_without_power_on_has_no_pod_time(changes: dict[str, None]) -> None:
    result = sample_drill.result(**changes)
    assert as_json(result)["measured"]["pods_serving_s"] is None
    assert "<h3>Pods serve again</h3>" not in render(result, sample_drill.ESTATE, "en")


@pytest.mark.parametrize(
    ("since_s", "failed", "outage_s"), [(sample_drill.LOST_AT - 1, 426, 21.3), (10.0, 386, 0.0), (40.0, 0, 0.0)]
)
def test_the_effect_of_a_returning_site_is_measured(since_s: float, failed: int, outage_s: float) -> None:
    """The writes after the power on whose first attempt failed, and the longest outage that began after it. An earlier
    outage belongs to the loss and does not count again."""
    result = sample_drill.result(restored_wall=sample_drill.START + since_s)
    due = round((sample_drill.END - since_s) * 20)
    expected = {"writes": due, "writes_failed_at_first": failed, "write_outage_s": pytest.approx(outage_s)}
    measured = as_json(result)["measured"]
    assert measured["writes_after_heal"] == measured["return_of_power"] == expected
    page = render(result, sample_drill.ESTATE, "en")
    assert f"of {due:,} after the power on" in page
    assert (f"{failed:,} of {due:,} writes" in page) == bool(failed), "it must be an improvement only if writes failed"
    assert result.verdict is Verdict.PASS, "the verdict must not count it"


def test_without_power_on_no_effect_is_reported() -> None:
    result = sample_drill.result(restored_wall=None)
    assert as_json(result)["measured"]["return_of_power"] is None
    assert "failed after the power on" not in render(result, sample_drill.ESTATE, "en")


def tiles_in(page: str, group: str) -> list[str]:
    """Return the tiles of one group of the page."""
    part = re.search(rf'<div class="tiles {group}">(.*?)\n  </div>', page, flags=re.DOTALL)
    assert part
    return re.findall(r'<div class="tile.*?</p>\s*</div>', part[1], flags=re.DOTALL)


@pytest.mark.parametrize("lang", messages.LANGUAGES)
def test_figures_of_the_verdict_are_apart_from_other_figures(lang: str) -> None:
    """With a pass, a slow p99 is in the other group and is not marked as kept or broken. The verdict's sentence says
    that it does not count."""
    promised = DRILLS["pass"].objectives.model_copy(update={"latency_p99_ms": 5})
    slow = sample_drill.result(objectives=promised)
    assert slow.verdict is Verdict.PASS
    page = render(slow, sample_drill.ESTATE, lang)
    assert ['class="tile kept"' in tile for tile in tiles_in(page, "counted")] == [True] * 4
    beside = tiles_in(page, "beside")
    assert len(beside) == 5
    assert all('class="tile"' in tile and "bar" not in tile for tile in beside)
    assert "p99" in beside[0]
    said = {"zh": "不计入判定", "en": "the verdict does not count it"}[lang]
    assert said in sentence(slow, sample_drill.ESTATE, lang)
    quick = sample_drill.result(objectives=promised.model_copy(update={"latency_p99_ms": 60_000}))
    assert said not in sentence(quick, sample_drill.ESTATE, lang)


@pytest.mark.parametrize(
    ("verdict", "kept"),
    [
        ("pass", [True, True, True, True]),
        ("objective-missed", [False, True, True, True]),
        ("data-violated", [True, True, False, True]),
        ("failed", [True, True, True, False]),
    ],
)
def test_the_tiles_that_count_agree_with_the_verdict(verdict: str, kept: list[bool]) -> None:
    counted = tiles_in(render(DRILLS[verdict], sample_drill.ESTATE, "en"), "counted")
    assert ["tile kept" in tile for tile in counted] == kept


def test_a_read_outage_longer_than_promised_misses_an_objective() -> None:
    """The objective for reads is judged like the objective for writes."""
    tight = sample_drill.result(objectives=DRILLS["pass"].objectives.model_copy(update={"read_outage_s": 0.5}))
    assert tight.verdict is Verdict.MISSED
    assert [(r.code, r.promised) for r in tight.reasons] == [("read_outage", 0.5)]


@pytest.mark.parametrize("lang", messages.LANGUAGES)
@pytest.mark.parametrize("verdict", DRILLS)
def test_a_page_is_complete_and_self_contained(verdict: str, lang: str) -> None:
    page = render(DRILLS[verdict], sample_drill.ESTATE, lang)
    assert not re.findall(r"(?:src|href)\s*=|@import|url\(", page)
    assert not re.findall(r"\{[a-z_]+\}", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)), (
        "every value must be filled in"
    )
    assert sentence(DRILLS[verdict], sample_drill.ESTATE, lang) in page
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(pictures) == 3
    for picture in pictures:
        ElementTree.fromstring(picture)
    Balanced().check(page)
    if lang == "en":
        assert not re.search(r"[\u4e00-\u9fff]", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))


def test_the_sentence_contains_outage_promise_and_data() -> None:
    english = sentence(DRILLS["pass"], sample_drill.ESTATE, "en")
    assert "could not apply for 21.3 s (promised: at most 40 s)" in english
    assert "none of 1,700 acknowledged applications" in english
    assert "申办中断 21.3 秒（承诺不超过 40 秒）" in sentence(DRILLS["pass"], sample_drill.ESTATE, "zh")


def test_lost_rows_are_the_first_improvement() -> None:
    found = problems(DRILLS["data-violated"], sample_drill.ESTATE, "en")
    assert found[0].grave
    assert found[0].text.startswith("3 acknowledged applications are missing")
    assert [f.grave for f in found] == sorted((f.grave for f in found), reverse=True)
    assert any("more than one row: 1" in f.text for f in found)


@pytest.mark.parametrize("verdict", DRILLS)
def test_every_drill_has_an_improvement(verdict: str) -> None:
    assert problems(DRILLS[verdict], sample_drill.ESTATE, "zh")


def test_texts_from_the_estate_are_escaped() -> None:
    nasty = sample_drill.result(
        healthy_wall=None, remaining=(replace(STANDBY_STOPPED, subject="<script>alert(1)</script>"),)
    )
    assert "<script>" not in render(nasty, sample_drill.ESTATE, "en")


def test_a_report_is_written_in_both_languages_and_as_json(tmp_path: Path) -> None:
    write(DRILLS["pass"], sample_drill.ESTATE, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"report.zh.html", "report.en.html", "report.json"}
    assert (tmp_path / "report.zh.html").stat().st_size < 400_000


def test_every_word_exists_in_both_languages() -> None:
    for part in (
        "page",
        "events",
        "steps",
        "sources",
        "sentence",
        "findings",
        "blast_radius",
        "runs",
        "measurement",
    ):
        for code, both in messages.section(part).items():
            assert set(both) == {"zh", "en"}, code
            names = [set(re.findall(r"\{(\w+)\}", both[lang])) for lang in messages.LANGUAGES]
            assert names[0] == names[1], f"{part}.{code}: both languages must use the same values"


def test_every_verdict_and_reason_has_words() -> None:
    assert {v.value for v in Verdict} <= messages.section("page").keys() & messages.section("sentence").keys()


def test_sites_have_their_own_names_in_each_language() -> None:
    """Events and improvements use the site's title. Commands and JSON use the short name."""
    unhealthy = sample_drill.result(healthy_wall=None, remaining=(CLUSTER_DOWN.at("futian"), STANDBY_STOPPED))
    page = render(unhealthy, sample_drill.ESTATE, "zh")
    assert "福田中心断电，线路静默" in page
    assert "福田中心: Kubernetes API 无应答；futian-data1: 流复制已中断" in page
    assert not re.search(r"futian(?!-)", re.sub(r'class="id">[^<]*', "", page))
    assert "Futian loses power" in render(unhealthy, sample_drill.ESTATE, "en")
    assert as_json(unhealthy)["remaining"] == [
        "futian: its Kubernetes API does not answer", "futian-data1: does not stream from the primary",
    ]  # fmt: skip


@pytest.mark.parametrize("lang", messages.LANGUAGES)
def test_an_invalid_measurement_has_its_reason(lang: str) -> None:
    """In the reader's language, with the figures from the ledger."""
    evidence = DRILLS["pass"].evidence
    late = sample_drill.result(evidence=replace(evidence, metrics=replace(evidence.metrics, lateness_p99_ms=2500.0)))
    cut = sample_drill.result(evidence=replace(evidence, ledger=replace(evidence.ledger, complete=False)))
    assert "2500" in problems(late, sample_drill.ESTATE, lang)[0].text
    text = problems(cut, sample_drill.ESTATE, lang)[0].text
    assert ("没有正常结束" if lang == "zh" else "did not end normally") in text


def test_equal_neighbouring_columns_are_drawn_as_one() -> None:
    columns = [(0.0, 2, 2), (0.1, 2, 2), (0.2, 2, 0), (0.5, 2, 0)]
    assert [(c, round(a, 3), round(b, 3)) for c, a, b in merged(columns)] == [
        ((2, 2), 0.0, 0.2), ((2, 0), 0.2, 0.3), ((2, 0), 0.5, 0.6),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(50))
def test_pins_never_overlap_and_stay_in_order(seed: int) -> None:
    chance = random.Random(seed)
    places = sorted(chance.uniform(64, 1068) for _ in range(chance.randint(1, 30)))
    moved = spread(places, 18, 64, 1068)
    assert all(b - a >= 17.9 for a, b in itertools.pairwise(moved))
    assert moved[0] >= 63.9
    assert moved[-1] <= 1068.1


class Balanced(HTMLParser):
    """Fails on a tag that is closed but was not opened, or opened but not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        """Ignore a tag without content."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def check(self, page: str) -> None:
        self.feed(page)
        assert not self.open


SPECIFIC = {
    "en": ("power", "pods of", "site-loss", "Loss of a whole site"),
    "zh": ("断电", "供电", "Pod ", "整个中心"),
}
"""Words that belong to the loss of a site only."""
WITHOUT_A_SITE = [drill for drill in DRILL_LIST if drill.target != "site"]


@pytest.mark.parametrize("lang", messages.LANGUAGES)
@pytest.mark.parametrize("drill", WITHOUT_A_SITE, ids=lambda drill: drill.name)
def test_a_drill_that_loses_no_site_has_the_words_of_its_own_fault(drill: Drill, lang: str) -> None:
    """In the page, in its pictures and in every improvement, also of a drill that failed."""
    fault = drill.fault(sample_drill.ESTATE, None)
    promised = DRILLS["pass"].objectives.model_copy(update={"rto_s": 15.0})
    at = sample_drill.START + sample_drill.LOST_AT
    bad = sample_drill.of_fault(
        drill.name, fault, id="x", objectives=promised, restored_wall=at + 1, remaining=(STANDBY_STOPPED,)
    )
    for result in (bad, replace(bad, healthy_wall=None), replace(bad, restored_wall=None)):
        page = re.sub(r"<style>.*?</style>", "", render(result, sample_drill.ESTATE, lang), flags=re.DOTALL)
        assert not [word for word in SPECIFIC[lang] if word in page]
        assert not re.findall(r"\{[a-z_]+\}", page)
        for text in ("injected", "happened", "lasts", "slow_writes"):
            assert getattr(fault.words, text).of(lang, target=fault.target) in page
    assert fault.words.meanwhile.of(lang) in render(bad, sample_drill.ESTATE, lang)
    assert fault.words.after_heal.of(lang) in render(bad, sample_drill.ESTATE, lang)


@pytest.mark.parametrize("drill", WITHOUT_A_SITE, ids=lambda drill: drill.name)
def test_the_json_of_a_drill_that_loses_no_site_names_the_target(drill: Drill) -> None:
    fault = drill.fault(sample_drill.ESTATE, None)
    value = as_json(sample_drill.of_fault(drill.name, fault))
    assert (value["scenario"], value["site"], value["target"]) == (drill.name, None, fault.target)
    assert not value["measured"].keys() & {"pods_serving_s", "return_of_power"}
    assert value["measured"]["writes_after_heal"]["writes"] == 780
    site_loss = as_json(DRILLS["pass"])
    assert (site_loss["site"], site_loss["target"]) == ("futian", "futian")
    assert site_loss.keys() == value.keys()


@pytest.mark.parametrize(("lasted_s", "kind"), [(2.0, "tick"), (60.0, "fault-label")])
def test_the_label_of_a_short_fault_is_next_to_its_bar(lasted_s: float, kind: str) -> None:
    """White text on a narrow bar would not be readable."""
    drawn = timeline(Scale(begin_s=-5, end_s=100), [], [], (0.0, lasted_s, "福田中心断电"))
    assert re.findall(r'class="([\w-]+)" text-anchor="\w+">福田中心断电', drawn) == [kind]
