"""Which engine sends when, and how much a user stands for."""

from swarm.figures import CLOSED, OPEN
from swarm.phases import Phases


class Play:
    """Phases on virtual time."""

    def __init__(self, mode, *, rate=100.0, users=10, run_time_s=20.0):
        self.now_s = 0.0
        self.in_flight = 0
        self.phases = Phases(
            mode,
            rate,
            users,
            run_time_s,
            now_s=lambda: self.now_s,
            quiet=lambda: not self.in_flight,
            patience_s=3.0,
        )

    def engine_at(self, now_s, in_flight=0):
        self.now_s, self.in_flight = now_s, in_flight
        return self.phases.engine()


def test_one_engine_stays():
    for mode in (CLOSED, OPEN):
        test = Play(mode)
        assert {test.engine_at(now_s, 5) for now_s in (0, 9, 11, 1e6)} == {mode}


def test_the_open_half_waits_for_the_last_answers_of_users():
    test = Play("both")
    assert test.engine_at(9.99, 4) == CLOSED
    assert test.engine_at(10.0, 4) == ""
    assert test.engine_at(11.0, 1) == ""
    assert test.engine_at(11.5, 0) == OPEN
    # Users do not ask any more; what a late answer does is nobody's concern.
    assert test.engine_at(12.0, 1) == OPEN


def test_but_not_longer_than_a_user_would():
    test = Play("both")
    assert test.engine_at(12.9, 4) == ""
    assert test.engine_at(13.1, 4) == OPEN


def test_a_user_stands_for_its_share_of_the_rate():
    assert Play(OPEN, rate=100.0, users=8).phases.rate_per_user() == 12.5
    assert Play(CLOSED, rate=100.0, users=8).phases.rate_per_user() == 12.5
    assert Play(OPEN, rate=100.0, users=0).phases.rate_per_user() == 100.0


def test_without_a_rate_users_ask_as_fast_as_they_can_and_the_schedule_once_a_second_for_each():
    assert Play(CLOSED, rate=0.0).phases.rate_per_user() == 0.0
    assert Play(OPEN, rate=0.0).phases.rate_per_user() == 1.0
