"""What stands in for a source that cannot be asked."""

import pytest

from edgewise.gateway import source_fallback
from edgewise.gateway.endpoints import Endpoint
from edgewise.gateway.source_fallback import NewsWithFallback


def endpoints(*numbers):
    return tuple(Endpoint(f"10.0.0.{number}", 8501) for number in numbers)


class Fallback:
    def __init__(self):
        self.listener = None
        self.hints = 0

    def start(self, listener):
        assert self.listener is None
        self.listener = listener

    def hint(self):
        self.hints += 1

    def close(self):
        self.listener = None


class Listener:
    def __init__(self):
        self.told = []

    def found(self, found):
        self.told.append(found)

    def failed(self, why):
        self.told.append(why)


class House:
    def __init__(self, monkeypatch):
        self.now_s = 100.0
        monkeypatch.setattr(source_fallback, "monotonic", lambda: self.now_s)
        self.listener, self.fallback = Listener(), Fallback()
        self.news = NewsWithFallback(self.listener, self.fallback, 30.0)

    @property
    def last(self):
        return self.listener.told[-1]


@pytest.fixture
def house(monkeypatch):
    return House(monkeypatch)


def test_before_the_first_answer_the_fallback_is_asked_at_once_and_believed(house):
    house.news.failed("refused")
    assert house.listener.told == ["refused"]
    house.fallback.listener.failed("no DNS either")
    house.fallback.listener.found(endpoints(1))
    assert house.last == endpoints(1)
    house.fallback.listener.found(())
    assert house.last == ()
    house.news.failed("refused")  # goes on as it is
    house.news.found(endpoints(2))
    assert house.last == endpoints(2)
    assert house.fallback.listener is None


def test_after_an_answer_it_takes_a_while(house):
    house.news.found(endpoints(1, 2))
    house.news.failed("away")
    house.now_s += 29.0
    house.news.failed("away")
    assert house.fallback.listener is None
    house.now_s += 2.0
    house.news.failed("away")
    assert house.fallback.listener is not None


def test_the_time_counts_from_the_last_good_answer(house):
    for _ in range(10):
        house.news.found(endpoints(1))
        house.news.failed("away")
        house.now_s += 20.0
    house.news.failed("away")
    assert house.fallback.listener is None


def test_what_the_source_said_stays_unless_the_fallback_names_the_same_endpoints(house):
    house.news.found(endpoints(1, 2, 3))
    house.news.failed("away")
    house.now_s += 31.0
    house.news.failed("away")
    before = list(house.listener.told)
    house.fallback.listener.found(())
    house.fallback.listener.found((Endpoint("10.96.0.1", 8501),))  # a virtual address
    assert house.listener.told == before
    house.fallback.listener.found(endpoints(3, 4))
    assert house.last == endpoints(3, 4)
    house.fallback.listener.found(endpoints(4, 5))  # step by step
    assert house.last == endpoints(4, 5)


def test_scaled_to_nothing_it_may_come_back_by_the_fallback(house):
    house.news.found(())
    house.news.failed("away")
    house.now_s += 31.0
    house.news.failed("away")
    house.fallback.listener.found(endpoints(1))
    assert house.last == endpoints(1)


def test_the_fallback_is_silent_once_the_source_answers_or_is_closed(house):
    house.news.failed("away")
    late = house.fallback.listener
    house.news.found(endpoints(1))
    late.found(endpoints(9))
    assert house.last == endpoints(1)
    house.news.failed("away")
    house.news.close()
    told = list(house.listener.told)
    house.news.found(endpoints(2))
    house.news.failed("away")
    late.found(endpoints(9))
    assert house.listener.told == told


def test_without_a_fallback(house):
    news = NewsWithFallback(house.listener, None, 0.0)
    news.failed("away")
    news.found(endpoints(1))
    assert house.listener.told == ["away", endpoints(1)]
