"""Generator of the page of measured figures, `docs/measurements.md`, from the data files in `docs/measurements/`.

Run `python -m tools.measurements` after adding a run. A data file is one topic: its figures, and the runs that measured
them. Runs are in the order of their dates, the newest last. The page shows the newest run of each figure.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from string import ascii_lowercase
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from estate import files
from estate.problems import EstateError, Problem

PAGE = Path(__file__).resolve().parent.parent / "docs" / "measurements.md"
DATA = PAGE.with_suffix("")

INTRODUCTION = """\
# Measurements

`python -m tools.measurements` writes this page from [`docs/measurements/`](measurements). Never edit the page: a test
compares it with the data. The data files keep every earlier value. [Performance](performance.md) explains the figures:
why a goal is missed, where the time goes, and what was tried.

All runs were on one machine: 2 cores, 24 GiB of memory, Debian 12, kernel 6.18. The whole lab (18 machines) and the
load generator share it. Times on this machine vary from day to day, so a value belongs to its conditions.

Each row shows the newest run. If that is a series of runs, the value is the worst one, with the best in brackets.
"met" and "missed" count every run of the series. Nothing is rounded up. A date is the day on which the value was
written down.

`bench` keeps its raw values under `/var/lib/govcloud/bench/`. Each drill's ledger and report are under
`/var/lib/govcloud/drills/`: reports for ever, ledgers and rows of the newest 50 runs."""

MINUTES_FROM_S = 120
"""Times of at least this many seconds are shown in minutes."""


class Data(BaseModel):
    """Base class of the data: frozen, without unknown keys, and without text in place of a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, pattern=r"^[^|\n]+$")]
"""One line of a table's cell."""
Series = Annotated[list[Number], Field(min_length=1), BeforeValidator(_as_list)]
"""One value, or the values of several runs in the same conditions."""


class Goal(Data):
    """A limit, in the figure's unit. Exactly one of the two is set."""

    at_most: Number | None = None
    at_least: Number | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Goal:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("name exactly one of at_most and at_least")
        return self

    def worst(self, series: list[float]) -> float:
        """Return the worst value of the series."""
        return max(series) if self.at_least is None else min(series)

    def best(self, series: list[float]) -> float:
        """Return the best value of the series."""
        return min(series) if self.at_least is None else max(series)

    def is_met(self, series: list[float]) -> bool:
        """Return whether every value of the series meets the goal."""
        worst = self.worst(series)
        return (self.at_most is None or worst <= self.at_most) and (self.at_least is None or worst >= self.at_least)


class Figure(Data):
    """One row of the page."""

    name: Text
    unit: Text
    goal: Goal | None = None
    command: Text | None = None
    """Set only if it differs from the topic's command."""


class Run(Data):
    """Figures that were measured together, or a series of runs in the same conditions."""

    date: datetime.date
    conditions: Text
    values: Annotated[dict[str, Series], Field(min_length=1)]


class Topic(Data):
    """One data file: one section of the page."""

    title: Text
    command: Text
    figures: Annotated[dict[str, Figure], Field(min_length=1)]
    runs: list[Run] = Field(default_factory=list)

    @model_validator(mode="after")
    def _runs_fit(self) -> Topic:
        for number, run in enumerate(self.runs):
            unknown = sorted(run.values.keys() - self.figures.keys())
            if unknown:
                raise ValueError(f"runs.{number}.values: {unknown[0]} is not one of this file's figures")
            if number and run.date < self.runs[number - 1].date:
                raise ValueError(f"runs.{number}.date: {run.date} is older than the run before; the newest run is last")
        return self

    def newest(self, key: str) -> Run | None:
        """Return the last run that measured the figure; None if there is no such run."""
        return next((run for run in reversed(self.runs) if key in run.values), None)


Result = Literal["met", "missed", "no goal", "not measured"]


def result(topic: Topic, key: str) -> Result:
    """Return the verdict on a figure from its goal and its newest run."""
    goal, run = topic.figures[key].goal, topic.newest(key)
    if run is None:
        return "not measured"
    if goal is None:
        return "no goal"
    return "met" if goal.is_met(run.values[key]) else "missed"


def load(folder: Path = DATA) -> dict[str, Topic]:
    """Return all topics by file name, sorted. Raises `EstateError` with every problem, by file and key."""
    topics: dict[str, Topic] = {}
    problems: list[Problem] = []
    for file in sorted(folder.glob("*.yaml")):
        try:
            content = files.read(file)
            problems.extend(content.problems)
            if not content.problems:
                topics[file.name] = Topic.model_validate(content.document)
        except ValidationError as error:
            problems.extend(_problem(file, detail["loc"], detail["msg"]) for detail in error.errors())
    if problems:
        raise EstateError(problems)
    return topics


def _problem(file: Path, location: tuple[int | str, ...], message: str) -> Problem:
    return Problem(file=str(file), key=".".join(map(str, location)), value="", message=message)


def page(topics: dict[str, Topic]) -> str:
    """Return the page as Markdown. It ends with a line feed."""
    sections = [_section(name, topic) for name, topic in topics.items()]
    return "\n\n".join([INTRODUCTION, _summary(topics), *sections]) + "\n"


def _summary(topics: dict[str, Topic]) -> str:
    figures = [(topic, key) for topic in topics.values() for key in topic.figures]
    with_goal = [(topic, key) for topic, key in figures if topic.figures[key].goal]
    counted = {
        verdict: sum(result(topic, key) == verdict for topic, key in with_goal)
        for verdict in ("met", "missed", "not measured")
    }
    missed = [
        f"- {topic.title}: {topic.figures[key].name}" for topic, key in with_goal if result(topic, key) == "missed"
    ]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in counted.items())
    return "\n".join(["## Goals", "", f"{len(with_goal)} goals: {counts}. Missed:", "", *(missed or ["- none"])])


def _section(name: str, topic: Topic) -> str:
    conditions = list(dict.fromkeys(run.conditions for key in topic.figures if (run := topic.newest(key))))
    letters = {text: ascii_lowercase[position] for position, text in enumerate(conditions)}
    own_commands = any(figure.command for figure in topic.figures.values())
    heads = ("figure", "goal", "value", "result", "date", "conditions", *(["command"] if own_commands else []))
    rows = [_row(topic, key, letters)[: len(heads)] for key in topic.figures]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows))
    notes = [f"- {letter}: {text}" for text, letter in letters.items()]
    parts = [
        f"## {topic.title}",
        *([] if own_commands else [f"Command: {topic.command}"]),
        table,
        *(["\n".join(["Conditions:", "", *notes])] if notes else []),
        f"Earlier values: [`{name}`](measurements/{name})",
    ]
    return "\n\n".join(parts)


def _row(topic: Topic, key: str, letters: dict[str, str]) -> tuple[str, ...]:
    figure, run = topic.figures[key], topic.newest(key)
    verdict = result(topic, key)
    return (
        figure.name,
        _goal(figure),
        _value(figure, run.values[key]) if run else "–",
        f"**{verdict}**" if verdict == "missed" else verdict,
        run.date.isoformat() if run else "–",
        letters[run.conditions] if run else "–",
        figure.command or topic.command,
    )


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return "–"
    if figure.goal.at_least is not None:
        return f"≥ {quantity(figure.goal.at_least, figure.unit)}"
    limit = quantity(figure.goal.at_most or 0, figure.unit)
    return f"≤ {limit}" if figure.goal.at_most else limit


def _value(figure: Figure, series: list[float]) -> str:
    goal = figure.goal or Goal(at_most=0)  # without a goal, less is better: times, memory, processor
    worst, best = goal.worst(series), goal.best(series)
    return quantity(worst, figure.unit) + (f" (best {quantity(best, figure.unit)})" if best != worst else "")


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit in the shortest exact form. Long times are in minutes and seconds."""
    if unit == "s" and value >= MINUTES_FROM_S:
        minutes, seconds = divmod(round(value, 3), 60)
        rest = f" {round(seconds, 3):g} s" if seconds else ""
        return f"{minutes:.0f} min{rest}"
    return f"{value:.10g} {unit}"


def main() -> int:
    """Write the page. Print every problem of the data files, and return 1 if there are problems."""
    try:
        topics = load(DATA)
    except EstateError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 1
    PAGE.write_text(page(topics), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
