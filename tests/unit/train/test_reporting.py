"""The report shows what came out, the mistakes with their pictures, and nothing that a browser would have to fetch or run."""

from dataclasses import asdict

import pytest

from edgewise.train import reporting
from edgewise.train.curves import Epoch
from edgewise.train.describing import begun
from edgewise.train.pictures import View
from edgewise.train.run_directory import FINISHED, RunDirectory
from edgewise.train.settings import Stage, TrainSettings
from support.drawn_dataset import write_dataset

LOSSES = ((1.0, 1.1, 1), (0.5, 0.6, 1), (0.4, 0.7, 2))


@pytest.fixture
def run(tmp_path):
    dataset = write_dataset(tmp_path / "d", counts={"train": 2, "validation": 1, "test": 2})
    settings = TrainSettings("efficientnet-lite0", (Stage(2), Stage(1)), name="a<b")
    view = View(256, 224, (127.0,) * 3, (128.0,) * 3)
    found = begun(settings, dataset, tmp_path / "d", view)
    cat = dataset.of_split("test")[0].file
    epochs = [
        Epoch(stage, at, 1e-4, loss, 0.5, validation, 0.6, 2.0, 50.0, 1 << 30)
        for at, (loss, validation, stage) in enumerate(LOSSES, 1)
    ]
    found |= {
        "state": FINISHED,
        "finished": "2026-11-23T11:00:00Z",
        "parameters": 1000,
        "epochs": [asdict(one) for one in epochs],
        "best_epoch": 2,
        "parted": 2,
        "seconds": 6.0,
        "seconds_an_epoch": 2.0,
        "images_per_s": 50.0,
        "peak_memory_bytes": 1 << 30,
        "validation_accuracy": 0.6,
        "test": {
            "images": 6,
            "accuracy": 0.5,
            "loss": 0.7,
            "confusion": [[1, 1, 0], [0, 2, 0], [0, 2, 0]],
            "classes": {
                "cat": {"precision": 1.0, "recall": 0.5, "support": 2},
                "dog": {"precision": 0.4, "recall": 1.0, "support": 2},
                "other": {"precision": None, "recall": 0.0, "support": 2},
            },
        },
        "mistakes": [
            {"file": cat, "actual": "cat", "called": "dog", "sure": 0.93},
            {"file": "test/other/gone.jpg", "actual": "other", "called": "dog", "sure": 0.6},
        ],
    }
    directory = RunDirectory(tmp_path / "run")
    directory.write(found)
    return directory


def test_page_shows_the_mistakes_with_their_pictures(run):
    page = reporting.write(run.root).read_text()
    assert "a&lt;b: efficientnet-lite0" in page
    assert "cat, called <strong>dog</strong> (93%)" in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert "(the picture is gone)" in page
    assert "drawn by a program" in page
    for word in ("<script", "http://", "https://", "<link"):
        assert word not in page.replace("http://www.w3.org/", "")


def test_plots_are_files_too(run):
    reporting.write(run.root)
    names = {path.name for path in run.plots.iterdir()}
    for name in ("learning-rate", "loss", "accuracy", "confusion", "by-class"):
        assert {f"{name}.png", f"{name}.svg"} <= names
    assert (run.plots / "mistakes.png").read_bytes().startswith(b"\x89PNG")
    assert "best: epoch 2" in (run.plots / "loss.svg").read_text()
    # In the words of the bars that it measures.
    assert ">75%<" in (run.plots / "by-class.svg").read_text()


def test_summary_is_what_a_terminal_shows(run):
    assert reporting.summary_text(run.root).splitlines()[1:] == [
        (
            "50.0% of 6 test pictures right (95 % interval 18.8% to 81.2%; of 1 source); 3 epochs in 6.0 s, the best is epoch 2. "
            "Synthetic: pictures were drawn by a program, and this holds for drawn ones, not for photographs."
        ),
        "the curves part from epoch 2 on: the training loss falls on, the validation loss no longer",
        "2.00 s an epoch, 50.0 images/s, peak memory 1,024 MiB, all in 6.0 s",
        "  cat    precision 100.0%  recall  50.0%  of 2",
        "  dog    precision  40.0%  recall 100.0%  of 2",
        "  other  precision   none  recall   0.0%  of 2",
    ]


@pytest.mark.parametrize(
    ("accuracy", "loss", "said"),
    [
        (1.0, 0.00001, "all validation pictures are right already, so more epochs can gain nothing on these"),
        (1.0, 0.4, "more epochs may gain more"),
        (0.99, 0.00001, "more epochs may gain more"),
    ],
)
def test_curves_that_have_not_parted_promise_no_more_than_there_is(run, accuracy, loss, said):
    found = run.read()
    found["epochs"][1]["validation_loss"] = loss
    run.write(found | {"parted": None, "validation_accuracy": accuracy})
    assert f"the curves have not parted: {said}\n" in reporting.summary_text(run.root)
    assert f"they have not: {said}<" in reporting.write(run.root).read_text()


def test_page_says_how_much_the_test_pictures_prove(run):
    page = reporting.write(run.root).read_text()
    assert "95 % interval 18.8% to 81.2%" in page
    assert page.index("Synthetic: pictures were drawn by a program") < page.index("What came out")
    found = run.read()
    # A run.json of an earlier version does not count sources.
    found["dataset"] = {**found["dataset"], "synthetic": False}
    del found["dataset"]["test_sources"]
    run.write(found)
    assert "81.2%); 3 epochs in 6.0 s, the best is epoch 2.\n" in reporting.summary_text(run.root)
    assert "Synthetic" not in reporting.write(run.root).read_text()


def test_summary_of_an_unfinished_training_counts_its_epochs(run):
    found = run.read()
    del found["test"]
    run.write(found | {"state": "running"})
    run.metrics.write_text("stage\n1\n1\n")
    assert "not finished: 2 of at most 3 epochs" in reporting.summary_text(run.root)
