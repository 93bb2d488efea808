"""A sample as who asks a hub sees it: as much as this program knows of what a hub says, which may be an older or a newer one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgewise.protocols.samples import LABEL

PICTURE: Final = "picture"
"""The kind of a sample that is a picture; the other kind is "tensor"."""
SAMPLE_ID: Final = re.compile(r"[0-9a-f]{32}(?:-[0-9]{1,4})?")
"""Of a request with several pictures, those behind the first are counted: ID-1, ID-2."""
SHORT_ID: Final = re.compile(r"[0-9a-f]{6,31}(?:-[0-9]{1,4})?")
ID_EXPECTED: Final = "the 32 hexadecimal digits that `edgewise data list` shows, or the first of them, at least 6"


@dataclass(frozen=True, slots=True)
class Score:
    """What a model gave one class."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Shown:
    """One sample. Times are RFC 3339, "" for never.

    Attributes:
        captured, received: when the site took it, and when the hub got it.
        version: of the model; 0 where it is not known.
        prediction: the label that the model gave; "" where it gave none.
        scores: the five greatest.
        kind: "picture" or "tensor".
        sha256, bytes: of the picture, or of the request of a tensor.
        width, height: in pixels; None of tensors.
        label: what people say it is; "" for nothing yet.
        synthetic: it was made by a program and never seen by a camera.
        expires: when the hub forgets it.
        other, other_prediction: with the reason "disagreement", the site that answered otherwise, and what.
        said_site: what the gateway calls the site, where that is another name; else "".
    """

    id: str
    site: str = ""
    source: str = ""
    captured: str = ""
    received: str = ""
    model: str = ""
    version: int = 0
    model_digest: str = ""
    answered_by: str = ""
    tier: str = ""
    reasons: tuple[str, ...] = ()
    priority: int = 0
    confidence: float | None = None
    prediction: str = ""
    scores: tuple[Score, ...] = ()
    kind: str = PICTURE
    content_type: str = ""
    sha256: str = ""
    bytes: int = 0
    width: int | None = None
    height: int | None = None
    label: str = ""
    labelled_by: str = ""
    labelled_at: str = ""
    synthetic: bool = False
    expires: str = ""
    request_id: str = ""
    other: str = ""
    other_prediction: str = ""
    said_site: str = ""


@dataclass(frozen=True, slots=True)
class KeptLabel:
    """A sample that was not labelled, since it has another label than was expected; "" for none now."""

    id: str
    label: str
    labelled_by: str
    labelled_at: str

    @property
    def text(self) -> str:
        """For people, behind the name of the sample."""
        if not self.label:
            return "has no label any more, somebody took it back"
        return f"is labelled {self.label} by {self.labelled_by} since {self.labelled_at}"


@dataclass(frozen=True, slots=True)
class LabelsTaken:
    """How many samples have another label now, and which were left as they are."""

    changed: int
    kept: tuple[KeptLabel, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplePage:
    """Some samples, and what to ask for next; "" when these were all."""

    samples: tuple[Shown, ...]
    after: str


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many samples have each label, and how many have none; `more` than these, which are all that were counted."""

    labels: Mapping[str, int]
    unlabelled: int
    more: bool = False

    @property
    def total(self) -> int:
        """All that were counted."""
        return self.unlabelled + sum(self.labels.values())


def label_fault(label: str) -> str:
    """Why a text is no label, and what would be one; "" when it is one."""
    if LABEL.fullmatch(label):
        return ""
    return (
        f"found the label {label[:80]!r}, expected 1 to 64 letters, digits, spaces, '_', '.' or '-', "
        "no space at either end and no '.' at the first place"
    )
