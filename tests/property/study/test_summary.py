"""Whatever a study found comes back from its summary."""

import json
import math
import tempfile
from dataclasses import fields, is_dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.study import summary
from edgewise.study.cells import Cell, Run
from edgewise.study.results import Calibration, CellResult, Estimate, NetworkProfile, Prediction, RunResult, StudyResult

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
COUNTS = st.dictionaries(TEXT, st.integers(0, 10**12), max_size=3)
ESTIMATES = st.builds(Estimate, FLOATS, FLOATS, FLOATS)
RATIOS = st.floats(0.0, 1.0)
CELLS = st.builds(Cell, TEXT, TEXT, TEXT, TEXT, FLOATS, FLOATS, TEXT, TEXT)
RUNS = st.builds(Run, CELLS, st.integers(0, 99), st.integers(0, 2**63))
RUN_RESULTS = st.builds(
    RunResult, RUNS, st.integers(0, 10**9), COUNTS, FLOATS, st.dictionaries(RATIOS, FLOATS, max_size=3), FLOATS, FLOATS,
    FLOATS, FLOATS, TEXT, COUNTS, st.integers(0, 99), st.integers(0, 99), COUNTS, FLOATS,
)  # fmt: skip
CELL_RESULTS = st.builds(
    CellResult, CELLS, st.lists(RUN_RESULTS, max_size=2).map(tuple), st.integers(0, 10**9), COUNTS, ESTIMATES,
    st.dictionaries(RATIOS, ESTIMATES, max_size=3), ESTIMATES, ESTIMATES, st.lists(FLOATS, max_size=3).map(tuple),
)  # fmt: skip
TUPLES = st.lists(FLOATS, max_size=3).map(tuple)
CALIBRATIONS = st.builds(
    Calibration, TEXT, TEXT, TEXT, TEXT, FLOATS, TUPLES, TUPLES, FLOATS, st.integers(0, 10**9), st.integers(0, 10**9)
)
PREDICTIONS = st.builds(Prediction, CELLS, FLOATS, TEXT, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS)
PROFILES = st.builds(NetworkProfile, TEXT, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS)
STUDIES = st.builds(
    StudyResult, TEXT, st.integers(-(2**63), 2**63), st.lists(CELL_RESULTS, max_size=2).map(tuple),
    st.lists(CALIBRATIONS, max_size=2).map(tuple), st.lists(PREDICTIONS, max_size=2).map(tuple),
    st.dictionaries(TEXT, PROFILES, max_size=2), st.dictionaries(TEXT, TEXT, max_size=2), st.dictionaries(TEXT, TEXT, max_size=2),
    st.dictionaries(TEXT, FLOATS, max_size=2),
)  # fmt: skip


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


@settings(max_examples=100, deadline=None)
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
    import csv
    import io

    rows = list(csv.reader(io.StringIO(summary.csv_text(study), newline="")))
    assert len(rows) == 1 + len(study.cells)
    assert {len(row) for row in rows} == {len(rows[0])}
