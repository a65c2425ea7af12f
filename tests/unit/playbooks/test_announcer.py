"""When a site announces a service, and the kernel routes of each state."""

from __future__ import annotations

import itertools
import socket
import threading

import pytest

from playbooks.host_programs import announcer

SETTINGS = {
    "metrics": {"announced": 100, "last-resort": 900},
    "aggregates": ["203.0.113.0/24", "2001:db8:113::/48"],
    "services": [
        {
            "name": "approval",
            "routes": [
                {"prefix": "203.0.113.10/32", "via": "10.64.1.11"},
                {"prefix": "2001:db8:113::10/128", "via": "fd64:c10d:0:1::11"},
            ],
        }
    ],
}


def take(health: announcer.Health, good: bool) -> bool | None:
    """Count a good or a bad answer."""
    return health.take(announcer.Answer.GOOD if good else announcer.Answer.BAD)


def test_late_answers_need_longer_than_bad_ones_to_withdraw() -> None:
    """An overloaded ingress is not withdrawn from the network; a hanging one is, after eight late answers."""
    health = announcer.Health(2, 3, 8)
    for _ in range(2):
        take(health, True)
    slow = [health.take(announcer.Answer.SLOW) for _ in range(8)]
    assert slow == [None] * 7 + [False]


@pytest.mark.parametrize(("reply", "expected"), [(None, "SLOW"), (b"", "BAD"), (b"HTTP/1.0 503 no\r\n\r\n", "BAD")])
def test_a_listener_that_does_not_speak_tls_in_time_is_slow_and_one_that_hangs_up_is_bad(
    reply: bytes | None, expected: str
) -> None:
    """Over a real socket on the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        check = {"address": "127.0.0.1", "port": port, "host": "approval", "path": "/readyz"}

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                if reply is None:
                    connection.recv(4096)
                else:
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        answer, wrong = announcer.ask(check, 0.3, announcer.unverified())
        thread.join()
    assert answer is announcer.Answer[expected], wrong
    assert announcer.ask(check, 0.3, announcer.unverified())[0] is announcer.Answer.BAD


def test_two_good_answers_announce_and_three_bad_ones_withdraw() -> None:
    """One failed answer changes nothing."""
    health = announcer.Health(2, 3, 8)
    verdicts = [
        take(health, answer) for answer in (True, False, True, True, False, False, True, False, False, False, True)
    ]
    assert verdicts == [None, None, None, True, None, None, True, None, None, False, None]


def test_a_flapping_service_needs_more_good_answers_each_time() -> None:
    """2, 4, 8 … answers, never more than 20. After a calm minute two answers are enough again."""

    def answers_needed() -> int:
        for _ in range(3):
            take(health, False)
        return next(n for n in range(1, 100) if take(health, True))

    health = announcer.Health(2, 3, 8)
    assert [answers_needed() for _ in range(6)] == [2, 4, 8, 16, 20, 20]
    for _ in range(announcer.CALM_ANSWERS + 1):
        take(health, True)
    assert answers_needed() == 2


def test_one_good_answer_before_the_withdrawal_stops_it() -> None:
    """After the mark as last resort comes one good answer: no withdrawal by the old verdict."""
    health = announcer.Health(2, 3, 8)
    for answer in (True, True, False, False):
        take(health, answer)
    assert take(health, False) is False
    assert (
        announcer.next_state(announcer.State.LAST_RESORT, take(health, True), lambda: True)
        is announcer.State.LAST_RESORT
    )


def test_no_route_changes_before_enough_answers_agree() -> None:
    """A restart of the announcer on a live site does not change its routes."""
    for state in announcer.State:
        assert announcer.next_state(state, None, lambda: True) is state


def test_a_failing_service_is_marked_first_and_withdrawn_only_for_a_healthy_site() -> None:
    """The mark already moves the traffic; the withdrawal follows one tick later."""
    state = announcer.State
    assert announcer.next_state(state.ANNOUNCED, False, lambda: True) is state.LAST_RESORT
    assert announcer.next_state(state.LAST_RESORT, False, lambda: True) is state.DOWN
    assert announcer.next_state(state.LAST_RESORT, False, lambda: False) is state.LAST_RESORT


def test_a_service_that_never_answered_is_not_announced() -> None:
    """An estate that is being built announces nothing yet."""
    assert announcer.next_state(announcer.State.DOWN, False, lambda: False) is announcer.State.DOWN


@pytest.mark.parametrize("sites", [1, 2, 3])
def test_the_last_announcing_site_never_withdraws(sites: int) -> None:
    """Try every order in which sites fail and decide, starting with all announced: at least one stays."""
    state = announcer.State
    for order in itertools.product(range(sites), repeat=2 * sites + 1):
        states = [state.ANNOUNCED] * sites
        for site in order:
            elsewhere = any(other is state.ANNOUNCED for n, other in enumerate(states) if n != site)
            states[site] = announcer.next_state(states[site], False, lambda known=elsewhere: known)
            assert any(s is not state.DOWN for s in states), order


@pytest.mark.parametrize("sites", [2, 3])
def test_sites_that_fail_at_once_all_stay(sites: int) -> None:
    """All sites decide in the same tick, from the state before it."""
    state = announcer.State
    states = [state.ANNOUNCED] * sites
    for _ in range(10):
        seen = list(states)
        for site in range(sites):
            others = any(other is state.ANNOUNCED for n, other in enumerate(seen) if n != site)
            states[site] = announcer.next_state(seen[site], False, lambda known=others: known)
    assert states == [state.LAST_RESORT] * sites


def test_a_service_that_recovers_is_announced_from_any_state() -> None:
    """The return needs no operator."""
    for state in announcer.State:
        assert announcer.next_state(state, True, lambda: False) is announcer.State.ANNOUNCED


def test_routes_include_the_aggregate_only_while_a_service_is_announced() -> None:
    """A site without a service attracts no traffic from the peers."""
    state = announcer.State
    assert announcer.wanted_routes(SETTINGS, {"approval": state.DOWN}) == {}
    up = announcer.wanted_routes(SETTINGS, {"approval": state.ANNOUNCED})
    assert up[("203.0.113.10/32", 100)] == "10.64.1.11"
    assert up[("203.0.113.0/24", 100)] is None
    assert set(announcer.wanted_routes(SETTINGS, {"approval": state.LAST_RESORT})) == {
        (prefix, 900) for prefix, _ in up
    }


def test_a_change_of_metric_never_leaves_a_gap() -> None:
    """The new route exists before the old one is removed."""
    wanted = announcer.wanted_routes(SETTINGS, {"approval": announcer.State.LAST_RESORT})
    present = announcer.wanted_routes(SETTINGS, {"approval": announcer.State.ANNOUNCED})
    verbs = [command[2] for command in announcer.route_commands(wanted, present, 99)]
    assert verbs == ["replace"] * 4 + ["del"] * 4
    assert announcer.route_commands(wanted, wanted, 99) == []


def test_commands_name_the_family_of_the_route() -> None:
    """For a blackhole route `ip` guesses the wrong family."""
    commands = announcer.route_commands(
        announcer.wanted_routes(SETTINGS, {"approval": announcer.State.ANNOUNCED}), {}, 99
    )
    assert ["-4", "route", "replace", "blackhole", "203.0.113.0/24", "metric", "100", "proto", "99"] in commands
    via = ["via", "fd64:c10d:0:1::11"]
    assert ["-6", "route", "replace", "2001:db8:113::10/128", *via, "metric", "100", "proto", "99"] in commands


def test_only_a_valid_unmarked_path_of_another_site_counts() -> None:
    """Our own path, a broken one and another site's last resort do not count."""
    other = {"valid": True, "aspath": {"string": "4200000002", "length": 1}}
    assert announcer.healthy_elsewhere({"paths": [other]})
    assert not announcer.healthy_elsewhere({})
    assert not announcer.healthy_elsewhere({"paths": [{"valid": True, "aspath": {"string": "Local", "length": 0}}]})
    assert not announcer.healthy_elsewhere({"paths": [other | {"valid": False}]})
    assert not announcer.healthy_elsewhere({"paths": [other | {"community": {"list": ["gracefulShutdown"]}}]})


def test_a_restart_reads_the_state_from_the_kernel() -> None:
    """Fail static: the routes outlive the process."""
    service = SETTINGS["services"][0]
    for state in announcer.State:
        present = announcer.wanted_routes(SETTINGS, {"approval": state})
        assert announcer.state_of(service, SETTINGS, present) is state
