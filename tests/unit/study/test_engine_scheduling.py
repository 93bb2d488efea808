"""The engine's place among processes: as high as the system allows, and never silent about it."""

import os

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.engine import scheduling


@pytest.fixture
def asked(monkeypatch):
    calls = []

    def allow(*, realtime, nice):
        def set_scheduler(pid, policy, parameter):
            calls.append(("policy", policy, parameter.sched_priority))
            if not realtime:
                raise PermissionError

        def set_priority(which, who, value):
            calls.append(("nice", value))
            if not nice:
                raise PermissionError

        monkeypatch.setattr(os, "sched_setscheduler", set_scheduler)
        monkeypatch.setattr(os, "setpriority", set_priority)
        return calls

    return allow


def test_realtime_where_it_is_allowed_and_only_for_itself(asked):
    calls = asked(realtime=True, nice=True)
    assert scheduling.raise_priority() == "SCHED_RR"
    assert calls == [("policy", os.SCHED_RR | os.SCHED_RESET_ON_FORK, 1)]


def test_niceness_where_realtime_is_not_allowed(asked):
    calls = asked(realtime=False, nice=True)
    assert scheduling.raise_priority() == "nice -10"
    assert calls[-1] == ("nice", -10)


def test_as_everybody_else_where_nothing_is_allowed(asked):
    asked(realtime=False, nice=False)
    assert scheduling.raise_priority() == "normal"


def test_what_was_raised_is_lowered_again(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda _pid, policy, parameter: calls.append(policy))
    monkeypatch.setattr(os, "getpriority", lambda _which, _who: -10)
    monkeypatch.setattr(os, "setpriority", lambda _which, _who, value: calls.append(value))
    scheduling.lower_priority()
    assert calls == [os.SCHED_OTHER, 0]


def test_a_niceness_that_somebody_else_chose_is_left(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda _pid, policy, parameter: calls.append(policy))
    monkeypatch.setattr(os, "getpriority", lambda _which, _who: 19)
    monkeypatch.setattr(os, "setpriority", lambda _which, _who, value: calls.append(value))
    scheduling.lower_priority()
    assert calls == [os.SCHED_OTHER]


def test_cores_that_are_not_there_are_named_with_those_that_are(monkeypatch):
    used = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: used.append(cpus))
    cores = scheduling.Cores()
    with pytest.raises(InvalidArgumentError, match="cores 1, 3, which are not there; there are 0, 2"):
        cores.use((0, 1, 3))
    assert used == []
    assert cores.use((2,)) == (2,)
    assert cores.use(()) == (0, 2)
    assert used == [{2}, {0, 2}]


def test_waiting_for_a_core_only_grows():
    before_s = scheduling.waited_s()
    assert before_s >= 0
    assert scheduling.waited_s() >= before_s
