"""Whatever a site sends: samples, or a refusal; never anything else."""

import hashlib
import io
import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.samples.answer_scores import answered_rows
from edgewise.hub.samples.ingest import take_segment
from edgewise.protocols.samples import FORMS, encode_sample
from edgewise.spool.records import HEADER, frame_head
from support.captured_samples import captured, tfs_rest
from support.captured_samples import picture as made

PICTURE = made(1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "predictions",
                    "outputs",
                    "inputs",
                    "name",
                    "data",
                    "shape",
                    "datatype",
                    "parameters",
                    "binary_data_size",
                    "labels",
                    "probabilities",
                    "verdict",
                    "b64",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NEARLY = st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode())


@st.composite
def damaged(draw):
    """A request with a picture in it, a few bytes of which are others."""
    content = bytearray(draw(st.sampled_from([PICTURE, tfs_rest(PICTURE, PICTURE)])))
    for place in draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))])


@given(
    st.sampled_from(FORMS), NEARLY | damaged(), NEARLY, st.none() | st.integers(0, 60), st.none() | st.integers(0, 60)
)
def test_any_request_and_answer_become_samples(form, request, answer, header_length, json_length):
    sample = captured(
        1,
        form=form,
        request=request,
        answer=answer,
        inference_header_length=header_length,
        answer_json_length=json_length,
        other_answer=answer,
    )
    record = encode_sample(sample)
    taken = take_segment(
        io.BytesIO(HEADER + frame_head(record) + record), "alpha", lambda kept: hashlib.sha256(kept).hexdigest(), 1.0
    )
    assert taken.samples
    assert len({each.id for each in taken.samples}) == len(taken.samples)
    assert all(each.site == "alpha" for each in taken.samples)


@given(st.sampled_from(FORMS), NEARLY, st.none() | st.integers(0, 60))
def test_any_answer_is_read_or_not(form, answer, json_length):
    for row in answered_rows(form, answer, json_length):
        assert len(row.scores) <= 5


@given(st.binary(max_size=60), st.binary(max_size=60), st.booleans())
def test_any_segment_is_taken_or_refused(head, record, with_head):
    content = (HEADER + frame_head(record) + record if with_head else b"") + head
    with suppress(InvalidArgumentError):
        take_segment(io.BytesIO(content), "alpha", lambda _: "", 1.0)
