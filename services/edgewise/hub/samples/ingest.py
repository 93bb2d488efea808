"""Takes a segment of a site's spool in: one record after the other, so that memory holds one of them. It is read twice: what is refused leaves
no pictures behind.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from edgewise.hub.samples.answer_scores import NOTHING, Answered, answered_rows
from edgewise.hub.samples.pictures import Picture
from edgewise.hub.samples.request_pictures import pictures_of
from edgewise.hub.store.samples import PICTURE, TENSOR, KeptSample
from edgewise.protocols.samples import NewerSampleError, Sample, decode_sample
from edgewise.protocols.segment_faults import SegmentFault
from edgewise.spool.records import records_of

MAX_SAMPLES: Final = 20_000
"""Of one segment. Those of an honest site have a thousand: a segment is closed at a few megabytes."""
_MOST_REASONS: Final = 7
_REASON: Final = re.compile(r"[a-z0-9-]{1,32}")
_ANY_SEGMENT: Final = re.compile(rb"edgewise-spool/([1-9][0-9]{0,3})\n")
_HEAD_BYTES: Final = 32
_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"


class SegmentFaultError(InvalidArgumentError):
    """The segment itself is at fault, and will be whenever it comes again.

    Attributes:
        fault: what is wrong, for the site's agent.
    """

    def __init__(self, message: str, fault: SegmentFault) -> None:
        super().__init__(message)
        self.fault = fault


class NewerSegmentError(FailedPreconditionError):
    """A newer gateway wrote the segment than this hub can read; it will be once the hub is up to date."""


@dataclass(slots=True)
class Taken:
    """What a segment holds.

    Attributes:
        samples: their blobs are kept.
        refused: records that are no samples, and samples beyond the most.
        size_bytes: of the blobs.
        said_site: what some of the samples call the site, where that is another name; "" otherwise.
    """

    samples: list[KeptSample] = field(default_factory=list)
    refused: int = 0
    size_bytes: int = 0
    said_site: str = ""


def take_segment(file: BinaryIO, site: str, keep: Callable[[bytes], str], now_s: float) -> Taken:
    """Read a segment and keep its pictures.

    Args:
        file: at its start.
        site: that sends it; its samples are of no other one, whatever they say: a gateway's config may be wrong, and a token is not.
        keep: has bytes kept, and returns what names them.
    Raises:
        SegmentFaultError: it is no segment, or is damaged; nothing was kept.
        NewerSegmentError: a newer gateway wrote it; nothing was kept.
        UnavailableError: there is no room for a picture, or the disk gave other bytes the second time.
    """
    for _ in _samples(file):
        pass
    file.seek(0)
    try:
        return _taken(file, site, keep, now_s)
    except (SegmentFaultError, NewerSegmentError):
        # It was none before.
        raise UnavailableError("the hub's disk did not give the segment as it came") from None


def _taken(file: BinaryIO, site: str, keep: Callable[[bytes], str], now_s: float) -> Taken:
    taken = Taken()
    for sample in _samples(file):
        if sample is None:
            taken.refused += 1
            continue
        taken.said_site = taken.said_site or _said_site(sample, site)
        for kept, content in _kept(sample, site, now_s):
            if len(taken.samples) >= MAX_SAMPLES:
                taken.refused += 1
                continue
            # The digest is known once the bytes are kept: a row never is without its picture.
            kept["blob_sha256"] = keep(content)
            taken.samples.append(KeptSample(**kept))
            taken.size_bytes += len(content)
    return taken


def _samples(file: BinaryIO) -> Iterator[Sample | None]:
    """Of each record; None for one that is no sample."""
    for record in _records(file):
        try:
            sample = decode_sample(record)
        except NewerSampleError as error:
            raise _newer(error.message) from None
        except InvalidArgumentError:
            yield None
        else:
            yield sample


def _records(file: BinaryIO) -> Iterator[bytes]:
    try:
        yield from records_of(file)
    except InvalidArgumentError as error:
        file.seek(0)
        found = _ANY_SEGMENT.match(file.read(_HEAD_BYTES))
        if found is not None and int(found[1]) > 1:
            known = "and 1 is the newest that is known here"
            raise _newer(f"found a segment of the format edgewise-spool/{int(found[1])}, {known}") from None
        raise SegmentFaultError(error.message, SegmentFault.DAMAGED) from None


def _newer(what: str) -> NewerSegmentError:
    return NewerSegmentError(f"{what}: a newer gateway wrote it; bring the hub up to date, and it is taken")


def _said_site(sample: Sample, site: str) -> str:
    return "" if sample.site == site else sample.site


def _kept(sample: Sample, site: str, now_s: float) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The samples that one record makes, without their blobs' names, and the bytes of each."""
    found = pictures_of(sample)
    answers = answered_rows(sample.form, sample.answer, sample.answer_json_length)
    others = answered_rows(sample.form, sample.other_answer, None)
    common = _common(sample, site, now_s)
    if not found:
        yield {**common, **_tensor(sample), **_said(sample, site, answers, others, 0)}, sample.request
        return
    rows = found[-1][0] + 1
    for number, (row, picture) in enumerate(found):
        name = sample.sample_id if not number else f"{sample.sample_id}-{number}"
        # Where rows and pictures are not one to one, nobody can tell what was said of which.
        told = answers if len(answers) >= rows or len(found) == 1 else []
        yield {**common, "id": name, **_picture(picture), **_said(sample, site, told, others, row)}, picture.content


def _common(sample: Sample, site: str, now_s: float) -> dict[str, Any]:
    reasons = [reason for reason in sample.reasons if _REASON.fullmatch(reason)]
    return {
        "id": sample.sample_id,
        "site": site,
        "source": sample.source,
        "captured_s": sample.captured_s,
        "received_s": now_s,
        "model": sample.model,
        "version": sample.version,
        "model_digest": sample.model_digest,
        "answered_by": sample.answered_by,
        "tier": sample.tier,
        "reasons": tuple(reasons[:_MOST_REASONS]),
        "priority": sample.priority,
        "confidence": sample.confidence,
        "request_id": sample.request_id,
    }


def _picture(picture: Picture) -> dict[str, Any]:
    return {
        "kind": PICTURE,
        "content_type": picture.content_type,
        "size_bytes": len(picture.content),
        "width": picture.width,
        "height": picture.height,
    }


def _tensor(sample: Sample) -> dict[str, Any]:
    # Never what the app called it: a browser may be told.
    is_json = sample.form in {"tfs-rest", "oip-rest"} and sample.inference_header_length is None
    return {"kind": TENSOR, "content_type": _JSON if is_json else _BYTES, "size_bytes": len(sample.request)}


def _said(sample: Sample, site: str, answers: list[Answered], others: list[Answered], row: int) -> dict[str, Any]:
    said = answers[row] if row < len(answers) else NOTHING
    other = others[row] if row < len(others) else NOTHING
    details = {
        "form": sample.form,
        "signature": sample.signature,
        "content_type": sample.content_type,
        "inference_header_length": ""
        if sample.inference_header_length is None
        else str(sample.inference_header_length),
        "other": sample.other,
        "other_prediction": other.prediction,
        "said_site": _said_site(sample, site),
    }
    return {
        "prediction": said.prediction,
        "scores": said.scores,
        "details": {name: text for name, text in details.items() if text},
    }
