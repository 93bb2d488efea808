import pytest

from edgewise.core.errors import ResourceExhaustedError
from edgewise.hub.api import failed_attempts
from edgewise.hub.api.failed_attempts import AT_ONCE, EACH_S, FailedAttempts


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def attempts(clock):
    return FailedAttempts(lambda: clock[0])


def fail(attempts, address, times=AT_ONCE):
    for _ in range(times):
        attempts.check(address)
        attempts.failed(address)


def test_ten_at_once_and_one_more_each_six_seconds(attempts, clock):
    fail(attempts, "192.0.2.1")
    with pytest.raises(ResourceExhaustedError) as caught:
        attempts.check("192.0.2.1")
    assert caught.value.retry_after_s == pytest.approx(EACH_S)
    clock[0] += EACH_S
    fail(attempts, "192.0.2.1", 1)
    with pytest.raises(ResourceExhaustedError):
        attempts.check("192.0.2.1")
    clock[0] += AT_ONCE * EACH_S
    fail(attempts, "192.0.2.1")


def test_one_address_does_not_hold_up_another(attempts):
    fail(attempts, "192.0.2.1")
    attempts.check("192.0.2.2")


def test_an_ipv6_network_counts_as_one_address(attempts):
    for number in range(AT_ONCE):
        fail(attempts, f"2001:db8::{number:x}", 1)
    with pytest.raises(ResourceExhaustedError):
        attempts.check("2001:db8::ffff")
    attempts.check("2001:db8:0:1::1")


def test_addresses_are_forgotten_when_there_are_too_many(attempts, monkeypatch):
    monkeypatch.setattr(failed_attempts, "_MOST_ADDRESSES", 5)
    for number in range(20):
        attempts.failed(f"192.0.2.{number}")
    assert len(attempts) == 5
    attempts.failed("")
