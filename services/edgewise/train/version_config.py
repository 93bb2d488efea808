"""What model.toml says of a version that was trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.model_server.config.model_config import Group, LabelOutput
from edgewise.train.networks import INPUT, NETWORKS, OUTPUT
from edgewise.train.pictures import View, view_of

OTHER: Final = "other"
"""The verdict where no class is probable enough, and the class that is nothing in particular."""

_THRESHOLD: Final = 0.5
# Beyond it a batch falls out of the processor's caches; each request that waits holds its tensor in memory.
_BATCHING: Final = {
    "cloud": {"max_batch_size": 4, "max_queue": 256},
    "edge": {"max_batch_size": 2, "max_queue": 128},
    "tensorflow": {"max_batch_size": 4, "max_queue": 256},
}
_NUMBERS: Final = {"cloud": "float32", "edge": "int8", "tensorflow": "float32 on TensorFlow"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What all versions of an export have in common.

    Attributes:
        network: its name.
        dataset: its name and the first digits of its digest.
    """

    network: str
    dataset: str
    view: View
    output: LabelOutput

    def verdict_of(self, label: str) -> str:
        """The verdict that is right for a class."""
        return label if any(group.name == label for group in self.output.groups) else OTHER


def plan(found: Mapping[str, Any], classes: Sequence[str], thresholds: Mapping[str, float]) -> Plan:
    """From what run.json says.

    Args:
        thresholds: by class, where it is not 0.5.

    Raises: InvalidArgumentError: a threshold is of no class that is a verdict of its own.
    """
    named = [name for name in classes if name != OTHER]
    for name in thresholds:
        if name not in named:
            raise InvalidArgumentError(
                f"there is no class {name!r} that could have a threshold; expected one of {', '.join(named)}"
            )
    groups = tuple(
        Group(name, (at,), thresholds.get(name, _THRESHOLD)) for at, name in enumerate(classes) if name != OTHER
    )
    return Plan(
        network=found["settings"]["network"],
        dataset=f"{found['dataset']['name']} {found['dataset']['digest'][:12]}",
        view=view_of(found),
        output=LabelOutput(
            tensor=OUTPUT, labels=tuple(classes), top_k=min(5, len(classes)), groups=groups, otherwise=OTHER
        ),
    )


def config(made: Plan, tier: str, digest: str, golden: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """model.toml.

    Args:
        tier: "cloud", "edge" or "tensorflow".
        digest: SHA-256 of the trained network, which tells two trainings apart.
        golden: file and verdict of each golden input.
    """
    title = NETWORKS[made.network].title
    onnx = tier != "tensorflow"
    return {
        "backend": "onnx" if onnx else "tensorflow",
        **({"file": "model.onnx"} if onnx else {"file": "saved_model.pb"}),
        "description": f"{title} in {_NUMBERS[tier]}, trained on {made.dataset} (network {digest[:12]})",
        "confidence": OUTPUT,
        "batching": _BATCHING[tier],
        "warmup": {"batch_sizes": [1]},
        "golden": [
            {"signature": "image", "file": file, "output": "verdict", "expect": expected} for file, expected in golden
        ],
        "signatures": {
            "image": {
                "kind": "image",
                "base": "serving_default",
                "input": "image",
                "preprocess": {
                    "tensor": INPUT,
                    "resize": made.view.resize_px,
                    "crop": made.view.size_px,
                    "mean": list(made.view.mean),
                    "scale": list(made.view.scale),
                    "layout": "NCHW" if onnx else "NHWC",
                    "interpolation": "bicubic",
                },
                "postprocess": {
                    "tensor": OUTPUT,
                    "labels_file": "labels.txt",
                    "top_k": made.output.top_k,
                    "otherwise": made.output.otherwise,
                    "groups": [
                        {"name": group.name, "classes": list(group.classes), "threshold": group.threshold}
                        for group in made.output.groups
                    ],
                },
            }
        },
    }
