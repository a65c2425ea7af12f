"""`drill`: what there is, what it would do, where its report lies; a question is answered before anything happens."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.cli.calling import Call
from tests.unit.failover.views import HEALTHY, with_member


@pytest.fixture
def finished(home: Path) -> Path:
    """The folder of one finished drill."""
    folder = home / "drills" / "20260101T000000-site-loss-futian"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"verdict": "pass"}), encoding="utf-8")
    for lang in ("zh", "en"):
        (folder / f"report.{lang}.html").write_text("<p>", encoding="utf-8")
    return folder


def test_the_list_is_one_object(call: Call) -> None:
    found = call("drill", "list", "--json").document
    (drill,) = found["drills"]
    assert set(drill) == {"name", "title", "summary", "expected_s"}
    assert found["finished"] == []


def test_the_list_tells_what_became_of_the_drills_that_were_finished(call: Call, finished: Path) -> None:
    """One whose report is damaged is told as that."""
    broken = finished.with_name("20260102T000000-site-loss-nanshan")
    broken.mkdir()
    (broken / "report.json").write_text("{", encoding="utf-8")
    told = call("drill", "list", "--json").document["finished"]
    assert [(one["id"], one["verdict"]) for one in told] == [(finished.name, "pass"), (broken.name, "damaged")]
    assert f"{finished.name}  通过\n" in call("drill", "list", "--lang", "zh").output


def test_show_is_an_object_for_programs(call: Call) -> None:
    radius = call("drill", "show", "site-loss", "--site", "nanshan", "--json").document["blast_radius"]
    assert radius["site"] == "nanshan"
    assert "nanshan-data1" in radius["hosts"]
    assert radius["votes"] == {"lost": 2, "of": 5}
    assert radius["title"]["zh"] == "南山中心"


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_show_tells_what_would_be_lost_and_changes_nothing(call: Call, home: Path, lang: str) -> None:
    done = call("drill", "show", "site-loss", "--site", "nanshan", "--lang", lang)
    assert done.code == 0
    assert "nanshan-data1" in done.output
    assert not home.exists()


def test_without_a_drill_there_is_no_report(call: Call) -> None:
    done = call("drill", "report")
    assert done.code == 1
    assert "no drill has been finished" in done.words


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_newest_report_is_named_in_the_readers_language(call: Call, finished: Path, lang: str) -> None:
    assert call("drill", "report", "--lang", lang).output.strip() == str(finished / f"report.{lang}.html")
    assert call("drill", "report", finished.name, "--json").document == {"verdict": "pass"}


@pytest.mark.parametrize("name", ["nosuch", "../drills", ""])
def test_an_unknown_report_is_wrong_use(call: Call, finished: Path, name: str) -> None:
    done = call("drill", "report", name)
    assert done.code == 2
    assert finished.name in done.words


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000])
def test_a_damaged_report_is_told(call: Call, finished: Path, content: bytes) -> None:
    (finished / "report.json").write_bytes(content)
    done = call("drill", "report", "--json")
    assert done.code == done.document["exit_code"] == 1
    assert "damaged" in done.words


def test_a_report_whose_page_is_gone_is_told(call: Call, finished: Path) -> None:
    (finished / "report.en.html").unlink()
    done = call("drill", "report")
    assert done.code == 1
    assert "report.en.html is missing" in done.words


@pytest.mark.parametrize("answer", ["", "n\n", "\n", "perhaps\n"])
def test_a_drill_that_is_not_confirmed_does_not_begin(
    call: Call, home: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("cli.drills.into_namespace", lambda estate: None)
    done = call("drill", "run", "site-loss", answer=answer)
    assert done.code == 2
    assert "Futian loses power" in done.words
    assert "nothing was changed" in done.words
    assert done.output == ""
    assert not home.exists()


def test_the_question_is_asked_inside_the_namespace_so_that_it_is_asked_once(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entering starts the command anew; a question before it would come twice."""
    order: list[str] = []
    monkeypatch.setattr("cli.drills.into_namespace", lambda estate: order.append("enters"))
    monkeypatch.setattr("cli.drills._confirm", lambda lang: order.append("asks"))
    monkeypatch.setattr("cli.drills._run", lambda *arguments: exit(0))
    call("drill", "run", "site-loss")
    assert order == ["enters", "asks"]


def test_a_move_that_is_refused_is_one_object_too(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 6 without --apply as with it: a plan that nobody may carry out is not shown beside its refusal."""
    ill = with_member(HEALTHY, "nanshan", running=False)
    monkeypatch.setattr("cli.drills.need_root", lambda what: None)
    monkeypatch.setattr("cli.drills.into_namespace", lambda estate: None)
    monkeypatch.setattr("cli.wiring.observer", lambda estate: SimpleNamespace(snapshot=lambda: ill))
    done = call("switchover", "--to", "nanshan", "--json")
    assert done.code == done.document["exit_code"] == 6
    assert "nanshan" in done.document["error"]
