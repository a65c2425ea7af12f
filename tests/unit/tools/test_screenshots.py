"""The READMEs' pictures: the drawn screen is the command's own, and a report is photographed or the reason is given."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from monitors import health, status
from monitors.problem import Language
from tests.unit.monitors.observations import ESTATE, healthy, observe, powered_off
from tools import screenshots
from workstation.errors import GovcloudError

FAKE = """#!/usr/bin/python3
import sys
from pathlib import Path
given = dict(one.removeprefix("--").partition("=")[::2] for one in sys.argv[1:-1])
assert Path(given["user-data-dir"]).parent.is_dir() and given["window-size"].endswith(",500")
assert sys.argv[-1].startswith("file:///")
Path(given["screenshot"]).write_bytes(b"x" * {size})
sys.exit({code})
"""


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the file that is found as `chromium`. The test writes it."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin" / "chromium"


def installed(browser: Path, *, size: int = 10, code: int = 0) -> None:
    """Install a browser that writes a picture of `size` bytes."""
    browser.write_text(FAKE.format(size=size, code=code), encoding="utf-8")
    browser.chmod(0o755)


@pytest.mark.parametrize("lang", screenshots.LANGUAGES)
@pytest.mark.parametrize("lost", [False, True], ids=["healthy", "a site lost"])
def test_the_screen_is_what_the_command_prints(lang: Language, lost: bool) -> None:
    """The JSON object of `status` is enough to print the whole screen again."""
    observed = observe(powered_off(healthy(), "futian") if lost else healthy())
    problems = health.problems(ESTATE, observed)
    printed = json.dumps(status.as_json(ESTATE, observed, problems), default=str)
    assert screenshots.screen(json.loads(printed), lang) == status.as_text(ESTATE, observed, problems, lang)
    assert bool(problems) is lost


def test_columns_are_aligned_in_every_font() -> None:
    """A Chinese character takes two cells, and each run of words has a place of its own."""
    drawn = ElementTree.fromstring(screenshots.svg_of("南山  <ok>\nshan  & on\n\n    last one", "cmd"))
    texts = {one.text: one for one in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert list(texts) == ["$ cmd", "南山", "<ok>", "shan", "& on", "last one"]
    place = {text: (float(one.attrib["x"]), float(one.attrib["y"])) for text, one in texts.items()}
    assert place["<ok>"][0] == place["& on"][0] == screenshots.MARGIN + 6 * screenshots.CELL
    assert place["last one"][1] - place["shan"][1] == 2 * screenshots.LINE


def test_a_picture_loads_nothing_from_elsewhere() -> None:
    """A reader of the README makes no request to another server."""
    drawn = screenshots.svg_of("text", "cmd")
    assert re.findall(r"https?://[^\"]+", drawn) == ["http://www.w3.org/2000/svg"]


def test_a_page_is_photographed_with_a_profile_of_its_own(browser: Path, tmp_path: Path) -> None:
    installed(browser)
    screenshots.photograph(tmp_path / "page.html", 500, tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes() == b"x" * 10


@pytest.mark.parametrize(
    ("size", "code", "reason"),
    [(screenshots.MAX_PNG_BYTES + 1, 0, "200001 bytes, of at most 200000"), (10, 1, "wrote no picture")],
)
def test_a_picture_that_is_too_big_or_missing_is_refused(
    browser: Path, tmp_path: Path, size: int, code: int, reason: str
) -> None:
    """The old picture stays."""
    installed(browser, size=size, code=code)
    (tmp_path / "page.png").write_bytes(b"old")
    with pytest.raises(GovcloudError, match=reason):
        screenshots.photograph(tmp_path / "page.html", 500, tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes() == b"old"


@pytest.mark.usefixtures("browser")
def test_a_missing_browser_is_named(tmp_path: Path) -> None:
    with pytest.raises(GovcloudError, match="apt-get install chromium"):
        screenshots.photograph(tmp_path / "page.html", 500, tmp_path / "page.png")
