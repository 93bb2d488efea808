"""What is measured: one cell is one point of a sweep, one run is one repeat of a cell."""

from dataclasses import dataclass
from typing import Final

PROTOCOLS: Final = ("rest-json", "rest-image", "rest-binary", "tfs-grpc", "oip-grpc")
"""TensorFlow Serving's JSON; an encoded photograph as the body; the Open Inference Protocol's binary tensors over
HTTP; the two protocols over gRPC."""

CLOUD: Final = "cloud"
EDGE: Final = "edge"
GATEWAY: Final = "gateway"


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One point of the sweep.

    Attributes:
        target: who is asked: "cloud" (through the link), "edge", "gateway", or the name of a URL of the scenario.
        profile: of the network between the asker and the cloud; "" for a target that does not cross it.
        model: name of a model of the scenario.
        protocol: one of `PROTOCOLS`.
        load: requests a second that one place makes, as the scenario sweeps it.
        rate: requests a second that the engine sends to the target: `load`, times the pooled places where the target
            serves several.
        batching: name of the scenario's batching settings; "" for the model's own.
        outage: name of the scenario's outage schedule; "" for none.
    """

    target: str
    profile: str
    model: str
    protocol: str
    load: float
    rate: float
    batching: str = ""
    outage: str = ""

    @property
    def name(self) -> str:
        """A name for people and files: letters, digits, dots and dashes; no two cells of a sweep share it."""
        words = [self.target, self.profile, self.model, self.protocol, self.batching, self.outage, f"{self.load:g}"]
        return "_".join(word for word in words if word)


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """One repeat of a cell.

    Attributes:
        repeat: from 0.
        seed: of its schedule, of the order of its questions and of the link.
    """

    cell: Cell
    repeat: int
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.cell.name}_r{self.repeat}"
