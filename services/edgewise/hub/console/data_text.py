"""Samples as people read them."""

from collections.abc import Iterator, Sequence

from edgewise.core.wording import counted
from edgewise.hub.console.text_tables import columns, printable
from edgewise.hub.labelling.shown import LabelCounts, Shown
from edgewise.hub.pages.words import answer, share, size

_NOTHING = "-"


def samples_text(samples: Sequence[Shown]) -> str:
    """A table of samples."""
    rows = [
        ("ID", "CAPTURED", "SITE", "SOURCE", "MODEL", "ANSWER", "LABEL", "WHY"),
        *(
            (
                *(one.id, one.captured, one.site or _NOTHING, one.source or _NOTHING, _model(one), _answer(one)),
                *(one.label or _NOTHING, ",".join(one.reasons) or _NOTHING),
            )
            for one in samples
        ),
    ]
    if len(rows) == 1:
        return "no samples match"
    return "\n".join(columns(rows))


def shown_of(count: int, meant: LabelCounts | None) -> str:
    """How many are shown of those that match."""
    if meant is None or (meant.total <= count and not meant.more):
        return counted(count, "sample")
    every = f"more than {meant.total - 1:,}" if meant.more else f"{meant.total:,}"
    return f"the newest {count:,} of {every} samples that match: --limit N for more"


def short_text(sample: Shown) -> str:
    """One line of one sample, for a question."""
    where = ", ".join(filter(None, (sample.captured, sample.site, sample.source)))
    return printable(f"{sample.id}  {where}, {f'labelled {sample.label}' if sample.label else 'without a label'}")


def sample_text(sample: Shown) -> str:
    """All that is known of one sample."""
    return "\n".join(f"{name + ':':16}{printable(value)}" for name, value in _facts(sample) if value)


def _facts(one: Shown) -> Iterator[tuple[str, str]]:
    yield "sample", one.id
    yield "label", f"{one.label} ({one.labelled_by}, {one.labelled_at})" if one.label else "none"
    yield "synthetic", "yes, a program made it" if one.synthetic else ""
    yield "captured", f"{one.captured}, site {one.site or 'not known'}, source {one.source or 'not known'}"
    yield "gateway says", f"site {one.said_site}" if one.said_site else ""
    yield "received", one.received
    yield "why", ", ".join(one.reasons)
    yield "model", _model(one) + (f" (manifest {one.model_digest})" if one.model_digest else "") if one.model else ""
    yield "answered by", f"{one.answered_by} ({one.tier})" if one.answered_by else ""
    yield "answer", _answer(one) if one.prediction else ""
    yield "scores", ", ".join(f"{score.label} {share(score.score)}" for score in one.scores)
    yield "otherwise", f"{one.other} said {one.other_prediction or 'something else'}" if one.other else ""
    pixels = f", {one.width} x {one.height} pixels" if one.width and one.height else ""
    yield one.kind, f"{one.content_type}, {size(one.bytes)}{pixels}"
    yield "sha256", one.sha256
    yield "request", one.request_id
    yield "kept until", one.expires or "it is deleted"


def _model(one: Shown) -> str:
    return f"{one.model} {one.version or ''}".strip() or _NOTHING


def _answer(one: Shown) -> str:
    if not one.prediction:
        return _NOTHING
    return answer(one.prediction, [(score.label, score.score) for score in one.scores], one.confidence)
