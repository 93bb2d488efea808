"""What a site is to have: the document that the hub keeps for it and that its agent follows."""

from dataclasses import dataclass, field

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import Gates
from edgewise.core.rollout.specification import Canary


@dataclass(frozen=True, slots=True)
class Order:
    """What a site is told about one model.

    Attributes:
        rollout: the name of the rollout that says so.
        version: of the model.
        manifest_sha256: of the release's manifest, 64 hexadecimal digits: the one that is meant, and no other of that name.
    """

    rollout: str
    model: str
    version: int
    manifest_sha256: str
    want: Want
    gates: Gates = field(default_factory=Gates)
    canary: Canary = field(default_factory=Canary)


@dataclass(frozen=True, slots=True)
class DesiredState:
    """All that a site is told.

    Attributes:
        generation: greater with every change; an agent follows no smaller one than it has seen.
        expires: RFC 3339, UTC; nothing is fetched or switched by a document that is older, and what runs goes on running.
        orders: at most one for each model.
        carried: it was signed for a bundle, lives for as long as that, and is followed by a site that it was carried to, never when it
            comes over the network.
    """

    site: str
    generation: int
    expires: str
    orders: tuple[Order, ...] = ()
    carried: bool = False

    def __post_init__(self) -> None:
        models = [order.model for order in self.orders]
        if len(set(models)) < len(models):
            raise InvalidArgumentError(f"site {self.site} is told two things about one model")
