"""Which version answers which request, and who still uses a version that no longer does. The hot path of admission."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgewise.core.requests import ModelSpec
from edgewise.core.versions import DEFAULT_LABEL, not_servable, resolve_label

if TYPE_CHECKING:
    from edgewise.model_server.servable import Servable


@dataclass(eq=False, slots=True)
class Slot:
    """A servable and how many requests hold it."""

    servable: "Servable"
    in_use: int = 0
    idle: "asyncio.Future[None] | None" = None


class Acquire(Protocol):
    """`Routes.acquire`, for those who need nothing else of the routes."""

    def __call__(self, spec: ModelSpec, preferred: int | None = None) -> "Servable":
        """See `Routes.acquire`."""
        ...


@dataclass(frozen=True, slots=True)
class _Route:
    """Attributes: `default`: for requests that name no version; `default_version`: the one that the label names, if there is one."""

    default: Slot | None
    default_version: int | None
    by_version: Mapping[int, Slot]
    labels: Mapping[str, int]


class Routes:
    """The versions that are AVAILABLE, by model. A model's route is exchanged as a whole."""

    def __init__(self) -> None:
        self._routes: dict[str, _Route] = {}
        self._slots: dict[int, Slot] = {}

    def acquire(self, spec: ModelSpec, preferred: int | None = None) -> "Servable":
        """The version that `spec` means, kept in memory until it is released as often as it was acquired.

        Args:
            preferred: the version to take where `spec` names neither version nor label; one that does not answer now is no
                reason to fail.

        Raises:
            NotFoundError: no such model, or the version is not AVAILABLE.
            InvalidArgumentError: no such label, or no name.
        """
        route = self._routes.get(spec.name)
        version = spec.version
        if version is None and spec.label is not None:
            version = resolve_label(spec.label, route.labels if route is not None else None)
        if route is not None:
            slot = route.by_version.get(version if version is not None else preferred)  # type: ignore[arg-type]  # None is no key
            if slot is None:
                if version is None:
                    slot = route.default
                    version = route.default_version
                elif version == 0:
                    # OpenVINO's client says 0 where it means any version.
                    slot = route.default
            if slot is not None:
                slot.in_use += 1
                return slot.servable
        raise not_servable(spec, version)

    def release(self, servable: "Servable") -> None:
        """Give back what `acquire` gave."""
        slot = self._slots[id(servable)]
        slot.in_use -= 1
        if slot.idle is not None and not slot.in_use and not slot.idle.done():
            slot.idle.set_result(None)

    def add(self, servable: "Servable") -> Slot:
        """Know a servable; no route leads to it yet."""
        slot = self._slots[id(servable)] = Slot(servable)
        return slot

    def exchange(self, name: str, slots: Mapping[int, Slot] | None, labels: Mapping[str, int]) -> None:
        """From now on requests for model `name` go to these versions only; None removes the model."""
        if slots is None:
            self._routes.pop(name, None)
            return
        named = labels.get(DEFAULT_LABEL)
        # Where the label is there, a version that it does not name answers only those who ask for it.
        default = slots.get(named) if named is not None else slots[max(slots)] if slots else None
        self._routes[name] = _Route(default, named, dict(slots), dict(labels))

    async def drained(self, slot: Slot) -> None:
        """Return once no request holds the slot, which no route leads to any more."""
        if slot.in_use:
            slot.idle = asyncio.get_running_loop().create_future()
            await slot.idle

    def forget(self, slot: Slot) -> None:
        """The servable is closed."""
        del self._slots[id(slot.servable)]

    def available(self, name: str) -> list[int]:
        """The versions of a model that answer, the lowest first; empty when there is no such model."""
        route = self._routes.get(name)
        return sorted(route.by_version) if route is not None else []

    def in_use(self) -> int:
        """How many requests hold a version."""
        return sum(slot.in_use for slot in self._slots.values())

    def servables(self) -> Iterable["Servable"]:
        """Every version in memory."""
        return [slot.servable for slot in self._slots.values()]
