"""A change of a router's configuration that is not confirmed is rolled back, with FRR's own daemons."""

from __future__ import annotations

import pytest
from edge_router import Router, configuration

from tests.polling import until

WITHIN_S = 30
CUT_OFF = configuration("by mistake", "shutdown")


def test_the_deadline_of_an_unconfirmed_change_restores_the_session(router: Router) -> None:
    """The change itself cuts the operator off, so the operator cannot give the router any command."""
    assert router.commit("arm").returncode == 0
    router.configure(CUT_OFF)
    until("the session is gone", lambda: not router.session_is_up(), WITHIN_S)
    router.let_the_deadline_pass()
    assert not router.kept()
    assert router.configured() == configuration()
    until("the session is up", router.session_is_up, WITHIN_S)
    assert router.describes("as before")


def test_a_change_that_keeps_the_session_up_is_confirmed(router: Router) -> None:
    """Its deadline then does nothing."""
    assert router.commit("arm").returncode == 0
    router.configure(configuration("as wanted"))
    done = router.commit("confirm")
    assert (done.returncode, done.stderr) == (0, "")
    assert not router.kept()
    router.let_the_deadline_pass()
    assert router.configured() == configuration("as wanted")
    assert router.describes("as wanted")


@pytest.mark.nightly
def test_a_change_is_rolled_back_even_if_a_daemon_hangs(router: Router) -> None:
    """A reload needs an answer of every daemon. A daemon that does not answer is restarted.

    The neighbour waits up to a minute before it tries again, so the test does not wait for its session.
    """
    assert router.commit("arm").returncode == 0
    router.configure(CUT_OFF)
    router.must("pkill", "-STOP", "-F", "/run/frr/bgpd.pid")
    router.let_the_deadline_pass()
    assert not router.kept()
    assert router.configured() == configuration()
    until("the daemons have read it", lambda: router.describes("as before"), WITHIN_S)


@pytest.mark.nightly
def test_arm_is_refused_if_the_daemon_does_not_report_its_sessions(router: Router) -> None:
    """A stopped process neither answers nor refuses."""
    router.must("pkill", "-STOP", "-F", "/run/frr/bgpd.pid")
    done = router.commit("arm")
    assert done.returncode == 1
    assert done.stderr.startswith("not changed: frr.service runs but does not report its sessions")
    assert not router.kept()
