import ctypes
import resource
import subprocess
import sys

import pytest

from edgewise.net import memory

# Frees what it took and takes it again, as bodies do. A process of its own, since the heap of this one is in use.
CHURN = """
import resource
from edgewise.net.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
for _ in range(3):
    held = [bytes(60_000) for _ in range(50)]
    del held
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    held = [bytes(60_000) for _ in range(50)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(*, keep: bool) -> int:
    done = subprocess.run([sys.executable, "-c", CHURN.format(keep=keep)], capture_output=True, check=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_memory_that_is_taken_again_and_again_is_kept():
    page_bytes = resource.getpagesize()
    churned_pages = 100 * 50 * 60_000 // page_bytes
    assert _faults(keep=True) < churned_pages // 100
    assert _faults(keep=False) > churned_pages // 10


def test_a_library_that_does_not_know_of_it_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert not memory.keep_freed_memory()
