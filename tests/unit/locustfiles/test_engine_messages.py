"""Frames through a pipe."""

import io

import numpy as np
import pytest
from swarm.engine_messages import Batch, empty_batch, frame, read_frame


class Dripping(io.BytesIO):
    """A pipe that gives three bytes at a time."""

    def read(self, count=-1):
        return super().read(min(count, 3))


def test_messages_come_as_they_were_sent_however_the_pipe_cuts_them():
    batch = Batch(np.array([1.5]), np.array([0.1]), np.array([3], np.uint8), np.array([7]), {"no": 1})
    source = Dripping(frame(batch) + frame(empty_batch(error="gone", ended=True)))
    first, last = read_frame(source), read_frame(source)
    assert first.latency_ms.tolist() == [1.5]
    assert first.errors == {"no": 1}
    assert not first.ended
    assert last.ended
    assert last.error == "gone"
    with pytest.raises(EOFError):
        read_frame(source)


def test_a_frame_that_breaks_off_is_an_end():
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(frame(empty_batch())[:-1]))
