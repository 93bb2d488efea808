"""The camera that the README's field section plays."""

import csv
import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "field" / "door_camera.py"


@pytest.fixture
def camera(monkeypatch):
    found = importlib.util.spec_from_file_location("door_camera", EXAMPLE)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setattr(
        module,
        "views",
        lambda nights: (
            (f"{night}-{name}", f"night-{night}", name, b"x") for night in nights for name in ("cat", "dog")
        ),
    )
    return module


def test_nights_that_are_kept_join_those_that_are_there(camera, tmp_path, capsys):
    camera.keep(tmp_path / "nights", range(1, 3))
    camera.keep(tmp_path / "nights", range(2, 4))
    camera.keep(tmp_path / "nights", range(4, 5))
    with (tmp_path / "nights" / "labels.csv").open(newline="") as file:
        rows = [(row["file"], row["label"], row["source"]) for row in csv.DictReader(file)]
    assert rows == [
        (f"{night}-{name}.jpg", name, f"night-{night}") for night in (1, 2, 3, 4) for name in ("cat", "dog")
    ]
    nights = tmp_path / "nights"
    assert capsys.readouterr().out.splitlines() == [
        f"2 nights written; 2 in {nights}",
        f"2 nights written; 3 in {nights}",
        f"1 night written; 4 in {nights}",
    ]
