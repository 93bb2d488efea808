"""Whatever was recorded comes back."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.study import records
from edgewise.study.engine.job import OTHER_ANSWER, Recording, State

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def recordings(draw):
    rows = draw(st.integers(0, 30))

    def column(values, kind):
        return np.array(draw(st.lists(values, min_size=rows, max_size=rows)), dtype=kind)

    answers = draw(st.lists(st.binary(max_size=40), max_size=5))
    sites = draw(st.lists(TEXT, min_size=1, max_size=4))
    ended = column(st.integers(0, 2**62), np.int64)
    state = column(st.sampled_from(list(State)), np.uint8)
    return Recording(
        due_ns=np.sort(column(st.integers(0, 2**62), np.int64)),
        sent_ns=column(st.integers(-1, 2**62), np.int64),
        ended_ns=np.where((state == State.UNSENT) | (state == State.LOST), -1, ended),
        state=state,
        code=column(st.integers(-1, 32_767), np.int16),
        question=column(st.integers(0, 65_535), np.uint16),
        answer=column(st.sampled_from([OTHER_ANSWER, *range(len(answers))]), np.uint16),
        site=column(st.integers(0, len(sites) - 1), np.uint8),
        attempts=column(st.integers(0, 255), np.uint8),
        version=column(st.integers(0, 2**31 - 1), np.int32),
        answers=answers,
        sites=sites,
        errors=draw(st.dictionaries(TEXT, st.integers(1, 10**9), max_size=4)),
        started_wall_s=draw(st.floats(0, 1e10)),
        cpu_s=draw(st.floats(0, 1e6)),
        stopped=draw(st.booleans()),
        opened=draw(st.integers(0, 10**6)),
        resent=draw(st.integers(0, 10**6)),
        waited_s=draw(st.floats(0, 1e6)),
        scheduling=draw(TEXT),
        cpus=tuple(draw(st.lists(st.integers(0, 255), max_size=4))),
    )


@settings(max_examples=80, deadline=None)
@given(recordings(), st.dictionaries(TEXT, TEXT, max_size=4))
def test_records_come_back_as_they_were(recording, metadata):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "r.parquet"
        records.write(path, recording, metadata)
        found, kept = records.read(path)
    assert kept == metadata
    for name in Recording.__slots__:
        one, other = getattr(found, name), getattr(recording, name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
        else:
            assert one == other
