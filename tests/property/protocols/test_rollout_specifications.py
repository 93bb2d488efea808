"""Specifications: what is written reads back as the same, and no text does worse than a message."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.gates import AccuracyGate, Gate, Gates, LatencyGate
from edgewise.core.rollout.selectors import parse_selector
from edgewise.core.rollout.specification import Canary, OnFailure, Specification
from edgewise.core.rollout.waves import Amount, Wave
from edgewise.protocols.rollout_specification import read_specification
from edgewise.protocols.rollout_specification_text import specification_text

PERCENTS = st.decimals(0, 100, places=3).map(lambda percent: float(percent) / 100.0)
AMOUNTS = st.integers(0, 10_000).map(lambda count: Amount(count=count)) | PERCENTS.map(
    lambda share: Amount(share=share)
)
MARGINS = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)
CONFIDENCES = st.floats(0.5, 1.0, exclude_max=True)
DURATIONS = st.floats(0.0, 1e7)
NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)
GATES = st.builds(Gate, MARGINS, CONFIDENCES)


@st.composite
def specifications(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    selectors = st.sampled_from(["", "tier=edge", "region in (eu, us),!gpu"]).map(parse_selector)
    waves = tuple(Wave(name, draw(selectors), draw(AMOUNTS), draw(AMOUNTS), draw(AMOUNTS)) for name in names)
    disagreement = draw(st.none() | GATES)
    least = 0.001 if disagreement else 0.0
    shares = draw(st.lists(MARGINS, max_size=6, unique=True).map(sorted))
    return Specification(
        model=draw(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}", fullmatch=True)),
        version=draw(st.integers(1, 2**63 - 1)),
        waves=waves,
        gates=Gates(
            draw(st.none() | GATES),
            draw(
                st.none()
                | st.builds(
                    LatencyGate, margin=MARGINS, confidence=CONFIDENCES, quantile=MARGINS, ratio=st.floats(1.0, 1e6)
                )
            ),
            disagreement,
            draw(st.booleans()),
            draw(st.none() | st.builds(AccuracyGate, MARGINS, CONFIDENCES)),
        ),
        canary=Canary(
            draw(st.floats(least, 1.0)), draw(st.floats(least, 1e7)), tuple(shares), draw(DURATIONS), draw(DURATIONS)
        ),
        silent_s=draw(st.floats(0.001, 1e7)),
        patience_s=draw(st.floats(0.001, 1e7)),
        on_failure=draw(st.sampled_from(OnFailure)),
        prestage=draw(st.booleans()),
    )


@given(specifications())
def test_what_is_written_reads_back_as_the_same(specification):
    text = specification_text(specification)

    assert read_specification(text, "toml") == specification
    assert specification_text(read_specification(text, "toml")) == text


@given(st.text(), st.sampled_from(["toml", "yaml"]))
def test_any_text_is_read_or_refused_with_a_message(text, form):
    with contextlib.suppress(InvalidArgumentError):
        read_specification(text, form)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "margin", "shares", "bake", "sites", "take"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(["model", "version", "waves", "gates", "canary", "patience", "on_failure"]), VALUES)
def test_any_value_in_any_place_is_read_or_refused_with_a_message_that_names_its_line(key, value):
    whole = {"model": "pets", "version": 2, "waves": [{"name": "all"}], key: value}
    text = "\n".join(f"{name}: {json.dumps(inner)}" for name, inner in whole.items())

    message = ""
    try:
        read_specification(text, "yaml")
    except InvalidArgumentError as error:
        message = error.message

    assert not message or (message.startswith("the specification") and ("line" in message or key in message))
