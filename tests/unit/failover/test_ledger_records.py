"""Damaged ledgers: a truncated last line is dropped and the ledger is incomplete, any other damage is refused."""

from __future__ import annotations

import pytest

from failover.ledger import Unreadable, parse
from tests.unit.failover import ledger_builder as make

LINES = make.writes(5, lambda n, at: [make.ok(at)])


def test_a_ledger_with_a_truncated_last_line_is_incomplete() -> None:
    whole = make.text(*LINES, footer=False)
    ledger = parse(whole[:-30])
    assert not ledger.complete
    assert len(ledger.entries) == 4


@pytest.mark.parametrize("cut", range(1, 400, 13))
def test_a_ledger_truncated_anywhere_is_read_or_refused_but_never_misread(cut: int) -> None:
    whole = make.text(*LINES)
    try:
        ledger = parse(whole[: len(whole) - cut])
    except Unreadable:
        return
    assert not ledger.complete
    assert all(entry.first_acknowledged for entry in ledger.entries)


def test_the_later_entry_of_a_write_is_valid() -> None:
    ledger = parse(make.text(make.write(0, [make.silence(0)]), make.write(0, [make.silence(0), make.ok(3)])))
    assert len(ledger.entries) == 1
    assert len(ledger.entries[0].attempts) == 2


def test_damage_before_the_end_is_refused_with_its_line() -> None:
    lines = make.text(*LINES).splitlines(keepends=True)
    lines[2] = lines[2][:40] + "\n"
    with pytest.raises(Unreadable, match="line 3"):
        parse("".join(lines))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no header"),
        ("[]\n", "not a JSON object"),
        ('{"kind":"header","started_wall_s":1.0}\n', "rate_per_s"),
        ('{"kind":"header","started_wall_s":1.0,"rate_per_s":0}\n', "rate_per_s"),
        (make.text({"kind": "stroll", "n": 1}), "unknown kind"),
        (make.text({"kind": "write", "n": 1}), "attempts"),
        (make.text({**make.write(0, []), "attempts": 3}), "TypeError"),
        (make.text({**make.write(0, []), "attempts": [{}]}), "sent_s"),
    ],
)
def test_text_that_is_not_a_ledger_is_refused_with_the_cause(text: str, cause: str) -> None:
    with pytest.raises(Unreadable, match=cause):
        parse(text)
