"""A comparison of networks without training: what `edgewise train` would leave is laid there at once."""

import json
import shutil
from pathlib import Path

from edgewise.core.errors import FailedPreconditionError

FILE = Path(__file__).parents[1] / "integration" / "model_server" / "archived_frameworks" / "mxnet-free.onnx"
SCENARIO = """
title = "two networks"
calibrate = false
[networks]
names = ["alexnet", "resnet-50"]
formats = ["float32", "int8"]
size = 96
images = 12
epochs = 2
[run]
duration_s = 0.3
warmup_s = 0.1
repeats = 1
max_lag_p99_ms = 500
[sweep]
targets = ["edge"]
protocols = ["rest-image"]
loads = [20]
"""
MODEL_TOML = """
[signatures.image]
kind = "image"
[signatures.image.preprocess]
tensor = "data"
crop = 32
scale = 255
[signatures.image.postprocess]
tensor = "hybridlambda0_softmax0"
labels = ["cat", "dog", "other"]
top_k = 3
"""


def epoch(number: int) -> dict:
    return {
        "stage": 1,
        "epoch": number,
        "learning_rate": 1e-4,
        "loss": 1.0 / number,
        "accuracy": 0.5,
        "validation_loss": 1.2 / number,
        "validation_accuracy": 0.6,
        "seconds": 30.0 / number,
        "images_per_s": 4.0 * number,
        "peak_memory_bytes": 1 << 30,
    }


class Trainer:
    """Stands in for the commands; `failing` networks cannot be trained, and `at` is called before each.

    Attributes:
        asked: the first words and the network of each call.
    """

    def __init__(self, failing=(), at=lambda _words: None):
        self.asked = []
        self.failing = failing
        self.at = at

    def __call__(self, log, words, tell, stop):
        del log, stop
        self.at(words)
        verb = words[1]
        network = Path(words[2]).stem if verb == "run" else Path(words[2]).name
        self.asked.append((verb, network))
        tell("a line")
        if network in self.failing:
            raise FailedPreconditionError("`edgewise train run` ended with exit code 1: no number any more")
        if verb == "run":
            self.train(Path(words[4]), network)
        else:
            self.export(Path(words[words.index("--out") + 1]), network)

    @staticmethod
    def train(out, network):
        out.mkdir(parents=True)
        found = {
            "state": "finished",
            "settings": {"network": network, "weights": "none"},
            "parameters": 5_000_000,
            "dataset": {"splits": {"train": {"cat": 8, "dog": 8}}},
            "peak_memory_bytes": 1 << 30,
            "test": {"accuracy": 0.5, "images": 6},
            "epochs": [epoch(1), epoch(2)],
        }
        (out / "run.json").write_text(json.dumps(found))

    @staticmethod
    def export(out, network):
        for tier in ("cloud", "edge"):
            version = out / tier / network / "1"
            version.mkdir(parents=True)
            shutil.copy(FILE, version / "model.onnx")
            (version / "model.toml").write_text(MODEL_TOML)
            (version / "heldout").mkdir()
            (version / "heldout" / "0001.png").write_bytes(b"x" * 100_000)
        told = {"agreement": {"verdict_ratio": 0.9}, "accuracy": {"keras": 0.5, "float32": 0.5, "int8": 0.4}}
        (out / "lineage.json").write_text(json.dumps(told))
