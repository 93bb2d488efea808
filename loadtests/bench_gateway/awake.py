"""Keeps cores from falling asleep while latencies are measured.

A virtual machine's idle core is given back to the hypervisor, and waking it takes tens of microseconds: at one request at
a time two such wakes are most of what a proxy on another core adds, whatever the proxy does. A program that spins in the
idle class keeps the core and gives way to any other program at once.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

SPIN = """
import os
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
print(flush=True)
while True:
    pass
"""


@contextmanager
def awake(cpus: Iterable[int]) -> Iterator[list[int]]:
    """Keep `cpus` awake; gives the processes that do, whose CPU time is nobody's."""
    spinners = []
    try:
        for cpu in cpus:
            mine = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {cpu})
            try:
                spinners.append(subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE))
            finally:
                os.sched_setaffinity(0, mine)
        for spinner in spinners:
            assert spinner.stdout is not None
            spinner.stdout.readline()
        yield [spinner.pid for spinner in spinners]
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.communicate()
