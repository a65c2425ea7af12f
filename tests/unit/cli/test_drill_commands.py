"""`drill`: the list, the blast radius, the path of the report, and the confirmation before a drill begins."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from failover.drills import DRILLS
from tests.unit.cli.command_result import Call
from tests.unit.failover.observations import HEALTHY, with_member


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
    document = call("drill", "list", "--json").document
    assert [drill["name"] for drill in document["drills"]] == [drill.name for drill in DRILLS]
    for drill in document["drills"]:
        assert set(drill) == {"name", "title", "summary", "expected_s", "target"}
    assert document["runs"] == []
    assert "No drill was run here yet" in call("drill", "list").stdout


def left_by(home: Path, name: str, **files: str) -> Path:
    """Return the folder of a run with these files. Write `__` for the dot in a file's name."""
    folder = home / "drills" / name
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file.replace("__", ".")).write_text(content, encoding="utf-8")
    return folder


def test_past_runs_are_listed_with_their_verdict_and_the_path_of_the_report(call: Call, home: Path) -> None:
    """The newest run is first. A killed run has only a journal, and a damaged report has no verdict."""
    missed = {"scenario": "site-loss", "site": "futian", "verdict": "objective-missed",
              "measured": {"write_outage_s": 41.5}}  # fmt: skip
    old = left_by(home, "20260101T000000-site-loss-futian", report__json=json.dumps(missed), report__zh__html="<p>",
                  report__en__html="<p>", journal__jsonl="")  # fmt: skip
    killed = left_by(home, "20260102T000000-site-loss-nanshan", journal__jsonl="")
    broken = left_by(home, "20260103T000000-site-loss-nanshan", report__json="[" * 100_000)
    runs = call("drill", "list", "--json").document["runs"]
    assert [run["id"] for run in runs] == [broken.name, killed.name, old.name]
    assert [run["verdict"] for run in runs] == [None, None, "objective-missed"]
    assert [run["damaged"] for run in runs] == [True, False, False]
    assert runs[2] == {
        "id": old.name, "folder": str(old), "scenario": "site-loss", "site": "futian", "target": "futian",
        "verdict": "objective-missed", "damaged": False, "write_outage_s": 41.5, "report": str(old / "report.en.html"),
    }  # fmt: skip
    listed = call("drill", "list", "--lang", "zh").stdout
    assert f"{old.name}  未达目标 · 申办中断 41.5 秒\n    {old / 'report.zh.html'}" in listed
    assert f"{killed.name}  没有结束" in listed
    assert f"{broken.name}  报告已损坏" in listed


def test_a_screen_of_runs_is_shown_and_the_rest_is_counted(call: Call, home: Path) -> None:
    for day in range(1, 26):
        left_by(home, f"202601{day:02}T000000-site-loss-futian", journal__jsonl="")
    done = call("drill", "list")
    assert "20260125T" in done.stdout
    assert "20260105T" not in done.stdout
    assert "5 older runs" in done.stdout
    assert len(call("drill", "list", "--json").document["runs"]) == 25


def test_the_blast_radius_has_fields_in_json(call: Call) -> None:
    taken = call("drill", "show", "site-loss", "--site", "nanshan", "--json").document["blast_radius"]
    assert (taken["site"], taken["target"], taken["title"]["zh"]) == ("nanshan", "nanshan", "南山中心")
    assert taken["database_members"] == ["nanshan-data1"]
    assert taken["votes"] == {"lost": 2, "total": 5, "majority_stays": True}
    assert taken["objectives"] == {"rto_s": 40, "read_outage_s": 2, "rpo_records": 0}


@pytest.mark.parametrize(
    ("argv", "target", "lost"),
    [(("path-loss",), "city-a", "links"), (("path-loss", "--target", "ft-inet"), "ft-inet", "links"),
     (("primary-crash",), "primary", "database_members")],
)  # fmt: skip
def test_a_drill_that_loses_no_site_shows_its_target(call: Call, argv: tuple[str, ...], target: str, lost: str) -> None:
    shown = call("drill", "show", *argv, "--json").document
    assert (shown["drill"], shown["site"], shown["target"]) == (argv[0], None, target)
    radius = shown["blast_radius"]
    assert (radius["site"], radius["target"], radius["hosts"]) == (None, target, [])
    assert radius[lost]
    assert radius["votes"]["lost"] == 0
    assert "{" not in call("drill", "show", *argv, "--lang", "zh").stdout


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_show_prints_the_blast_radius_and_changes_nothing(call: Call, home: Path, lang: str) -> None:
    done = call("drill", "show", "site-loss", "--site", "nanshan", "--lang", lang)
    assert done.code == 0
    assert "nanshan-data1" in done.stdout
    assert not home.exists()


def test_without_a_drill_there_is_no_report(call: Call) -> None:
    done = call("drill", "report")
    assert done.code == 1
    assert "no drill has been finished" in done.stderr


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_newest_report_is_named_in_the_readers_language(call: Call, finished: Path, lang: str) -> None:
    assert call("drill", "report", "--lang", lang).stdout.strip() == str(finished / f"report.{lang}.html")
    assert call("drill", "report", finished.name, "--json").document == {"verdict": "pass"}


@pytest.mark.parametrize("name", ["nosuch", "../drills", ""])
def test_an_unknown_report_is_wrong_use(call: Call, finished: Path, name: str) -> None:
    done = call("drill", "report", name)
    assert done.code == 2
    assert finished.name in done.stderr


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000])
def test_a_damaged_report_is_an_error(call: Call, finished: Path, content: bytes) -> None:
    (finished / "report.json").write_bytes(content)
    done = call("drill", "report", "--json")
    assert done.code == done.document["exit_code"] == 1
    assert "damaged" in done.stderr


def test_a_report_without_its_page_is_an_error(call: Call, finished: Path) -> None:
    (finished / "report.en.html").unlink()
    done = call("drill", "report")
    assert done.code == 1
    assert "report.en.html is missing" in done.stderr


@pytest.mark.parametrize("answer", ["", "n\n", "\n", "perhaps\n"])
def test_a_drill_that_is_not_confirmed_does_not_begin(
    call: Call, home: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("cli.drills.into_namespace", lambda estate: None)
    done = call("drill", "run", "site-loss", answer=answer)
    assert done.code == 2
    assert "Futian loses power" in done.stderr
    assert "nothing was changed" in done.stderr
    assert done.stdout == ""
    assert not home.exists()


def test_the_question_is_asked_inside_the_namespace(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entering is refused if no lab is up. An operator who has answered a question expects the drill."""
    order: list[str] = []
    monkeypatch.setattr("cli.drills.into_namespace", lambda estate: order.append("enters"))
    monkeypatch.setattr("cli.drills._confirm", lambda lang: order.append("asks"))
    monkeypatch.setattr("operations.drill.run", lambda *arguments, **options: sys.exit(0))
    call("drill", "run", "site-loss")
    assert order == ["enters", "asks"]


def test_a_move_that_is_refused_is_one_object_too(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 6 with and without --apply. A plan that must not be carried out is not shown."""
    ill = with_member(HEALTHY, "nanshan", running=False)
    monkeypatch.setattr("cli.moves.need_root", lambda what: None)
    monkeypatch.setattr("cli.moves.into_namespace", lambda estate: None)
    monkeypatch.setattr("operations.adapters.observer", lambda estate: SimpleNamespace(snapshot=lambda: ill))
    done = call("switchover", "--to", "nanshan", "--json")
    assert done.code == done.document["exit_code"] == 6
    assert "nanshan" in done.document["error"]
