import pytest

from edgewise.agent.fetching.retries import MAX_RETRY_AFTER_S, RetryPolicy, retry_after_s

POLICY = RetryPolicy(retries=5, base_s=1.0, cap_s=6.0)


@pytest.mark.parametrize(("retry", "bound_s"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 6.0), (5, 6.0)])
def test_delays_double_up_to_the_cap_with_full_jitter(retry, bound_s):
    assert POLICY.delay_s(retry, retry_after_s=None, draw=0.0) == 0.0
    assert POLICY.delay_s(retry, retry_after_s=None, draw=0.5) == bound_s / 2


def test_it_gives_up():
    assert POLICY.delay_s(6, retry_after_s=None, draw=0.5) is None
    assert RetryPolicy(retries=0).delay_s(1, retry_after_s=None, draw=0.5) is None


def test_never_earlier_than_the_server_asks_and_not_beyond_reason():
    assert POLICY.delay_s(1, retry_after_s=7.0, draw=0.5) == 7.5
    assert POLICY.delay_s(1, retry_after_s=MAX_RETRY_AFTER_S + 1, draw=0.0) is None


def test_very_many_retries_overflow_nothing():
    assert RetryPolicy(retries=10_000, cap_s=6.0).delay_s(9_999, retry_after_s=None, draw=0.5) == 3.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 400, 999_999_999.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after_s(value, wall_clock_s=10.0) == seconds
