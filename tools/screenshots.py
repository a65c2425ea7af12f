"""Write the pictures of both READMEs into `docs/images`.

Run `python -m tools.screenshots STATUS_JSON DRILL_FOLDER`. `STATUS_JSON` is the output of `./govcloud status --json`.
The status screen is drawn as SVG from it, once for each language, by the same code as the command. `DRILL_FOLDER` is
the folder of a drill. Chromium photographs the top of its report in both languages.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pydantic import TypeAdapter

from estate.loader import load
from estate.tables import display_width
from monitors import health, status
from monitors.collectors import Observation
from monitors.problem import Language
from workstation import paths
from workstation.errors import GovcloudError, WrongUse
from workstation.progress import say

LANGUAGES: tuple[Language, ...] = ("en", "zh")
CELL, LINE, MARGIN = 8.0, 19.0, 20.0
"""Width of a character cell, height of a line, and the space around the screen, in pixels of the SVG."""
FONTS = "DejaVu Sans Mono, Menlo, Consolas, Noto Sans Mono CJK SC, PingFang SC, Microsoft YaHei, monospace"
WIDTH, HEIGHTS = 1100, {"en": 1250, "zh": 1130}
"""The photographed part of a report, in pixels: down to the axis of the timeline."""
MAX_PNG_BYTES = 200_000
"""Every clone contains the pictures, and every reader of the README loads them."""


def screen(document: dict[str, object], lang: Language) -> str:
    """Return the status screen for the JSON object of `./govcloud status --json`."""
    estate, observed = load(), TypeAdapter(Observation).validate_python(document)
    return status.as_text(estate, observed, health.problems(estate, observed), lang)


def svg_of(text: str, command: str) -> str:
    """Draw a terminal with a command and its output.

    Each run of words is placed by the cells before it, so that columns stay aligned in every font.
    """
    lines = [f"$ {command}", *text.splitlines()]
    width = MARGIN * 2 + CELL * max(map(display_width, lines))
    height = MARGIN * 2 + LINE * len(lines)
    drawn = "\n".join(
        f'<text x="{MARGIN + CELL * display_width(line[: run.start()]):g}" y="{MARGIN + LINE * (row + 0.75):g}">'
        f"{escape(run[0], quote=False)}</text>"
        for row, line in enumerate(lines)
        for run in re.finditer(r"\S+(?: \S+)*", line)
    )
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<rect width="100%" height="100%" rx="8" fill="#10202f"/>\n'
        f'<g fill="#e6edf3" font-family="{FONTS}" font-size="13">\n{drawn}\n</g>\n</svg>\n'
    )


def photograph(page: Path, height: int, picture: Path) -> None:
    """Let Chromium write the top of a page as a PNG. Raises GovcloudError if it cannot, or if the file is too big.

    Only a good picture replaces the old one.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise GovcloudError("Chromium is needed to photograph a report", "apt-get install chromium fonts-noto-cjk")
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking hide-scrollbars"
    flags += " disable-component-update disable-sync force-device-scale-factor=1"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "picture.png"
        argv = [program, *(f"--{flag}" for flag in flags.split()), f"--user-data-dir={folder}/profile"]
        argv += [f"--window-size={WIDTH},{height}", f"--screenshot={made}", page.resolve().as_uri()]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode or not made.is_file():
            raise GovcloudError(f"Chromium wrote no picture of {page}: {done.stderr.strip()[-300:]}")
        if (size := made.stat().st_size) > MAX_PNG_BYTES:
            raise GovcloudError(f"the picture of {page} has {size} bytes, of at most {MAX_PNG_BYTES}", "reduce HEIGHTS")
        shutil.move(made, picture)


def main(arguments: Sequence[str]) -> int:
    """Write all four pictures. Raises WrongUse for other arguments."""
    if len(arguments) != 2:
        raise WrongUse("two arguments are needed", "python -m tools.screenshots STATUS_JSON DRILL_FOLDER")
    document = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    folder = paths.repo() / "docs" / "images"
    folder.mkdir(exist_ok=True)
    for lang in LANGUAGES:
        command = "./govcloud status" + (" --lang zh" if lang == "zh" else "")
        (folder / f"status.{lang}.svg").write_text(svg_of(screen(document, lang), command), encoding="utf-8")
        photograph(Path(arguments[1]) / f"report.{lang}.html", HEIGHTS[lang], folder / f"report.{lang}.png")
    say(f"pictures written: {folder}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except GovcloudError as error:
        say(str(error))
        sys.exit(error.exit_code)
