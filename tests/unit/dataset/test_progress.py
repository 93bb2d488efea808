"""What is written while a dataset is made, on a terminal and elsewhere."""

import io

from edgewise.dataset.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def written(stream, calls):
    """What is written of calls (seconds, step, done, total), and of the end."""
    clock = [0.0]
    progress = Progress(stream, lambda: clock[0])
    for clock[0], *told in calls:
        progress(*told)
    progress.end()
    return stream.getvalue()


def test_a_terminal_has_each_step_at_once_and_no_line_in_the_end():
    calls = [
        (0.0, "reading", 0, 1200),
        (0.1, "reading", 100, 1200),
        (2.0, "reading", 1000, 1200),
        (2.1, "writing", 0, 7),
        (2.2, "writing", 7, 7),
    ]
    shown = ["reading: 0 of 1,200", "reading: 1,000 of 1,200, 500 pictures/s", "writing: 0 of 7", ""]
    assert written(Terminal(), calls) == "".join(f"\r\x1b[K{text}" for text in shown)


def test_elsewhere_there_is_a_line_now_and_then_and_none_of_a_step_that_is_done():
    calls = [
        (0.0, "reading", 0, 300),
        (9.0, "reading", 90, 300),
        (11.0, "reading", 110, 300),
        (12.0, "writing", 0, 50),
        (20.0, "writing", 40, 50),
        (22.0, "writing", 50, 50),
    ]
    assert written(io.StringIO(), calls) == "edgewise: reading: 110 of 300, 10 pictures/s\n"


def test_nothing_is_taken_away_where_nothing_was_told():
    assert written(Terminal(), []) == ""
