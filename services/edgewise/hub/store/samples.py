"""Samples that sites captured or people brought, what they were labelled, and segments that have come."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Tuple, delete, func, insert, select, tuple_, update

from edgewise.hub.store.schema import (
    NAME_LENGTH,
    SAMPLE_BLOBS_LEAVING,
    SAMPLE_LABELS,
    SAMPLE_SEGMENTS,
    SAMPLES,
)
from edgewise.hub.store.texts import storable

PICTURE: Final = "picture"
TENSOR: Final = "tensor"
_AT_ONCE: Final = 500
_TEXTS: Final = ("site", "source", "model", "answered_by", "tier", "request_id", "prediction", "content_type", "label")


@dataclass(frozen=True, slots=True)
class KeptSample:
    """One picture, or the tensors of one request.

    Attributes:
        site: where it was captured; whatever a person said of one that was brought.
        model_digest: SHA-256 of the release's manifest; "" where it is not known.
        scores: the best labels and their scores, the best first.
        kind: PICTURE, or TENSOR, whose blob is the request.
        label: "" without one.
        details: what is not asked for: how the request was written, who answered otherwise.
    """

    id: str
    site: str
    source: str
    captured_s: float
    received_s: float
    model: str
    version: int
    kind: str
    content_type: str
    blob_sha256: str
    size_bytes: int
    model_digest: str = ""
    answered_by: str = ""
    tier: str = ""
    reasons: tuple[str, ...] = ()
    priority: int = 0
    confidence: float | None = None
    request_id: str = ""
    prediction: str = ""
    scores: tuple[tuple[str, float], ...] = ()
    width: int | None = None
    height: int | None = None
    label: str = ""
    labelled_by: str = ""
    labelled_at_s: float | None = None
    synthetic: bool = False
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Which samples are meant: all that every field that is given fits.

    Attributes:
        id_start: how its name begins: hexadecimal digits.
        is_labelled: None for both.
        since_s, until_s: when it was captured, the first included, the second not.
    """

    site: str | None = None
    model: str | None = None
    version: int | None = None
    label: str | None = None
    is_labelled: bool | None = None
    reason: str | None = None
    source: str | None = None
    since_s: float | None = None
    until_s: float | None = None
    kind: str | None = None
    id_start: str | None = None


@dataclass(frozen=True, slots=True)
class LabelChange:
    """Somebody labelled a sample."""

    sample: str
    at_s: float
    actor: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """A segment of a site's spool that has come, and what became of it."""

    site: str
    name: str
    sha256: str
    samples: int
    doubled: int
    refused: int
    done_s: float


def insert_samples(connection: Connection, samples: Sequence[KeptSample]) -> None:
    """New ones."""
    for some in _batches(samples):
        connection.execute(insert(SAMPLES), [_values(sample) for sample in some])


def known_samples(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Which of these are there already, and the site of each."""
    found: dict[str, str] = {}
    for some in _batches(ids):
        rows = connection.execute(select(SAMPLES.c.id, SAMPLES.c.site).where(SAMPLES.c.id.in_(some)))
        found.update((row.id, row.site) for row in rows)
    return found


def find_samples(connection: Connection, ids: Iterable[str]) -> dict[str, KeptSample]:
    """Those of these that are there."""
    found: dict[str, KeptSample] = {}
    for some in _batches(ids):
        rows = connection.execute(select(SAMPLES).where(SAMPLES.c.id.in_(some)))
        found.update((row.id, _sample(row)) for row in rows)
    return found


def find_same_picture(connection: Connection, sha256: str, source: str) -> KeptSample | None:
    """One of the same bytes and source; the oldest where there are several."""
    asked = (
        select(SAMPLES)
        .where(SAMPLES.c.blob_sha256 == sha256, SAMPLES.c.source == source)
        .order_by(SAMPLES.c.received_s, SAMPLES.c.id)
        .limit(1)
    )
    row = connection.execute(asked).one_or_none()
    return None if row is None else _sample(row)


def select_samples(
    connection: Connection, asked: SampleFilter, *, after: tuple[float, str] | None, limit: int
) -> list[KeptSample]:
    """The newest first, by when they were captured.

    Args:
        after: those that come after the one with this time and name.
    """
    query = select(SAMPLES).order_by(SAMPLES.c.captured_s.desc(), SAMPLES.c.id.desc()).limit(limit)
    query = query.where(*_conditions(asked))
    if after is not None:
        query = query.where(_place() < after)
    return [_sample(row) for row in connection.execute(query)]


def nearest_sample(connection: Connection, asked: SampleFilter, beside: KeptSample, *, newer: bool) -> str:
    """The name of the next one in the order of `select_samples`, of those that are meant; "" where there is none. `beside` may be none of them.

    Args:
        newer: the next one towards the newest; otherwise towards the oldest.
    """
    at, name = SAMPLES.c.captured_s, SAMPLES.c.id
    there = (beside.captured_s, beside.id)
    if newer:
        further, order = _place() > there, (at.asc(), name.asc())
    else:
        further, order = _place() < there, (at.desc(), name.desc())
    query = select(name).where(*_conditions(asked), further).order_by(*order).limit(1)
    return str(connection.execute(query).scalar_one_or_none() or "")


def count_labels(connection: Connection) -> dict[str, int]:
    """How many samples have each label; "" for those without one."""
    query = select(SAMPLES.c.label, func.count()).group_by(SAMPLES.c.label).order_by(SAMPLES.c.label)
    return {str(label): int(count) for label, count in connection.execute(query)}


def count_meant(connection: Connection, asked: SampleFilter, most: int) -> dict[str, int]:
    """How many of those that are meant have each label; "" for those without one. They are counted up to `most`."""
    meant = select(SAMPLES.c.label).where(*_conditions(asked)).limit(most).subquery()
    query = select(meant.c.label, func.count()).group_by(meant.c.label).order_by(meant.c.label)
    return {str(label): int(count) for label, count in connection.execute(query)}


def said_by_models(connection: Connection) -> dict[str, set[str]]:
    """What each model has said so far of pictures, scores aside."""
    rows = SAMPLES.c
    query = select(rows.model, rows.prediction).where(rows.model != "", rows.prediction != "").distinct()
    found: dict[str, set[str]] = {}
    for model, prediction in connection.execute(query):
        found.setdefault(model, set()).add(prediction)
    return found


def set_labels(connection: Connection, changes: Sequence[LabelChange]) -> None:
    """Label samples that are there, and remember what was before."""
    for change in changes:
        actor = storable(change.actor, longest=NAME_LENGTH)
        labelled = {"labelled_by": actor, "labelled_at_s": change.at_s}
        values = labelled if change.after else {"labelled_by": "", "labelled_at_s": None}
        connection.execute(update(SAMPLES).where(SAMPLES.c.id == change.sample).values(label=change.after, **values))
        row = {"sample": change.sample, "at_s": change.at_s, "actor": actor}
        connection.execute(insert(SAMPLE_LABELS), {**row, "before": change.before, "after": change.after})


def label_history(connection: Connection, sample: str) -> list[LabelChange]:
    """Of one sample, the oldest first."""
    query = select(SAMPLE_LABELS).where(SAMPLE_LABELS.c.sample == sample).order_by(SAMPLE_LABELS.c.number)
    return [LabelChange(row.sample, row.at_s, row.actor, row.before, row.after) for row in connection.execute(query)]


def delete_samples(connection: Connection, ids: Collection[str], now_s: float) -> None:
    """They and what is known of them; their blobs are to be looked at."""
    for some in _batches(ids):
        query = select(SAMPLES.c.blob_sha256).where(SAMPLES.c.id.in_(some)).distinct()
        blobs = [row.blob_sha256 for row in connection.execute(query)]
        let_go(connection, blobs, now_s)
        connection.execute(delete(SAMPLE_LABELS).where(SAMPLE_LABELS.c.sample.in_(some)))
        connection.execute(delete(SAMPLES).where(SAMPLES.c.id.in_(some)))


def expired_samples(
    connection: Connection, *, unlabelled_before_s: float | None, labelled_before_s: float | None, limit: int
) -> dict[str, str]:
    """Names of samples whose time is over, and the label of each.

    Args:
        unlabelled_before_s: without a label and received before; None for none of them.
        labelled_before_s: labelled before; None for none of them.
    """
    found: dict[str, str] = {}
    names = select(SAMPLES.c.id, SAMPLES.c.label)
    if unlabelled_before_s is not None:
        over = names.where(SAMPLES.c.label == "", SAMPLES.c.received_s < unlabelled_before_s)
        found.update((row.id, row.label) for row in connection.execute(over.limit(limit)))
    if labelled_before_s is not None and len(found) < limit:
        over = names.where(SAMPLES.c.label != "", SAMPLES.c.labelled_at_s < labelled_before_s)
        found.update((row.id, row.label) for row in connection.execute(over.limit(limit - len(found))))
    return found


def named_blobs(connection: Connection, digests: Iterable[str]) -> set[str]:
    """Those of these blobs that samples name."""
    found: set[str] = set()
    for some in _batches(digests):
        query = select(SAMPLES.c.blob_sha256).where(SAMPLES.c.blob_sha256.in_(some)).distinct()
        found.update(connection.execute(query).scalars())
    return found


def leaving_blobs(connection: Connection, *, before_s: float, limit: int) -> list[str]:
    """Blobs whose samples went before that, the first to go first."""
    leaving = SAMPLE_BLOBS_LEAVING.c
    query = select(leaving.sha256).where(leaving.since_s < before_s).order_by(leaving.since_s).limit(limit)
    return list(connection.execute(query).scalars())


def forget_leaving(connection: Connection, digests: Iterable[str], before_s: float) -> None:
    """They have gone, or are named again; but for those whose samples went at that moment or later."""
    leaving = SAMPLE_BLOBS_LEAVING.c
    for some in _batches(digests):
        over = delete(SAMPLE_BLOBS_LEAVING).where(leaving.sha256.in_(some), leaving.since_s < before_s)
        connection.execute(over)


def let_go(connection: Connection, digests: Collection[str], now_s: float) -> None:
    """Of these blobs samples went, or never came: they are to be looked at."""
    for some in _batches(digests):
        connection.execute(delete(SAMPLE_BLOBS_LEAVING).where(SAMPLE_BLOBS_LEAVING.c.sha256.in_(some)))
        connection.execute(insert(SAMPLE_BLOBS_LEAVING), [{"sha256": one, "since_s": now_s} for one in some])


def find_segment(connection: Connection, site: str, name: str, sha256: str = "") -> SegmentDone | None:
    """One that has come; the newest of that name where no digest is given."""
    asked = SAMPLE_SEGMENTS.c
    query = select(SAMPLE_SEGMENTS).where(asked.site == site, asked.name == name).order_by(asked.done_s.desc()).limit(1)
    if sha256:
        query = query.where(asked.sha256 == sha256)
    row = connection.execute(query).one_or_none()
    return None if row is None else SegmentDone(**row._mapping)  # noqa: SLF001  (public; the underscore avoids names of columns)


def insert_segment(connection: Connection, segment: SegmentDone) -> None:
    """One more that has come."""
    names = ("site", "name", "sha256", "samples", "doubled", "refused", "done_s")
    connection.execute(insert(SAMPLE_SEGMENTS), {name: getattr(segment, name) for name in names})


def forget_segments(connection: Connection, before_s: float) -> None:
    """Those that came before that."""
    connection.execute(delete(SAMPLE_SEGMENTS).where(SAMPLE_SEGMENTS.c.done_s < before_s))


def _place() -> Tuple:
    """In the order of samples. Compared as a whole, so that a page far down is found by the index; PostgreSQL tries an "or" of two comparisons
    row by row.
    """
    return tuple_(SAMPLES.c.captured_s, SAMPLES.c.id)


def _conditions(asked: SampleFilter) -> Iterator[ColumnElement[bool]]:
    rows = SAMPLES.c
    for name in ("site", "model", "version", "label", "source", "kind"):
        value = getattr(asked, name)
        if value is not None:
            yield rows[name] == value
    if asked.id_start is not None:
        # The range is for the index; "g" is behind every digit.
        yield rows.id.between(asked.id_start, f"{asked.id_start}g")
        yield rows.id.startswith(asked.id_start, autoescape=True)
    if asked.is_labelled is not None:
        yield rows.label != "" if asked.is_labelled else rows.label == ""
    if asked.reason is not None:
        yield rows.reasons.contains(f",{asked.reason},", autoescape=True)
    if asked.since_s is not None:
        yield rows.captured_s >= asked.since_s
    if asked.until_s is not None:
        yield rows.captured_s < asked.until_s


def _batches(values: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(values)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _values(sample: KeptSample) -> dict[str, Any]:
    values = {name: getattr(sample, name) for name in SAMPLES.c.keys()}  # noqa: SIM118  (a collection of columns)
    values.update((name, storable(values[name], longest=NAME_LENGTH)) for name in _TEXTS)
    values["reasons"] = f",{','.join(sample.reasons)}," if sample.reasons else ""
    values["scores"] = [[storable(label, longest=NAME_LENGTH), score] for label, score in sample.scores]
    values["details"] = {name: storable(text, longest=NAME_LENGTH) for name, text in sample.details.items()}
    return values


def _sample(row: Row[Any]) -> KeptSample:
    values = dict(row._mapping)  # noqa: SLF001  (as above)
    values["reasons"] = tuple(filter(None, row.reasons.split(",")))
    values["scores"] = tuple((label, score) for label, score in row.scores)
    return KeptSample(**values)
