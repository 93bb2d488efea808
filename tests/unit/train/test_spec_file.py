"""A specification is read strictly, and each error says where, what was found and what would be right."""

from pathlib import Path

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.train.settings import ALL_GROUPS, ClassWeights, EarlyStopping, Optimizer, Schedule
from edgewise.train.spec_file import load

WHOLE = """\
name = "pets"
dataset = "../datasets/pets"
network = "efficientnet-lite0"
weights = "imagenet"
size = 192
batch_size = 32
seed = 9
optimizer = "sgd"
dropout = 0.3
class_weights = "balanced"
[early_stopping]
patience = 4
min_delta = 0.01
[[stage]]
name = "head"
epochs = 10
learning_rate = 0.01
schedule = "cosine"
warmup = 0.5
[[stage]]
epochs = 3
schedule = "step"
every = 2
unfreeze = "all"
"""
LEAST = 'dataset = "d"\nnetwork = "alexnet"\n[[stage]]\nepochs = 1\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "specs" / "mine.toml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_whole_specification_is_read_and_paths_are_relative_to_it(tmp_path):
    spec = load(written(tmp_path, WHOLE))
    settings = spec.settings
    assert spec.dataset == (tmp_path / "datasets" / "pets").resolve()
    assert spec.text == WHOLE
    assert (settings.name, settings.network, settings.weights) == ("pets", "efficientnet-lite0", "imagenet")
    assert (settings.size, settings.batch_size, settings.seed, settings.dropout) == (192, 32, 9, 0.3)
    assert settings.optimizer is Optimizer.SGD
    assert settings.class_weights is ClassWeights.BALANCED
    assert settings.early_stopping == EarlyStopping(4, 0.01)
    head, rest = settings.stages
    assert (head.name, head.schedule, head.warmup, head.decay, head.unfreeze) == ("head", Schedule.COSINE, 0.5, 0.0, 0)
    assert (rest.schedule, rest.every, rest.decay, rest.unfreeze) == (Schedule.STEP, 2, 0.1, ALL_GROUPS)
    assert rest.learning_rate == 1e-4
    assert settings.epochs == 13


def test_least_specification_trains_from_scratch_and_is_named_by_its_file(tmp_path):
    settings = load(written(tmp_path, LEAST)).settings
    assert (settings.name, settings.weights, settings.class_weights) == ("mine", "none", ClassWeights.NONE)


def test_drawn_weights_are_all_trained_unless_the_stage_says_otherwise(tmp_path):
    stages = LEAST.replace("epochs = 1", "epochs = 1\n[[stage]]\nepochs = 1\nunfreeze = 0")
    drawn = load(written(tmp_path, stages)).settings
    assert [stage.unfreeze for stage in drawn.stages] == [ALL_GROUPS, 0]
    (tmp_path / "specs" / "mine.toml").write_text(stages.replace("[[stage]]", 'weights = "a.keras"\n[[stage]]', 1))
    given = load(tmp_path / "specs" / "mine.toml").settings
    assert [stage.unfreeze for stage in given.stages] == [0, 0]


def test_weights_of_classes_and_files_of_weights(tmp_path):
    text = LEAST.replace("[[stage]]", 'weights = "old/model.keras"\n[class_weights]\ncat = 2\ndog = 0.5\n[[stage]]')
    settings = load(written(tmp_path, text)).settings
    assert settings.class_weights == {"cat": 2.0, "dog": 0.5}
    assert settings.weights == str((tmp_path / "specs" / "old" / "model.keras").resolve())


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            'network = "alexnet"',
            'network = "alexnot"',
            "mine.toml: network: found 'alexnot', expected one of 'alexnet'",
        ),
        ("epochs = 1", "epochs = 0", "mine.toml: stage 1, epochs: found 0, expected a whole number in 1..10000"),
        ("epochs = 1", "epoch = 1", "mine.toml: stage 1, epoch: unknown key (did you mean 'epochs'?)"),
        (
            "epochs = 1",
            'epochs = 1\nschedule = "linear"',
            "stage 1, schedule: found 'linear', expected one of 'constant'",
        ),
        ("epochs = 1", "epochs = 1\nunfreeze = 8", "stage 1, unfreeze: found 8, expected a whole number in 0..7"),
        (
            "epochs = 1",
            "epochs = 1\nlearning_rate = 0",
            "stage 1, learning_rate: found 0, expected a number in 1e-09..10",
        ),
        ("epochs = 1", "epochs = 1\nwarmup = 2", "stage 1, warmup: found 2, expected a number in 0..1"),
        ("[[stage]]\nepochs = 1\n", "", "mine.toml: stage: found 0 stages, expected 1 to 32 tables [[stage]]"),
        ("epochs = 1", "epochs = 1\n[[stage]]\nepochs = 0", "mine.toml: stage 2, epochs: found 0"),
        (
            "[[stage]]\nepochs = 1\n",
            "stage = [1]\n",
            "mine.toml: stage: found 1, expected a table of an array of tables [[stage]]",
        ),
        (
            'dataset = "d"',
            'dataset = "d"\nlearnig_rate = 1',
            "mine.toml: learnig_rate: unknown key (did you mean 'learning_rate' in [[stage]]?); allowed: name, dataset",
        ),
        (
            'dataset = "d"',
            'dataset = "d"\nschedule = "cosine"',
            "schedule: unknown key (it belongs into [[stage]]); allowed",
        ),
        ('dataset = "d"', 'dataset = "d"\npatience = 1', "patience: unknown key (it belongs into [early_stopping])"),
        ('dataset = "d"', 'datset = "d"', "datset: unknown key (did you mean 'dataset'?)"),
        ('dataset = "d"', "", "mine.toml: dataset: missing, expected text in quotes"),
        ('dataset = "d"', 'dataset = "d"\nsize = 20', "size: found 20, expected at least 67 pixels for alexnet"),
        (
            'dataset = "d"',
            'dataset = "d"\nweights = "imagenet"',
            "published weights are installed along for efficientnet-lite0, efficientnet-lite2 only",
        ),
        ("[[stage]]", "[class_weights]\ncat = 0\n[[stage]]", "class_weights.cat: found 0, expected a number over 0"),
        ("[[stage]]", "[early_stopping]\npatience = -1\n[[stage]]", "early_stopping.patience: found -1"),
        ("epochs = 1", "epochs = ", "mine.toml: not TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, before, after, message):
    with pytest.raises(InvalidArgumentError) as raised:
        load(written(tmp_path, LEAST.replace(before, after)))
    assert message in raised.value.message


def test_missing_file_is_said(tmp_path):
    with pytest.raises(InvalidArgumentError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_settings_have_a_digest_that_any_change_changes(tmp_path):
    one = load(written(tmp_path, LEAST)).settings
    (tmp_path / "specs" / "mine.toml").write_text(LEAST.replace("epochs = 1", "epochs = 2"))
    assert load(tmp_path / "specs" / "mine.toml").settings.digest != one.digest
