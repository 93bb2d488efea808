"""The summary as other programs read it, and what is refused on the way back."""

import csv
import errno
import json
import math
import os

import numpy as np
import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.study import summary
from edgewise.study.cells import Cell, Run
from edgewise.study.results import Calibration, CellResult, Estimate, NetworkProfile, Prediction, RunResult, StudyResult

CELL = Cell("cloud", "4g", "pets", "rest-image", 12.5, 25.0, batching="eight", outage="cut")
SILENT = Cell("edge", "", "pets", "rest-image", 12.5, 12.5)
NAN = Estimate(math.nan, math.nan, math.nan)


def study(**changed):
    run = RunResult(
        run=Run(CELL, 0, 7),
        requests=100,
        counts={"ok": 97, "lost": 3},
        mean_ms=61.25,
        quantiles_ms={0.5: 60.0, 0.999: 90.5},
        max_ms=91.0,
        duration_s=5.0,
        lag_p99_ms=0.125,
        engine_share=0.25,
        sites={"cloud": 97},
        right=9,
        labelled=10,
        errors={'no answer within "5 s"': 3},
    )
    cell = CellResult(
        cell=CELL,
        runs=(run,),
        requests=100,
        counts={"ok": 97, "lost": 3},
        mean_ms=Estimate(61.25, 60.0, 62.0),
        quantiles_ms={
            0.5: Estimate(60.0, 59.0, 61.0),
            0.95: Estimate(80.0, math.nan, math.nan),
            0.99: Estimate(90.0, 85.0, math.inf),
        },
        availability=Estimate(0.97, 0.9, 0.99),
        accuracy=Estimate(0.9, 0.6, 0.98),
        cdf_ms=(50.0, 60.0, 91.0),
    )
    silent = CellResult(SILENT, (), 0, {}, NAN, {}, NAN, NAN)
    whole = {
        "title": "a study, of two cells",
        "seed": 3,
        "cells": (cell, silent),
        "calibrations": (
            Calibration("edge", "pets", "rest-image", "", 20.0, (19.5, 20.5), (49.0, 50.0), 0.01, 30_000, 200),
        ),
        "predictions": (Prediction(CELL, 1.5, "server", math.inf, 70.0, math.inf, 1.0, 2.0, 3.0),),
        "profiles": {"4g": NetworkProfile("4g", 40.0)},
        "environment": {"commit": "abc", "machine": "2 cores"},
        "missing": {"edge_13": "the server was not there"},
        "prices": {"per_gb": 0.09},
    }
    return StudyResult(**{**whole, **changed})


def refuse_constants(text):
    raise AssertionError(f"{text} is no JSON")


def test_any_json_parser_reads_it(tmp_path):
    summary.write(tmp_path, study())
    found = json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse_constants)
    assert (found["format"], found["version"]) == ("edgewise-study", 1)
    first, silent = found["study"]["cells"]
    assert first["quantiles_ms"]["0.99"] == {"value": 90.0, "low": 85.0, "high": "Infinity"}
    assert first["quantiles_ms"]["0.95"]["low"] is None
    assert silent["mean_ms"]["value"] is None
    assert found["study"]["predictions"][0]["mean_ms"] == "Infinity"


def test_it_comes_back_from_the_directory_and_the_file(tmp_path):
    summary.write(tmp_path, study(cells=study().cells[:1]))
    by_directory, by_file = summary.read(tmp_path), summary.read(tmp_path / "summary.json")
    assert repr(by_directory) == repr(by_file) == repr(study(cells=study().cells[:1]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["summary.csv", "summary.json"]


def test_a_row_a_cell_with_units_in_the_columns(tmp_path):
    summary.write(tmp_path, study())
    with (tmp_path / "summary.csv").open(newline="") as file:
        first, silent = csv.DictReader(file)
    assert first["cell"] == CELL.name
    assert (first["load_per_s"], first["rate_per_s"], first["runs"], first["valid_runs"]) == ("12.5", "25", "1", "1")
    assert (first["requests"], first["ok"], first["lost"], first["expired"]) == ("100", "97", "3", "0")
    assert (first["mean_ms"], first["mean_low_ms"], first["mean_high_ms"]) == ("61.25", "60", "62")
    assert (first["p95_ms"], first["p95_low_ms"], first["p99_high_ms"]) == ("80", "", "inf")
    assert (first["availability_ratio"], first["accuracy_low_ratio"]) == ("0.97", "0.6")
    assert (first["predicted_mean_ms"], first["predicted_utilisation_ratio"]) == ("inf", "1.5")
    assert (silent["requests"], silent["mean_ms"], silent["max_ms"], silent["predicted_mean_ms"]) == ("0", "", "", "")
    assert list(first) == list(silent)


def test_numbers_of_numpy_and_texts_that_are_none_do_not_stop_it(tmp_path):
    calibration = Calibration(
        "edge", "m", "rest-json", "", np.float32(0.5), np.array([1.0, 2.0]), (np.float64(3.0),), 0.0, np.int64(7), 8
    )
    summary.write(tmp_path, study(cells=(), calibrations=(calibration,), missing={"cell": "\udcff"}, title="\udcff"))
    found = summary.read(tmp_path)
    assert found.calibrations[0] == Calibration("edge", "m", "rest-json", "", 0.5, (1.0, 2.0), (3.0,), 0.0, 7, 8)
    assert found.title == "\udcff"


def test_no_summary_there(tmp_path):
    for path in (tmp_path, tmp_path / "summary.json", tmp_path / "a" / "b"):
        with pytest.raises(NotFoundError, match="there is no summary of a study at"):
            summary.read(path)


def changed_json(**changes):
    found = {"format": "edgewise-study", "version": 1, "study": {"title": "t", "seed": 1, "cells": []}}
    return json.dumps({**found, **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("\udcff", "is no JSON"),
        ("[1]", 'lacks "format": "edgewise-study"'),
        (changed_json(format="x"), 'lacks "format"'),
        (changed_json(version=2), "has version 2; this program reads version 1"),
        (changed_json(version="1"), "has version '1'; this program reads version 1"),
        (changed_json(study=None), "study is null, which is no StudyResult"),
        (changed_json(study={"title": "t", "seed": 1}), "study lacks 'cells'"),
        (changed_json(study={"title": 1, "seed": 1, "cells": []}), "study.title is 1, which is no str"),
        (changed_json(study={"title": "t", "seed": True, "cells": []}), "study.seed is true, which is no int"),
        (changed_json(study={"title": "t", "seed": 1, "cells": {}}), "study.cells is {}, which is no list"),
        (
            changed_json(study={"title": "t", "seed": 1, "cells": [{"cell": 3}]}),
            r"study.cells\[0\].cell is 3, which is no Cell",
        ),
        (
            changed_json(study={"title": "t", "seed": 1, "cells": [], "prices": {"a": "b"}}),
            'study.prices.a is "b", which is no number',
        ),
        (changed_json(study={"title": "t", "seed": 1, "cells": [], "prices": "x" * 99}), "x..., which is no Mapping"),
    ],
)
def test_what_is_no_summary_is_refused_with_its_place(tmp_path, text, said):
    (tmp_path / "summary.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidArgumentError, match=said):
        summary.read(tmp_path)


def test_a_key_of_the_wrong_type_is_refused(tmp_path):
    summary.write(tmp_path, study())
    text = (tmp_path / "summary.json").read_text().replace('"0.95":', '"most":')
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InvalidArgumentError, match='quantiles_ms has the key "most", which is no float'):
        summary.read(tmp_path)


def test_fields_that_came_later_are_filled_and_unknown_ones_left_out(tmp_path):
    (tmp_path / "summary.json").write_text(changed_json(study={"title": "t", "seed": 1, "cells": [], "novel": [1]}))
    assert summary.read(tmp_path) == StudyResult("t", 1, ())


def test_a_full_disk_keeps_the_summary_that_was_there(tmp_path, monkeypatch):
    summary.write(tmp_path, study())

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FailedPreconditionError, match=r"summary\.json was not written: the disk is full"):
        summary.write(tmp_path, study(title="another"))
    assert summary.read(tmp_path).title == "a study, of two cells"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["summary.csv", "summary.json"]
