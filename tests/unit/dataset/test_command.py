"""The verbs as they are typed."""

import argparse

import pytest

from edgewise.cli import data_build
from edgewise.core.errors import EdgewiseError
from edgewise.protocols.dataset_manifest import read_dataset
from support.pictures import folder


def typed(*words):
    root = argparse.ArgumentParser(prog="edgewise data")
    data_build.add_to(root.add_subparsers(required=True))
    arguments = root.parse_args(list(map(str, words)))
    return arguments.run(arguments)


def test_draw_build_check(tmp_path, capsys):
    assert (
        typed("synthetic", "--classes", "cat,dog", "--images", 12, "--size", "24x20", "--out", tmp_path / "drawn") == 0
    )
    assert capsys.readouterr().out == f"{tmp_path}/drawn: 24 synthetic pictures of 2 classes and 6 sources\n"
    words = ["--size", "16x12", "--augment", "rotate,flip", "--copies", 2, "--split", "60,20,20", "--seed", 3]
    assert typed("build", tmp_path / "drawn", "--out", tmp_path / "out", *words) == 0
    dataset = read_dataset(tmp_path / "out")
    assert (dataset.name, dataset.size, dataset.seed) == ("drawn", (12, 16), 3)
    assert dataset.build["shares"] == [60, 20, 20]
    assert "cat" in capsys.readouterr().out
    assert typed("check", tmp_path / "out") == 0
    next((tmp_path / "out" / "train" / "cat").iterdir()).unlink()
    assert typed("check", tmp_path / "out") == 1
    assert "is missing" in capsys.readouterr().out


def test_the_command_line_comes_before_the_specification(tmp_path):
    folder(tmp_path / "pictures", {"cat": 6, "dog": 6})
    spec = tmp_path / "pets.toml"
    spec.write_text('paths = ["pictures"]\nsize = "8x8"\nseed = 5\naugment = ["flip"]\n')
    assert typed("build", "--spec", spec, "--out", tmp_path / "out", "--size", "10x12", "--name", "mine") == 0
    dataset = read_dataset(tmp_path / "out")
    assert (dataset.name, dataset.size, dataset.seed) == ("mine", (12, 10), 5)
    assert any(image.augmentation == {"flip": True} for image in dataset.images)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "x"], "there is no PATH; expected directories or lists of pictures, here or as paths in --spec"),
        (["p", "--out", "x", "--split", "1,2"], "found '1,2', expected the percentages of train, validation and test"),
        (["p", "--out", "x", "--size", "1"], "found '1', expected WIDTHxHEIGHT"),
        (["p", "--out", "x", "--augment", "rotat"], "there is no augmentation 'rotat' (did you mean 'rotate'?)"),
        (["p", "--out", "x", "--copies", "2"], "--copies goes with --augment, such as --augment rotate,flip"),
        (["p", "--out", "x", "--augment", "flip", "--copies", "2"], "flip alone makes one"),
        (["p", "--out", "x", "--near", "99"], "found '99', expected a whole number, 0 to 32"),
    ],
)
def test_wrong_words(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        typed("build", *words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_done_is_an_error_of_ours(tmp_path):
    with pytest.raises(EdgewiseError, match="is not there; expected a directory with a folder for each class"):
        typed("build", tmp_path / "none", "--out", tmp_path / "out")
    with pytest.raises(EdgewiseError, match="expected a dataset that `edgewise data build` made"):
        typed("check", tmp_path)
