"""The timer of a schedule."""

import asyncio
from time import monotonic_ns

from edgewise.study.engine.timer import ScheduleTimer
from support.event_loop import run

MS = 1_000_000


def test_it_fires_once_for_each_time_and_never_early():
    async def main():
        loop = asyncio.get_running_loop()
        fired = []
        done = asyncio.Event()
        wanted = [monotonic_ns() + step * MS // 2 for step in range(1, 6)]

        def fire():
            fired.append(monotonic_ns())
            if len(fired) < len(wanted):
                timer.arm(wanted[len(fired)])
            else:
                done.set()

        timer = ScheduleTimer(loop, fire)
        timer.arm(wanted[0])
        await asyncio.wait_for(done.wait(), 20)
        timer.close()
        assert len(fired) == len(wanted)
        assert all(at >= due for at, due in zip(fired, wanted, strict=True))

    run(main)


def test_a_time_that_is_over_fires_at_once():
    async def main():
        done = asyncio.Event()
        timer = ScheduleTimer(asyncio.get_running_loop(), done.set)
        timer.arm(0)
        await asyncio.wait_for(done.wait(), 20)
        timer.close()
        timer.close()

    run(main)


def test_another_time_takes_the_place_of_the_first():
    async def main():
        fired = []
        done = asyncio.Event()
        timer = ScheduleTimer(asyncio.get_running_loop(), lambda: (fired.append(monotonic_ns()), done.set()))
        timer.arm(monotonic_ns() + 3600 * 1000 * MS)
        timer.arm(monotonic_ns() + MS)
        await asyncio.wait_for(done.wait(), 20)
        timer.close()
        assert len(fired) == 1

    run(main)
