"""A process whose request log nobody reads ends all the same."""

import os
import subprocess
import sys

SCRIPT = """
import sys
from edgewise.net.line_log import LineLog

log = LineLog()
for number in range(5000):
    log.write_line({"number": number, "filler": "x" * 100})
log.close()
sys.stdout.flush()
print("ended", file=sys.stderr)
"""


def test_a_reader_that_does_not_read_keeps_nobody_from_ending():
    # Only a buffer has a lock that can be held.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered) as process:
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
        assert process.stderr.read() == b"ended\n"
        assert process.stdout.read().startswith(b'{"number":0,')
