"""A sample as programs and people are told of it, and how long it is kept."""

from dataclasses import dataclass
from typing import Final, Literal

from edgewise.hub.store.samples import KeptSample
from edgewise.protocols.documents import time_text

_DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """How long samples are kept.

    Attributes:
        unlabelled_days: after they came; None for good.
        labelled_days: after they were labelled; None for good.
    """

    unlabelled_days: float | None = 30.0
    labelled_days: float | None = None

    def unlabelled_before_s(self, now_s: float) -> float | None:
        """Those without a label that came before this moment are to go."""
        return None if self.unlabelled_days is None else now_s - self.unlabelled_days * _DAY_S

    def labelled_before_s(self, now_s: float) -> float | None:
        """Those that were labelled before this moment are to go."""
        return None if self.labelled_days is None else now_s - self.labelled_days * _DAY_S

    def expires_s(self, sample: KeptSample) -> float | None:
        """When a sample goes; None for never."""
        days, since_s = self.unlabelled_days, sample.received_s
        if sample.label:
            days, since_s = self.labelled_days, sample.labelled_at_s or sample.received_s
        return None if days is None else since_s + days * _DAY_S


DEFAULT_RETENTION: Final = Retention()


@dataclass(frozen=True, slots=True)
class Score:
    """How sure the model was of one label."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Shown:
    """One sample.

    Attributes:
        captured, received, labelled_at, expires: RFC 3339 in UTC; "" for never.
        model_digest: SHA-256 of the release's manifest; "" where it is not known.
        prediction: the model's verdict where it gives one, otherwise its best label.
        scores: the five best, the best first.
        kind: a tensor's bytes are the request.
        width, height: pixels as stored; null of tensors.
        label: "" without one.
        other, other_prediction: with the reason disagreement, the site that answered otherwise, and what.
        said_site: what the gateway calls the site, where that is another name than the one whose agent sent it; else "".
    """

    id: str
    site: str
    source: str
    captured: str
    received: str
    model: str
    version: int
    model_digest: str
    answered_by: str
    tier: str
    reasons: tuple[str, ...]
    priority: int
    confidence: float | None
    prediction: str
    scores: tuple[Score, ...]
    kind: Literal["picture", "tensor"]
    content_type: str
    sha256: str
    bytes: int
    width: int | None
    height: int | None
    label: str
    labelled_by: str
    labelled_at: str
    synthetic: bool
    expires: str
    request_id: str
    other: str
    other_prediction: str
    said_site: str


@dataclass(frozen=True, slots=True)
class ShownPage:
    """Samples, and what to ask for next; "" when these were all."""

    samples: tuple[Shown, ...]
    after: str


def shown(sample: KeptSample, retention: Retention) -> Shown:
    """What is told of a sample."""
    return Shown(
        id=sample.id,
        site=sample.site,
        source=sample.source,
        captured=time_text(sample.captured_s),
        received=time_text(sample.received_s),
        model=sample.model,
        version=sample.version,
        model_digest=sample.model_digest,
        answered_by=sample.answered_by,
        tier=sample.tier,
        reasons=sample.reasons,
        priority=sample.priority,
        confidence=sample.confidence,
        prediction=sample.prediction,
        scores=tuple(Score(label, score) for label, score in sample.scores),
        kind="picture" if sample.kind == "picture" else "tensor",
        content_type=sample.content_type,
        sha256=sample.blob_sha256,
        bytes=sample.size_bytes,
        width=sample.width,
        height=sample.height,
        label=sample.label,
        labelled_by=sample.labelled_by,
        labelled_at=_moment(sample.labelled_at_s),
        synthetic=sample.synthetic,
        expires=_moment(retention.expires_s(sample)),
        request_id=sample.request_id,
        other=sample.details.get("other", ""),
        other_prediction=sample.details.get("other_prediction", ""),
        said_site=sample.details.get("said_site", ""),
    )


def _moment(at_s: float | None) -> str:
    return "" if at_s is None else time_text(at_s)
