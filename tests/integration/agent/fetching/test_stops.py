"""What a signal ends, whichever thread the kernel gives it to."""

import signal
import threading

import pytest

from edgewise.agent.fetching.stops import Stopped, stoppable

WAIT_S = 30


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_wait_that_the_signal_does_not_wake_is_ended(how):
    over = threading.Event()

    def elsewhere():
        # To this thread: nothing wakes the main one, as when it comes just before the wait.
        signal.pthread_kill(threading.get_ident(), how)
        over.wait(WAIT_S)
        never.set()

    never = threading.Event()
    thread = threading.Thread(target=elsewhere)

    def wait():
        thread.start()
        never.wait()

    with pytest.raises(Stopped) as stopped, stoppable():
        wait()
    assert stopped.value.signal is how
    assert not never.is_set()
    over.set()
    thread.join()


def test_handlers_are_as_before():
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    with pytest.raises(Stopped), stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert {each: signal.getsignal(each) for each in before} == before


def test_cleaning_up_is_not_disturbed_by_another():
    cleaned = []

    def work():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            cleaned.append(1)

    with pytest.raises(Stopped), stoppable():
        work()
    assert cleaned == [1]
