"""The decisions about a message."""

import random
from itertools import pairwise

import pytest
from approval.decision import State as ApplicationState
from approval.identity import SYNTHETIC_SEGMENT as APPROVALS_SEGMENT
from approval.people import TEST_NUMBERS
from messages.policy import (
    LONGEST_DELAY_S,
    LONGEST_PROBE_S,
    OPENS_AFTER,
    SYNTHETIC_SEGMENT,
    Answer,
    Breaker,
    State,
    Verdict,
    judge,
    receipt_context,
    retry_delay_s,
    suppressed_because,
)
from messages.templates import TEMPLATES, render

RETRY = Verdict(state=State.PENDING, reason="timeout")


@pytest.mark.parametrize(
    ("mobile", "deliver_synthetic", "reason"),
    [
        (None, "", "no_number"),
        ("13800138000", "", None),
        ("13800138000", "1540", None),
        ("15400000001", "", "synthetic"),
        ("15400000001", "1541", "synthetic"),
        ("15400000001", "1540", None),
    ],
)
def test_synthetic_people_get_a_message_only_as_the_named_test_population(mobile, deliver_synthetic, reason):
    """Real people always get one if they gave a number."""
    assert suppressed_because(mobile, deliver_synthetic) == reason


def test_both_services_agree_on_synthetic_numbers():
    """Each service has the rule of its own, so that one wrong setting cannot send a message."""
    assert SYNTHETIC_SEGMENT == APPROVALS_SEGMENT
    assert TEST_NUMBERS.startswith(SYNTHETIC_SEGMENT)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(status=200), Verdict(state=State.SENT)),
        (Answer(status=202), Verdict(state=State.SENT)),
        (Answer(status=400), Verdict(state=State.FAILED, reason="status_400")),
        (Answer(status=422), Verdict(state=State.FAILED, reason="status_422")),
        (Answer(status=401), Verdict(state=State.PENDING, reason="status_401")),
        (Answer(status=403), Verdict(state=State.PENDING, reason="status_403")),
        (Answer(status=404), Verdict(state=State.PENDING, reason="status_404")),
        (Answer(status=408), Verdict(state=State.PENDING, reason="status_408")),
        (Answer(status=429), Verdict(state=State.PENDING, reason="status_429")),
        (Answer(status=301), Verdict(state=State.PENDING, reason="status_301")),
        (Answer(status=500), Verdict(state=State.PENDING, reason="status_500")),
        (Answer(status=503), Verdict(state=State.PENDING, reason="status_503")),
        (Answer(status=None, error="timeout"), RETRY),
    ],
)
def test_only_a_refusal_of_the_message_itself_is_final(answer, verdict):
    """A wrong token or a wrong path is our mistake. It must not fail the messages of a whole day."""
    assert judge(answer) == verdict


def test_the_delay_grows_exponentially_up_to_its_limit_and_is_spread_over_the_whole_range():
    """Full jitter: messages that failed together are not tried again together."""
    limits = [retry_delay_s(attempts, None, lambda: 1.0) for attempts in range(1, 12)]
    assert limits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert limits[-1] == LONGEST_DELAY_S == retry_delay_s(10_000, None, lambda: 1.0)
    generator = random.Random(1)
    delays = [retry_delay_s(6, None, generator.random) for _ in range(1000)]
    assert min(delays) < 1
    assert 15 < max(delays) <= 16


def test_the_carriers_own_delay_is_respected_within_a_limit():
    """Retry-After is the shortest delay. A carrier cannot postpone a message for a day."""
    assert retry_delay_s(1, 7.0, lambda: 1.0) == 7.0
    assert retry_delay_s(9, 1.0, lambda: 1.0) == LONGEST_DELAY_S
    assert retry_delay_s(1, 86_400.0, lambda: 1.0) == 300.0


def test_a_carrier_that_is_down_gets_one_probe_at_a_time():
    """Single failures change nothing. Then each probe waits longer, up to a limit, and one success ends it."""
    breaker, now = Breaker(lambda: 1.0), 100.0
    for _ in range(OPENS_AFTER):
        assert breaker.allowed(16, now) == 16
        breaker.record(RETRY, now)
    assert breaker.open
    probes = []
    for _ in range(8):
        assert breaker.allowed(16, now) == 0
        while not breaker.allowed(16, now):
            now += 0.1
        assert breaker.allowed(16, now) == 1
        breaker.started(now)
        assert breaker.allowed(16, now) == 0
        probes.append(now)
        now += 0.05
        breaker.record(RETRY, now)
    waits = [later - earlier for earlier, later in pairwise(probes)]
    assert waits == sorted(waits)
    assert waits[-1] < LONGEST_PROBE_S + 0.3
    breaker.record(Verdict(state=State.SENT), now)
    assert breaker.allowed(16, now) == 16


def test_a_refused_message_proves_that_the_carrier_works():
    """Five wrong numbers in a row do not stop the others."""
    breaker = Breaker(lambda: 1.0)
    for _ in range(OPENS_AFTER):
        breaker.record(Verdict(state=State.FAILED, reason="status_400"), 1.0)
    assert not breaker.open


def test_failures_with_successes_between_them_do_not_stop_the_sending():
    """Only failures in a row count."""
    breaker = Breaker(lambda: 1.0)
    for _ in range(OPENS_AFTER * 2):
        breaker.record(RETRY, 1.0)
        breaker.record(Verdict(state=State.SENT), 1.0)
    assert not breaker.open


def test_a_probe_without_a_result_does_not_block_the_next_one_for_ever():
    """Its claim may have been too late to send."""
    breaker = Breaker(lambda: 1.0)
    for _ in range(OPENS_AFTER):
        breaker.record(RETRY, 0.0)
    breaker.started(10.0)
    assert breaker.allowed(1, 10.1) == 0
    assert breaker.allowed(1, 10.0 + LONGEST_PROBE_S) == 1


def test_each_message_has_a_receipt_context_of_its_own():
    """A receipt of another message, or another secret, does not fit."""
    one = receipt_context("secret", "a")
    assert one == receipt_context("secret", "a")
    assert len({one, receipt_context("secret", "b"), receipt_context("other", "a")}) == 3


def test_every_state_of_an_application_has_a_text_that_fits_into_one_short_message():
    """The text has no blank that is left, and no link: links in official messages help those who forge them."""
    assert set(TEMPLATES) == {state.value for state in ApplicationState}
    for template in TEMPLATES:
        text = render(template, 9_999_999_999)
        assert len(text) <= 70, (template, len(text))
        assert "9999999999" in text
        assert text.startswith("【深圳政务】")
        assert "{" not in text
        assert "http" not in text
