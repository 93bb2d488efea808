"""Whatever a study found comes back from its summary."""

import csv
import io
import json
import math
import tempfile
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.study import summary
from edgewise.study.results import StudyResult

LEAVES = {
    str: st.text(st.characters(codec="utf-8"), max_size=8),
    float: st.floats(allow_nan=True, allow_infinity=True),
    int: st.integers(-(2**63), 2**63),
    bool: st.booleans(),
}
KEYS = {**LEAVES, float: st.floats(0.0, 1.0)}


def anything(kind):
    """Values of a type of the port, whatever fields it has."""
    if kind in LEAVES:
        return LEAVES[kind]
    words = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return st.lists(anything(words[0]), max_size=2).map(tuple)
    if typing.get_origin(kind) is Mapping:
        return st.dictionaries(KEYS[words[0]], anything(words[1]), max_size=2)
    assert is_dataclass(kind), kind
    return st.builds(kind, **{name: anything(field) for name, field in typing.get_type_hints(kind).items()})


STUDIES = anything(StudyResult)


def alike(one, other):
    """Equal, where nan equals nan."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if is_dataclass(one):
        return type(one) is type(other) and all(
            alike(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and one == other


@settings(max_examples=60, deadline=None)
@given(STUDIES)
def test_a_study_comes_back_as_it_was(study):
    with tempfile.TemporaryDirectory() as directory:
        summary.write(Path(directory), study)
        assert alike(summary.read(Path(directory)), study)
        text = (Path(directory) / "summary.json").read_text()
    json.loads(text, parse_constant=lambda word: (_ for _ in ()).throw(AssertionError(word)))


@given(STUDIES)
@settings(max_examples=50, deadline=None)
def test_the_table_has_a_row_a_cell(study):
    rows = list(csv.reader(io.StringIO(summary.csv_text(study), newline="")))
    assert len(rows) == 1 + len(study.cells)
    assert {len(row) for row in rows} == {len(rows[0])}
