"""Sites that follow a control plane, without a network: each reads its desired state, and says where it is."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

from edgewise.core.releases import Chunk, Release, ReleaseFile, Variant
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import NO_FINDINGS, Findings
from edgewise.core.rollout.orders import DesiredState
from edgewise.core.rollout.reports import Inventory, Progress, SiteReport
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.control.actors import Actor
from edgewise.protocols.desired_state import decode_desired
from edgewise.protocols.release_manifest import encode_release
from edgewise.protocols.site_report import PAYLOAD_TYPE, encode_report
from edgewise.trust.envelopes import seal
from edgewise.trust.keys import SigningKey

OPERATOR = Actor("olga", "192.0.2.7")
QUIET = "gates: {errors: off, latency: off, golden: false}\n"
"""A specification's end for rollouts that nobody sends requests to."""
_FORWARD = {
    SiteState.PENDING: SiteState.DOWNLOADING,
    SiteState.DOWNLOADING: SiteState.STAGED,
    SiteState.STAGED: SiteState.ACTIVATING,
    SiteState.ACTIVATING: SiteState.VERIFYING,
    SiteState.VERIFYING: SiteState.ACTIVE,
}
_STAGED = frozenset({SiteState.STAGED, SiteState.ACTIVATING, SiteState.VERIFYING, SiteState.ACTIVE})


def release(version: int, *, model: str = "pets", chunks: tuple[str, ...] = (), tiers: tuple[str, ...] = ("any",)):
    """A release whose chunks are a kilobyte each, and are called as given."""
    parts = tuple(Chunk(1000, hashlib.sha256(name.encode()).hexdigest()) for name in chunks or (f"{model}{version}",))
    file = ReleaseFile("model.onnx", 1000 * len(parts), hashlib.sha256(repr(parts).encode()).hexdigest(), parts)
    return Release(model, version, "2026-11-23T10:00:00Z", {tier: Variant((file,)) for tier in tiers})


def manifest_sha256(made: Release) -> str:
    return hashlib.sha256(encode_release(made)).hexdigest()


def opened(envelope: bytes) -> DesiredState:
    """What is in an envelope; its signature is not looked at."""
    return decode_desired(base64.b64decode(json.loads(envelope)["payload"]))


class Site:
    """One site, which does what it is told at once and says so, a move at a time.

    Args:
        ask: calls a method of the control plane by its name.
    """

    def __init__(self, name: str, ask: Callable[..., Any]) -> None:
        self.name = name
        self.key = SigningKey.generated()
        self.token = ""
        self.sequence = 0
        self.generation = 0
        self.states: dict[str, SiteState] = {}
        self.inventory = Inventory()
        self.findings: Findings = NO_FINDINGS
        self.desired: DesiredState | None = None
        self._ask = ask

    def join(self, *, tier: str = "edge", labels: dict[str, str] | None = None) -> None:
        token = self._ask("create_enrollment", self.name, tier, labels or {}, actor=OPERATOR)
        _, self.token = self._ask("enroll", token, self.key.public_hex, tier, {})

    def look(self, now_s: float) -> DesiredState:
        """Fetch the desired state; an older one than it has is an error."""
        _, envelope = self._ask("desired", self.name, now_s)
        desired = opened(envelope)
        assert desired.generation >= self.generation, "a site was told something older"
        self.generation, self.desired = desired.generation, desired
        return desired

    def step(self, now_s: float) -> bool:
        """Look, make a move in each rollout where one is due, and say so. Whether there was any."""
        moved = False
        for order in self.look(now_s).orders:
            before = self.states.get(order.rollout, SiteState.PENDING)
            after = self._next(before, order.want)
            if after != before:
                self.states[order.rollout] = after
                self.say(now_s, order.rollout, after, order.want)
                moved = True
        return moved

    def say(self, now_s: float, rollout: str, state: SiteState, want: Want, **more: Any) -> int:
        """Report where it is in one rollout."""
        progress = Progress(rollout, state, want, findings=self.findings, **more)
        return self.report(now_s, progress)

    def report(self, now_s: float, *progress: Progress) -> int:
        return self._ask("report", self.name, self.sealed(*progress), now_s)

    def sealed(self, *progress: Progress, **changes: Any) -> bytes:
        """The next report, signed."""
        self.sequence += 1
        given = {"site": self.name, "sequence": self.sequence, "generation": self.generation, **changes}
        return seal(
            encode_report(SiteReport(**given, inventory=self.inventory, rollouts=progress)), PAYLOAD_TYPE, self.key
        )

    @staticmethod
    def _next(state: SiteState, want: Want) -> SiteState:
        if want == Want.BACK:
            return SiteState.ROLLED_BACK
        if want == Want.STAGE and state in _STAGED:
            return state
        return _FORWARD.get(state, state)
