"""A router's change that is not confirmed undoes itself, with FRR's own daemons."""

from __future__ import annotations

from edge_router import Router, configuration

from tests.polling import until

WITHIN_S = 30
CUT_OFF = configuration("by mistake", "shutdown")


def test_the_deadline_of_a_change_that_nobody_confirms_brings_the_session_back(router: Router) -> None:
    """The operator is cut off by the change itself and can tell the router nothing."""
    assert router.commit("arm").returncode == 0
    router.configure(CUT_OFF)
    until("the session is gone", lambda: not router.session_is_up(), WITHIN_S)
    router.let_the_deadline_pass()
    assert not router.kept()
    assert router.configured() == configuration()
    until("the session is up", router.session_is_up, WITHIN_S)
    assert router.describes("as before")


def test_a_change_with_which_the_session_stays_up_is_confirmed(router: Router) -> None:
    """Its deadline then does nothing."""
    assert router.commit("arm").returncode == 0
    router.configure(configuration("as wanted"))
    done = router.commit("confirm")
    assert (done.returncode, done.stderr) == (0, "")
    assert not router.kept()
    router.let_the_deadline_pass()
    assert router.configured() == configuration("as wanted")
    assert router.describes("as wanted")


def test_a_change_whose_deadline_meets_a_daemon_that_hangs_is_undone_too(router: Router) -> None:
    """A reload needs an answer of every daemon; one that gives none is started anew.

    The neighbour lets up to a minute pass before it tries again, so its session is not waited for.
    """
    assert router.commit("arm").returncode == 0
    router.configure(CUT_OFF)
    router.must("pkill", "-STOP", "-F", "/run/frr/bgpd.pid")
    router.let_the_deadline_pass()
    assert not router.kept()
    assert router.configured() == configuration()
    until("the daemons have read it", lambda: router.describes("as before"), WITHIN_S)


def test_a_daemon_that_does_not_tell_its_sessions_lets_nothing_be_armed(router: Router) -> None:
    """Stopped in the middle of its work, it neither answers nor refuses."""
    router.must("pkill", "-STOP", "-F", "/run/frr/bgpd.pid")
    done = router.commit("arm")
    assert done.returncode == 1
    assert done.stderr.startswith("not changed: frr.service runs but does not report its sessions")
    assert not router.kept()
