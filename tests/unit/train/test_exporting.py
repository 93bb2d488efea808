"""No version is made of networks that disagree; verdicts and golden inputs follow from the classes."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InternalError, InvalidArgumentError
from edgewise.model_server.building.version_directory import Agreement
from edgewise.protocols.dataset_manifest import Dataset, DatasetImage
from edgewise.train import exporting, version_config
from edgewise.train.held_out import evenly

FOUND = {
    "settings": {"network": "efficientnet-lite0"},
    "dataset": {"name": "pets", "digest": "d" * 64},
    "view": {"resize_px": 256, "size_px": 224, "mean": [127.0] * 3, "scale": [128.0] * 3},
}
CLASSES = ("cat", "dog", "other")


def agreement(verdicts: float) -> Agreement:
    return Agreement(100, 1.0, 1.0, 1.0, 0.0, verdicts)


def plan(thresholds=None, classes=CLASSES):
    return version_config.plan(FOUND, classes, thresholds or {})


def test_agreement_below_the_bound_writes_nothing():
    exporting._check(agreement(0.96), 1e-5, 0.95)
    with pytest.raises(FailedPreconditionError) as raised:
        exporting._check(agreement(0.94), 1e-5, 0.95)
    assert raised.value.message.startswith(
        "int8 and float32 give the same verdict on 94.0% of 100 test pictures, expected at least 95.0%; nothing was written"
    )


@pytest.mark.parametrize("difference", [0.1, float("nan")])
def test_conversion_that_changed_the_network_writes_nothing(difference):
    with pytest.raises(InternalError, match="ONNX says something else than Keras"):
        exporting._check(agreement(1.0), difference, 0.95)


def test_every_class_but_other_is_a_verdict():
    made = plan({"dog": 0.8})
    assert [(group.name, group.classes, group.threshold) for group in made.output.groups] == [
        ("cat", (0,), 0.5),
        ("dog", (1,), 0.8),
    ]
    assert [made.verdict_of(name) for name in CLASSES] == ["cat", "dog", "other"]
    assert plan(classes=("hen", "cow")).output.otherwise == "other"


@pytest.mark.parametrize("name", ["other", "hen"])
def test_threshold_of_what_is_no_verdict_is_refused(name):
    with pytest.raises(InvalidArgumentError, match=f"there is no class '{name}' that could have a threshold"):
        plan({name: 0.5})


def test_golden_inputs_are_those_both_are_right_about_and_surest_of():
    images = tuple(
        DatasetImage(f"test/{label}/{number}.jpg", "0" * 64, label, "test")
        for number, label in enumerate(("cat", "cat", "cat", "dog", "other"))
    )
    dataset = Dataset("pets", CLASSES, 1, "2026-11-23T10:00:00Z", None, (0.0, 0.0, 0.0), images)
    float32 = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.99, 0.01, 0], [0.1, 0.9, 0], [0, 0.1, 0.9]], np.float32)
    int8 = np.array([[0.7, 0.3, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.6, 0.4, 0], [0.1, 0, 0.9]], np.float32)
    answers = exporting._Answers(images, float32, float32, int8)
    found = exporting._golden(answers, plan(), dataset)
    # Of dogs there is none: int8 calls the only one a cat.
    assert [(image.file, name, verdict) for image, name, verdict in found] == [
        ("test/cat/1.jpg", "cat.jpg", "cat"),
        ("test/other/4.jpg", "other.jpg", "other"),
    ]
    with pytest.raises(FailedPreconditionError, match="no picture of the test split is called right"):
        exporting._golden(exporting._Answers(images[3:4], float32[3:4], float32[3:4], int8[3:4]), plan(), dataset)


def test_classes_whose_names_differ_by_a_space_have_a_golden_input_each():
    classes = ("a b", "a-b", "a-b-2")
    images = tuple(DatasetImage(f"test/{label}/0.jpg", "0" * 64, label, "test") for label in classes)
    dataset = Dataset("pets", classes, 1, "2026-11-23T10:00:00Z", None, (0.0, 0.0, 0.0), images)
    said = np.eye(3, dtype=np.float32)
    found = exporting._golden(exporting._Answers(images, said, said, said), plan(classes=classes), dataset)
    assert [(name, verdict) for _, name, verdict in found] == [
        ("a-b.jpg", "a b"),
        ("a-b-2.jpg", "a-b"),
        ("a-b-2-2.jpg", "a-b-2"),
    ]


def test_name_that_is_no_models_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"the model's name is 'a/b'"):
        exporting.export(tmp_path, tmp_path, model="a/b", version=1)


def test_some_of_many_are_taken_from_everywhere():
    images = tuple(DatasetImage(f"test/cat/{at}.jpg", "0" * 64, "cat", "test") for at in range(100))
    picked = evenly(images, 5)
    assert [image.file for image in picked] == [f"test/cat/{at}.jpg" for at in (0, 24, 49, 74, 99)]
    assert evenly(images, 200) == images


@pytest.fixture
def earlier(tmp_path):
    """An export of version 3 of pets, as far as it is looked at."""
    for tier in ("cloud", "edge"):
        place = tmp_path / tier / "pets" / "3"
        place.mkdir(parents=True)
        (place / "model.toml").write_text(f'description = "(network {"a" * 12})"')
        (place / "model.onnx").write_bytes(b"x")
    facts = {
        "model": "pets",
        "version": 3,
        "lineage": {"dataset": "d"},
        "agreement": asdict(agreement(0.97)),
        "keras_difference": 1e-6,
        "accuracy": {"keras": 0.9},
        "network": "a" * 64,
        "thresholds": {"dog": 0.8},
        "tiers": ["cloud", "edge"],
    }
    (tmp_path / "lineage.json").write_text(json.dumps(facts))
    return tmp_path


def test_what_an_earlier_export_made_of_the_same_is_known_without_converting(earlier):
    found = exporting._check_earlier(earlier, "pets", 3, "a" * 64, {"dog": 0.8})
    assert found.agreement == agreement(0.97)
    assert found.directories == {tier: earlier / tier / "pets" / "3" for tier in ("cloud", "edge")}
    assert "--lineage dataset=d" in found.release_command


@pytest.mark.parametrize(("digest", "thresholds"), [("b" * 64, {"dog": 0.8}), ("a" * 64, {})])
def test_another_export_is_refused_before_converting(earlier, digest, thresholds):
    with pytest.raises(AlreadyExistsError, match=r"cloud/pets/3 is there already, of another training or with other"):
        exporting._check_earlier(earlier, "pets", 3, digest, thresholds)


def test_nothing_is_taken_for_granted_of_an_export_that_is_not_whole(earlier):
    assert exporting._check_earlier(earlier, "pets", 4, "a" * 64, {"dog": 0.8}) is None
    (earlier / "edge" / "pets" / "3" / "model.onnx").unlink()
    assert exporting._check_earlier(earlier, "pets", 3, "a" * 64, {"dog": 0.8}) is None
    (earlier / "lineage.json").write_text("{}")
    assert exporting._check_earlier(earlier, "pets", 3, "a" * 64, {"dog": 0.8}) is None


def test_command_to_type_next_is_quoted(tmp_path):
    command = exporting._command("pets", 3, tmp_path / "a b", {"code": "0.1.0 4f9c"})
    assert f"--cloud '{tmp_path}/a b/cloud/pets/3'" in command
    assert "--lineage 'code=0.1.0 4f9c' --trust DIR" in command


def test_release_carries_the_weights_that_a_training_began_from():
    found = {
        **FOUND,
        "code": "1 c",
        "spec_digest": "s",
        "epochs": [1],
        "best_epoch": 1,
        "test": {"accuracy": 1.0, "images": 2},
        "begun_from": {
            "weights": "model.keras",
            "sha256": "a" * 64,
            "trainings": [{"name": "first", "dataset": {"digest": "b" * 64}, "unknown": ""}],
            "unknown": "",
        },
    }
    made = exporting._lineage(found, {"int8": 1.0}, agreement(1.0))
    assert (made["dataset"], made["weights"], made["weights-dataset"]) == ("d" * 64, "a" * 64, "b" * 64)
