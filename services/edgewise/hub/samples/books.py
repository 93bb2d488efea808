"""What the hub knows of samples. Called on the control plane's thread; each call that changes something is one transaction."""

import contextlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.hub.control.actors import Actor
from edgewise.hub.control.books import Books
from edgewise.hub.control.change import Change
from edgewise.hub.store import samples as rows
from edgewise.hub.store.samples import KeptSample, LabelChange, SampleFilter, SegmentDone
from edgewise.protocols.samples import LABEL

MOST_LISTED: Final = 1000
MOST_COUNTED: Final = 100_000
"""Of those that a filter means: each is looked at."""
MOST_VERDICTS: Final = 9
"""What a model can say that sorts pictures for somebody; one that says more different things names them."""
SEGMENT_MEMORY_S: Final = 365 * 86400.0
"""Far longer than samples are kept by default: a segment that an agent brings again would bring back what was deleted."""
EVERY_SAMPLE: Final = SampleFilter()
_CURSOR: Final = re.compile(r"([0-9.e+-]{1,32})~([A-Za-z0-9-]{1,80})")
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many samples have each label, and how many have none.

    Attributes:
        more: there are more of them; only so many were counted.
    """

    labels: Mapping[str, int]
    unlabelled: int
    more: bool = False

    @property
    def total(self) -> int:
        """All that were counted."""
        return self.unlabelled + sum(self.labels.values())


@dataclass(frozen=True, slots=True)
class Labelled:
    """How many samples have another label now, and those that were left as they are, since they have another one than was seen."""

    changed: int
    kept: tuple[KeptSample, ...] = ()


def checked_label(text: str) -> str:
    """A label, or "".

    Raises: InvalidArgumentError: it is none. A label is the name of a folder as well.
    """
    if text and not LABEL.fullmatch(text):
        raise InvalidArgumentError(
            f"found the label {text[:80]!a}, expected 1 to 64 letters, digits, spaces, '_', '.' or '-'; it begins with no '.', and neither "
            "begins nor ends with a space"
        )
    return text


class SampleBooks:
    """Samples, their labels, and the segments in which they came."""

    def __init__(self, books: Books) -> None:
        self._books = books
        # Every page shows labels, and a database counts a million samples one by one. None until somebody asks.
        self._counts: Counter[str] | None = None
        # Likewise; what went stays in it.
        self._said: dict[str, set[str]] | None = None

    def take(self, samples: Sequence[KeptSample], segment: SegmentDone) -> SegmentDone:
        """Take in a segment: its samples, and that it has come, together. Their blobs are there already; those that
        no sample names in the end go again.

        Args:
            samples: all of the segment's site. Those whose names are known are left as they are.
            segment: as it came, nothing counted but what was refused.
        Returns: the segment with what was counted; of one that came before, what was counted then.
        """
        found = self.segment(segment.site, segment.name, segment.sha256)
        if found is not None:
            return found
        by_id = {sample.id: self._with_digest(sample) for sample in samples}
        with self._books.reading() as connection:
            known = rows.known_samples(connection, by_id)
            fresh = [sample for sample in by_id.values() if sample.id not in known]
            spare = {sample.blob_sha256 for sample in samples} - {sample.blob_sha256 for sample in fresh}
            spare -= rows.named_blobs(connection, spare)
        of_others = sum(1 for site in known.values() if site != segment.site)
        done = replace(
            segment,
            samples=len(fresh),
            doubled=len(samples) - len(fresh) - of_others,
            refused=segment.refused + of_others,
        )

        def write(connection: Connection) -> None:
            rows.insert_samples(connection, fresh)
            rows.insert_segment(connection, done)
            rows.let_go(connection, spare, done.done_s)

        with self._change(done.done_s, Counter(sample.label for sample in fresh)) as change:
            change.also(write)
        if self._said is not None:
            for sample in fresh:
                if sample.model and sample.prediction:
                    self._said.setdefault(sample.model, set()).add(sample.prediction)
        return done

    def segment(self, site: str, name: str, sha256: str = "") -> SegmentDone | None:
        """A segment that has come; None when it has not, or is forgotten."""
        with self._books.reading() as connection:
            return rows.find_segment(connection, site, name, sha256)

    def bring(self, sample: KeptSample, actor: Actor, *, seen: str | None = None) -> tuple[KeptSample, bool]:
        """Take a picture that a person brings. Its blob is there already.

        Args:
            seen: the label that it is thought to have, where it is there; see `label_unless_changed`. None for no matter which.
        Returns: the sample, and whether it is new. The same picture of the same source is not kept twice; a label that is given is set.
        """
        with self._books.reading() as connection:
            same = rows.find_same_picture(connection, sample.blob_sha256, sample.source)
        if same is not None:
            if sample.label:
                self.label_unless_changed({same.id: sample.label}, {} if seen is None else {same.id: seen}, actor)
            return self.one(same.id), False
        sample = self._with_digest(sample)
        with self._change(sample.received_s, Counter([sample.label])) as change:
            change.also(lambda connection: _insert_brought(connection, sample, actor))
            change.audit(actor, "sample.import", sample.id, label=sample.label, source=sample.source)
        return self.one(sample.id), True

    def one(self, sample_id: str) -> KeptSample:
        """One.

        Raises: NotFoundError: there is none of this name.
        """
        return self._all_of([sample_id])[sample_id]

    def list(self, asked: SampleFilter, *, after: str = "", limit: int = 100) -> tuple[list[KeptSample], str]:
        """Those that are meant, the newest first.

        Args:
            after: what was returned with the page before; "" for the first.
        Returns: the samples, and what to ask for next; "" when these were all.
        Raises: InvalidArgumentError: `after` or `limit` is wrong.
        """
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidArgumentError(f"found the limit {limit}, expected 1 to {MOST_LISTED}")
        with self._books.reading() as connection:
            found = rows.select_samples(connection, asked, after=_cursor(after), limit=limit + 1)
        if len(found) <= limit:
            return found, ""
        last = found[limit - 1]
        return found[:limit], f"{last.captured_s!r}~{last.id}"

    def beside(self, asked: SampleFilter, sample: KeptSample) -> tuple[str, str]:
        """The names of the next newer and the next older one of those that are meant; "" where there is none.

        Args:
            sample: need not be one of them: it may have been, before it was labelled.
        """
        with self._books.reading() as connection:
            newer = rows.nearest_sample(connection, asked, sample, newer=True)
            return newer, rows.nearest_sample(connection, asked, sample, newer=False)

    def label(self, labels: Mapping[str, str], actor: Actor) -> int:
        """Label samples, all of them or none; "" takes a label back.

        Returns: how many have another label now.
        Raises: as `label_unless_changed`.
        """
        return self.label_unless_changed(labels, {}, actor).changed

    def label_unless_changed(self, labels: Mapping[str, str], seen: Mapping[str, str], actor: Actor) -> Labelled:
        """Label samples, but for those that somebody has labelled since.

        Args:
            seen: the label that a sample is thought to have, "" for none. One that has neither that nor the new one is left as it is.
        Raises:
            InvalidArgumentError: one is no label.
            NotFoundError: there is no such sample; none is labelled.
        """
        for label in labels.values():
            checked_label(label)
        now_s = self._books.clock()
        known = self._all_of(labels)
        others = {name: label for name, label in labels.items() if known[name].label != label}
        kept = [known[name] for name in others if seen.get(name, known[name].label) != known[name].label]
        for one in kept:
            del others[one.id]
        changes = [LabelChange(name, now_s, actor.name, known[name].label, label) for name, label in others.items()]
        if changes:
            subject = changes[0].sample if len(changes) == 1 else f"{len(changes)} samples"
            details = (
                {"label": changes[0].after, "before": changes[0].before} if len(changes) == 1 else _summed(changes)
            )
            moved = Counter(change.after for change in changes)
            moved.subtract(change.before for change in changes)
            with self._change(now_s, moved) as change:
                change.also(lambda connection: rows.set_labels(connection, changes))
                change.audit(actor, "sample.label", subject, **details)
        return Labelled(len(changes), tuple(kept))

    def history(self, sample_id: str) -> Sequence[LabelChange]:
        """How one was labelled, the oldest first."""
        with self._books.reading() as connection:
            return rows.label_history(connection, sample_id)

    def counts(self, asked: SampleFilter = EVERY_SAMPLE) -> LabelCounts:
        """By label, of those that are meant. All of them are counted once, and kept in memory from then on; of fewer, `MOST_COUNTED` at most."""
        if asked != EVERY_SAMPLE:
            with self._books.reading() as connection:
                found = rows.count_meant(connection, asked, MOST_COUNTED + 1)
            more = sum(found.values()) > MOST_COUNTED
            return LabelCounts({label: count for label, count in found.items() if label}, found.get("", 0), more)
        if self._counts is None:
            with self._books.reading() as connection:
                self._counts = Counter(rows.count_labels(connection))
        labels = {label: count for label, count in sorted(self._counts.items()) if label and count}
        return LabelCounts(labels, self._counts[""])

    def verdicts(self) -> frozenset[str]:
        """What models say that tell few things apart: their verdicts, or classes. One that names a thousand things has none."""
        if self._said is None:
            with self._books.reading() as connection:
                self._said = rows.said_by_models(connection)
        return frozenset(one for said in self._said.values() if len(said) <= MOST_VERDICTS for one in said)

    def delete(self, sample_id: str, actor: Actor) -> None:
        """Let one go; its picture goes after it, unless something else names it.

        Raises: NotFoundError: there is none of this name.
        """
        sample = self.one(sample_id)
        now_s = self._books.clock()
        with self._change(now_s, Counter({sample.label: -1})) as change:
            change.also(lambda connection: rows.delete_samples(connection, [sample_id], now_s))
            change.audit(actor, "sample.delete", sample_id, label=sample.label, site=sample.site)

    def expire(self, *, unlabelled_before_s: float | None, labelled_before_s: float | None, limit: int) -> int:
        """Let go of samples whose time is over.

        Returns: how many, `limit` at most.
        """
        now_s = self._books.clock()
        with self._books.reading() as connection:
            over = rows.expired_samples(
                connection, unlabelled_before_s=unlabelled_before_s, labelled_before_s=labelled_before_s, limit=limit
            )
        if over:
            moved = Counter[str]()
            moved.subtract(over.values())
            with self._change(now_s, moved) as change:
                change.also(lambda connection: rows.delete_samples(connection, over, now_s))
        return len(over)

    def let_go(self, digests: Collection[str]) -> None:
        """Blobs of samples that did not come after all: they are to be looked at, as those are whose samples went."""
        now_s = self._books.clock()
        with self._books.change(now_s) as change:
            change.also(lambda connection: rows.let_go(connection, digests, now_s))

    def leaving(self, *, before_s: float, limit: int) -> tuple[Sequence[str], set[str]]:
        """Blobs whose samples went before that: their names, and which of them other samples name."""
        with self._books.reading() as connection:
            digests = rows.leaving_blobs(connection, before_s=before_s, limit=limit)
            return digests, rows.named_blobs(connection, digests)

    def left(self, digests: Collection[str], before_s: float) -> None:
        """These blobs have been looked at, as far as `leaving` told of them: with the same `before_s`."""
        if digests:
            with self._books.change(self._books.clock()) as change:
                change.also(lambda connection: rows.forget_leaving(connection, digests, before_s))

    def named(self, digests: Collection[str]) -> set[str]:
        """Those of these blobs that samples name."""
        with self._books.reading() as connection:
            return rows.named_blobs(connection, digests)

    def forget_segments(self, before_s: float) -> None:
        """Those that came before that."""
        with self._books.change(self._books.clock()) as change:
            change.also(lambda connection: rows.forget_segments(connection, before_s))

    @contextlib.contextmanager
    def _change(self, now_s: float, moved: Counter[str]) -> Iterator[Change]:
        """A change after which there are so many more samples of each label."""
        # Should the database not say whether it committed, they are counted anew.
        counts, self._counts = self._counts, None
        with self._books.change(now_s) as change:
            yield change
        if counts is not None:
            counts.update(moved)
            self._counts = counts

    def _all_of(self, ids: Collection[str]) -> dict[str, KeptSample]:
        with self._books.reading() as connection:
            found = rows.find_samples(connection, ids)
        missing = [name for name in ids if name not in found]
        if missing:
            more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
            raise NotFoundError(
                f"there is no sample {', '.join(ascii(one[:80]) for one in missing[:_MOST_NAMED])}{more}"
            )
        return found

    def _with_digest(self, sample: KeptSample) -> KeptSample:
        """With the digest of its release, where the hub knows that."""
        release = None if sample.model_digest else self._books.known.releases.get((sample.model, sample.version))
        return sample if release is None else replace(sample, model_digest=release.manifest_sha256)


def _insert_brought(connection: Connection, sample: KeptSample, actor: Actor) -> None:
    rows.insert_samples(connection, [replace(sample, label="", labelled_by="", labelled_at_s=None)])
    if sample.label:
        rows.set_labels(connection, [LabelChange(sample.id, sample.received_s, actor.name, "", sample.label)])


def _summed(changes: Sequence[LabelChange]) -> dict[str, str]:
    """How often each label was given, for the audit log."""
    counts: dict[str, int] = {}
    for change in changes:
        counts[change.after] = counts.get(change.after, 0) + 1
    return {f"label {label}" if label else "taken back": str(count) for label, count in sorted(counts.items())}


def _cursor(after: str) -> tuple[float, str] | None:
    if not after:
        return None
    found = _CURSOR.fullmatch(after)
    try:
        return (float(found[1]), found[2]) if found else _no_cursor(after)
    except ValueError:
        return _no_cursor(after)


def _no_cursor(after: str) -> tuple[float, str]:
    raise InvalidArgumentError(f"found {after[:80]!a} for after, expected what came with the page before") from None
