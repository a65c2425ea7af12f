"""What a watch makes of replies of different ages, and when it asks whom."""

from __future__ import annotations

import threading

import pytest

from estate.model import HostRole
from monitors.observe.answers import Reply
from monitors.observe.authority import Authority
from monitors.observe.questions import hosts_asked, needs_authority, of, with_authority
from monitors.observe.watch import FRESH_S, LONGEST_ON_HOST_S, Pace, Word, current, phases, until_beat
from tests.unit.monitors.observations import ESTATE, PLAN

REPLY = Reply(host="futian-data1", reachable=True, now=1000.0, answers={"uptime": {"text": "1 1"}})


def now(word: Word, at: float) -> Reply:
    """What counts at that time."""
    return current("futian-data1", word, now=at, fresh_s=FRESH_S)


def test_a_reply_counts_while_it_is_fresh_whatever_failed_since() -> None:
    """A new sshd or a lost channel is not yet a lost host."""
    word = Word(reply=REPLY, heard_at=100.0, missed="10.0.0.1: connection refused")
    assert now(word, 100.0 + FRESH_S) is REPLY
    assert now(word, 100.1 + FRESH_S) == Reply(
        host="futian-data1", reachable=False, reason="10.0.0.1: connection refused"
    )


def test_a_host_without_a_fresh_reply_is_not_reachable_and_says_why() -> None:
    """Nothing of the old reply is kept: what it said then is not known now."""
    assert not now(Word(), 5.0).reachable
    assert now(Word(), 5.0).reason == "no answer yet"
    old = now(Word(reply=REPLY, heard_at=100.0), 112.0)
    assert (old.reachable, old.reason, old.answers) == (False, "no answer for 12 s", {})


def test_a_host_whose_questions_all_hang_is_still_seen() -> None:
    """Its replies come at most one hanging question and one beat apart."""
    assert LONGEST_ON_HOST_S + Pace().every_s < FRESH_S < Pace().answer_s


def test_databases_are_asked_together_and_the_others_spread() -> None:
    """Positions are compared with each other; processors are shared with the service."""
    hosts = hosts_asked(ESTATE)
    at = {host.name: phase for host, phase in phases(hosts, 1.5)}
    assert at.keys() == {host.name for host in hosts}
    assert {at[host.name] for host in ESTATE.database_members} == {0.0}
    others = sorted(phase for name, phase in at.items() if not ESTATE.host(name).database)
    gaps = [later - earlier for earlier, later in zip([0.0, *others], [*others, 1.5], strict=True)]
    assert min(gaps) == pytest.approx(max(gaps))
    assert phases((), 1.5) == ()


@pytest.mark.parametrize(("elapsed", "wait"), [(0.0, 0.4), (0.3, 0.1), (0.5, 1.4), (1.8, 0.1), (7.9, 1.5), (8.0, 1.4)])
def test_beats_stay_in_step_however_long_an_answer_took(elapsed: float, wait: float) -> None:
    """A host that comes back falls into the step that it had."""
    assert until_beat(elapsed, every_s=1.5, phase_s=0.4) == pytest.approx(wait)


def test_the_authority_is_told_by_the_first_holder_that_has_it() -> None:
    """The others need not be waited for."""
    authority = Authority(["futian-kube1", "nanshan-kube1"])
    authority.tell("futian-kube1", None)
    waiting = threading.Timer(0.1, authority.tell, ("nanshan-kube1", "PEM"))
    waiting.start()
    assert authority.wait(10) == "PEM"
    waiting.join()


def test_vantages_do_not_wait_for_holders_that_are_all_dark() -> None:
    """Nor where nobody holds it, nor when nobody is watching any more."""
    dark = Authority(["futian-kube1"])
    assert dark.wait(0.01) == ""
    dark.tell("futian-kube1", None)
    assert dark.wait(60) == ""
    assert Authority([]).wait(60) == ""
    given_up = Authority(["futian-kube1"])
    given_up.give_up()
    assert given_up.wait(60) == ""


def test_a_new_authority_replaces_the_old_and_silence_does_not() -> None:
    """While the estate is watched, its certificates may be renewed and its sites lose power."""
    authority = Authority(["futian-kube1", "nanshan-kube1"])
    authority.tell("futian-kube1", "old")
    authority.tell("futian-kube1", None)
    assert authority.wait(60) == "old"
    authority.tell("nanshan-kube1", "new")
    assert authority.wait(60) == "new"


def test_a_vantage_asks_by_the_newest_authority() -> None:
    """Its questions are made once and asked again and again."""
    vantage = next(host for host in ESTATE.hosts if host.kind is HostRole.VANTAGE)
    asked = with_authority(with_authority(of(ESTATE, PLAN, vantage), "old"), "new")
    assert needs_authority(asked)
    assert {question["ca_text"] for question in asked.values() if question["kind"] == "https"} == {"new"}


def test_who_asks_a_vantage_asks_the_holders_of_the_authority_too() -> None:
    """It can only be asked with their word."""
    vantage = next(host.name for host in ESTATE.hosts if host.kind is HostRole.VANTAGE)
    kinds = {host.kind for host in hosts_asked(ESTATE, [vantage])}
    assert kinds == {HostRole.VANTAGE, HostRole.KUBE}
    assert [host.name for host in hosts_asked(ESTATE, ["futian-edge1"])] == ["futian-edge1"]
    assert len(hosts_asked(ESTATE)) == 14
