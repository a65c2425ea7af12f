"""What workers tell, and how a failure is told on."""

from __future__ import annotations

import json

import pytest

from stacks import engine
from stacks.crew import Answer
from stacks.events import unified
from workstation.errors import GovcloudError, Refused


def test_an_answer_gathers_what_its_worker_tells() -> None:
    """Progress goes on at once; a fault told twice is one."""
    said: list[str] = []
    answer = Answer(stack="network")
    change = {
        "stack": "network",
        "op": "update",
        "resource": "network-futian-edge1",
        "host": "futian-edge1",
        "details": ["x"],
    }
    for told in ({"say": "futian-edge1: frr"}, {"change": change}, {"fault": "a"}, {"fault": "a"}, {"fault": ""}):
        answer.take(json.dumps(told), said.append)
    assert said == ["futian-edge1: frr"]
    assert answer.changes[0].details == ("x",)
    assert (answer.faults, answer.done) == (["a"], False)
    answer.take(json.dumps({"ended": "done"}), said.append)
    assert answer.done


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("futian-edge1: role frr, task 'x': broken", engine.StacksFailed, 1),
        ('resource "urn:…" cannot be deleted\nas it is currently marked for protection.', Refused, 6),
    ],
)
def test_a_failure_names_the_stack_and_protection_is_a_refusal(
    fault: str, kind: type[GovcloudError], code: int
) -> None:
    """Stacks that are done are not named."""
    failure = engine._failure([Answer(stack="network", done=True), Answer(stack="data", faults=[fault])])
    assert type(failure) is kind
    assert failure.exit_code == code
    assert failure.message.startswith("data: ")


def test_a_diff_shows_two_lines_around_a_change() -> None:
    """From what is on the host to what is declared."""
    text = "\n".join(str(n) for n in range(9))
    lines = unified("/etc/x", text, text.replace("4", "four")).splitlines()
    assert lines[:2] == ["--- /etc/x (on the host)", "+++ /etc/x (declared)"]
    assert lines[3:] == [" 2", " 3", "-4", "+four", " 5", " 6"]
