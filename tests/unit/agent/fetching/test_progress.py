import pytest

from edgewise.agent.fetching.progress import INTERVAL_S, Progress, shown_bytes


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (12_345_678, "12.3 MB"), (5 * 10**12, "5.0 TB")]
)
def test_bytes_for_people(count, text):
    assert shown_bytes(count) == text


def test_a_line_each_few_seconds_and_no_more():
    lines, now_s = [], [0.0]
    progress = Progress(lines.append, lambda: now_s[0])
    progress.total_bytes = 40_000_000
    for _ in range(20):
        now_s[0] += INTERVAL_S / 4
        progress.add(1_000_000)
    assert len(lines) == 5
    assert lines[1] == "8.0 MB of 40.0 MB (20 %) here, 800.0 kB/s"


def test_beginning_anew_is_no_negative_rate():
    lines, now_s = [], [0.0]
    progress = Progress(lines.append, lambda: now_s[0])
    progress.add(5_000_000)
    progress.add(-5_000_000)
    now_s[0] = INTERVAL_S
    progress.add(10)
    assert lines == ["10 bytes here, 2 bytes/s"]
