"""`estate`: check, print and draw the declared estate, without root and without a change of any system."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.cli.command_result import Call

YAML_THAT_MISLEADS = {
    "a month that does not exist": "name: 2020-13-45\n",
    "a number without digits": "name: 0x_\n",
    "a number of ten thousand digits": "name: " + "9" * 10_000 + "\n",
    "a wrong tag": "name: !!int abc\n",
    "a text tagged as a flag": 'name: !!bool "x"\n',
    "a text tagged as a time": 'name: !!timestamp "x"\n',
    "an empty number": 'name: !!float ""\n',
}


def test_the_projects_estate_is_sound(call: Call) -> None:
    done = call("estate", "check", "--json")
    assert done.code == 0
    assert done.document["problems"] == done.document["advice"] == []
    assert {"estate", "sites", "hosts", "links"} <= done.document.keys()
    assert call("estate", "check").stdout == "estate shenzhen: 3 sites, 18 hosts, 13 links; no problem found\n"


@pytest.mark.parametrize(("lang", "said"), [("en", "no problem found"), ("zh", "未发现问题")])
def test_the_result_of_a_check_is_on_standard_output(call: Call, lang: str, said: str) -> None:
    """So that it can be piped; advice and progress are not part of it."""
    done = call("estate", "check", "--lang", lang)
    assert (done.code, done.stderr) == (0, "")
    assert said in done.stdout


def test_a_picture_has_both_languages_unless_one_is_chosen(call: Call) -> None:
    chinese, english = "主机", "Machines"
    drawn = {lang: call("estate", "diagram", *lang).stdout for lang in ((), ("--lang", "zh"), ("--lang", "en"))}
    assert [(chinese in picture, english in picture) for picture in drawn.values()] == [
        (True, True), (True, False), (False, True),
    ]  # fmt: skip


def test_advice_is_reported_and_causes_no_error(call: Call, tmp_path: Path) -> None:
    """The lab's prefixes are reserved for documentation. On a real estate this is advice; the operator decides."""
    document = yaml.safe_load(call("estate", "show", "--yaml").stdout)
    document |= {"lab": False, "carrier": {"url": "https://sms.example"}}
    file = tmp_path / "estate.yaml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    done = call("estate", "check", "--json", "--file", str(file))
    assert done.code == 0
    advice = {each["key"]: each["message"] for each in done.document["advice"]}
    assert "reserved for examples" in advice["networks.services.ipv4"]
    assert f"advice: {file}: networks.services.ipv4" in done.stderr


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_show_is_one_page_in_either_language(call: Call, lang: str) -> None:
    done = call("estate", "show", "--lang", lang)
    assert done.code == 0
    assert ("主机" if lang == "zh" else "Hosts") in done.stdout
    assert "futian-edge1" in done.stdout


def test_the_document_that_show_prints_is_accepted_by_check(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "estate.yaml"
    file.write_text(call("estate", "show", "--yaml").stdout, encoding="utf-8")
    assert call("estate", "check", "--file", str(file)).code == 0


def test_two_formats_at_once_are_wrong_use(call: Call) -> None:
    done = call("estate", "show", "--yaml", "--json")
    assert done.code == 2
    assert done.document["exit_code"] == 2


def test_a_bad_estate_is_one_object_with_the_way_out(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "estate.yaml"
    file.write_text("sites: 3\nhosts: [4]\n", encoding="utf-8")
    done = call("estate", "check", "--json", "--file", str(file))
    assert done.code == done.document["exit_code"] == 1
    assert f"{file}: sites: must be a list; correct it (found: 3)" in done.document["error"]
    assert f"{file}: hosts[0]: must be a mapping with keys and values; correct it (found: 4)" in done.stderr
    assert done.document["next_step"].endswith(f"`./govcloud estate check --file {file}`")
    assert done.document["rules_waiting"] > 0
    assert f"{done.document['rules_waiting']} rules cannot be checked before these are corrected" in done.stderr
    wrong = {"file": str(file), "key": "sites", "value": "3", "message": "must be a list; correct it"}
    assert wrong in done.document["problems"]


@pytest.mark.parametrize("what", YAML_THAT_MISLEADS)
def test_a_misleading_value_is_reported_with_its_place(call: Call, tmp_path: Path, what: str) -> None:
    file = tmp_path / "estate.yaml"
    file.write_text(YAML_THAT_MISLEADS[what], encoding="utf-8")
    done = call("estate", "check", "--file", str(file))
    assert done.code == 1
    assert f"{file}: line 1, column 7: the value is invalid for its type" in done.stderr


def test_a_control_character_is_reported_with_its_place(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "estate.yaml"
    file.write_bytes(b"name: a\0b\n")
    assert f"{file}: character 8: contains a control character" in call("estate", "check", "--file", str(file)).stderr


def test_names_from_a_file_cannot_write_to_the_terminal(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "estate.yaml"
    long = "a" * 5_000
    file.write_text(f'"k\\e[31m": 1\nhosts: [{{name: "h\\e[2J"}}, {{name: {long}}}]\n', encoding="utf-8")
    words = call("estate", "check", "--file", str(file)).stderr
    assert "\x1b" not in words
    assert "k\\x1b[31m: unknown field" in words
    assert max(map(len, words.splitlines())) < 500


@pytest.mark.parametrize(
    "arguments", [("check", "--file", ""), ("show", "--file", ""), ("diagram", "--output", "")], ids=" ".join
)
def test_an_empty_path_is_not_the_current_directory(call: Call, arguments: tuple[str, ...]) -> None:
    """A shell variable that is not set gives an empty path."""
    done = call("estate", *arguments)
    assert done.code == 2
    assert "name a file or a folder" in " ".join(done.stderr.split())
    assert done.stdout == ""


@pytest.mark.parametrize("target", ["no such folder/estate.svg", "."])
def test_a_picture_that_cannot_be_written_is_an_error(call: Call, tmp_path: Path, target: str) -> None:
    done = call("estate", "diagram", "-o", str(tmp_path / target))
    assert done.code == 1
    assert str(tmp_path) in done.stderr


def test_the_picture_goes_to_standard_output_or_to_a_file(call: Call, tmp_path: Path) -> None:
    printed = call("estate", "diagram").stdout
    assert printed.startswith("<svg")
    assert call("estate", "diagram", "-o", str(tmp_path / "estate.svg")).code == 0
    assert (tmp_path / "estate.svg").read_text(encoding="utf-8") == printed
