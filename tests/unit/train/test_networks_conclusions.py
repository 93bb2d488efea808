"""What is concluded of a comparison of networks, and what is held against it."""

import math
from pathlib import Path

import pytest

from edgewise.study.cells import Cell
from edgewise.study.results import CellResult, Estimate, StudyResult
from edgewise.train.networks_study import report
from edgewise.train.networks_study.conclusions import conclude
from edgewise.train.networks_study.findings import NetworksResult, Training, Version

NOTHING = Estimate(math.nan, math.nan, math.nan)
MIB = 2**20


def cell(network, form, target, profile, p50, spread=1.0, availability=1.0):
    return CellResult(
        cell=Cell(target, profile, f"{network}-{form}", "rest-image", 5.0, 5.0),
        runs=(),
        requests=100,
        counts={"ok": 100},
        mean_ms=NOTHING,
        quantiles_ms={
            0.5: Estimate(p50, p50 - spread, p50 + spread),
            0.95: Estimate(p50 + 4, p50, p50 + 9),
            0.99: Estimate(p50 + 5, p50, p50 + 9),
        },
        availability=Estimate(availability, availability, availability),
        accuracy=NOTHING,
    )


def training(network, weights="none", images_per_s=10.0):
    return Training(network, weights, 5_000_000, 60, 6.0, images_per_s, 900 * MIB, 0.5, 12, ())


def result(cells=(), **words):
    sizes = {"tensorflow": 20, "float32": 20, "int8": 5}
    versions = [
        Version(
            name, form, size * MIB, (size + 80) * MIB, (size + 90) * MIB, 2.0, 0.5, 0.9 if form == "int8" else math.nan
        )
        for name in ("alexnet", "resnet-50")
        for form, size in sizes.items()
    ]
    said = {
        "title": "networks",
        "networks": ("alexnet", "resnet-50"),
        "formats": ("tensorflow", "float32", "int8"),
        "trainings": (training("alexnet"), training("resnet-50", images_per_s=2.0)),
        "versions": tuple(versions),
        "asked": StudyResult("s", 1, tuple(cells)) if cells else None,
        "synthetic": True,
        "reduced": ("2 epochs of each network",),
        **words,
    }
    return NetworksResult(**said)


def points(found, heading):
    return next((one.points for one in found if one.heading == heading), ())


def test_the_edge_wins_where_the_intervals_do_not_overlap():
    cells = [
        cell("alexnet", "int8", "edge", "", 10.0),
        cell("alexnet", "float32", "cloud", "fibre", 20.0),
        cell("alexnet", "int8", "cloud", "4g", 10.5),
        cell("resnet-50", "float32", "edge", "", 60.0),
        cell("resnet-50", "float32", "cloud", "fibre", 40.0),
    ]
    first, second = points(conclude(result(cells)), "Which network where")
    assert "the edge beats the cloud over fibre by 10" in first
    assert "no difference shown between the edge and the cloud over 4g" in first
    assert "the cloud over fibre beats the edge by 20" in second


def test_a_version_that_left_requests_unanswered_is_not_recommended():
    cells = [
        cell("alexnet", "int8", "edge", "", 10.0, availability=0.5),
        cell("alexnet", "float32", "edge", "", 30.0),
        cell("alexnet", "float32", "cloud", "fibre", 20.0),
    ]
    (only,) = points(conclude(result(cells)), "Which network where")
    assert "ONNX Runtime float32" in only


def test_runtimes_and_numbers_are_compared_at_the_edge():
    cells = [
        cell("alexnet", form, "edge", "", value)
        for form, value in (("tensorflow", 30.0), ("float32", 15.0), ("int8", 7.5))
    ]
    found = conclude(result(cells))
    assert "TensorFlow takes 2.00 times as long" in points(found, "TensorFlow or ONNX Runtime")[0]
    assert "25 % of the size" in points(found, "float32 or int8")[0]
    assert "takes 0.500 times as long" in points(found, "float32 or int8")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "nothing about which network sees better"),
        ({}, "the accuracies are not what the networks can do"),
        (
            {"trainings": (training("alexnet"), training("resnet-50", "imagenet"))},
            "Neither seconds an epoch nor accuracy compare between the two",
        ),
        ({"environment": {"load while training": "9 processes on 2 cores"}}, "9 processes on 2 cores"),
        ({"missing": {"training vgg": "why"}}, "Missing: training vgg"),
    ],
)
def test_what_limits_it_is_said(words, said):
    assert any(said in one.text for one in conclude(result(**words)) if one.caution)


def test_what_was_made_small_is_said_where_anything_was():
    assert any("Made small, to end soon: 2 epochs" in one.text for one in conclude(result()))
    assert not any("Made small" in one.text for one in conclude(result(reduced=())))


def test_nothing_is_said_of_drawn_pictures_where_there_are_none():
    assert not any("drawn by a program" in one.text for one in conclude(result(synthetic=False)))


def test_a_comparison_in_which_nothing_went_well_still_has_a_page(tmp_path: Path):
    empty = result(trainings=(), versions=(), missing={"training alexnet": "<no> room"})
    page = report.write(tmp_path, empty).read_text()
    assert "Nothing was trained." in page
    assert "&lt;no&gt; room" in page
    assert "training alexnet: <no> room" in report.text(empty)
