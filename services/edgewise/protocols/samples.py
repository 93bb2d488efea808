"""A sample: what an app asked and what it was answered, kept for a better model to be made of; and its record in a spool.

    edgewise-sample/1 | length of the head (4 bytes, little endian) | head (JSON) | request | answer | other answer

The head has everything but the three parts, and how long each of them is.
"""

import math
import re
import struct
from dataclasses import dataclass, fields
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.documents import SHA256, SHA256_EXPECTED, Document, document_bytes, read_document

FORMAT: Final = b"edgewise-sample/1\n"
SAMPLE_ID: Final = re.compile(r"[0-9a-f]{32}")
SAMPLE_ID_EXPECTED: Final = "32 hexadecimal digits in lower case"
LABEL: Final = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9 _.-]{0,62}[A-Za-z0-9_.-])?")
"""What people say of a sample; it is the name of a folder as well."""
FORMS: Final = ("rest-image", "tfs-rest", "oip-rest", "tfs-grpc", "oip-grpc")
REASONS: Final = ("all", "sampled", "low-confidence", "disagreement", "drift")
HIGHEST_PRIORITY: Final = 3
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_HEAD_BYTES: Final = 64 * 1024

_ANY_FORMAT: Final = re.compile(rb"edgewise-sample/([1-9][0-9]{0,3})\n")
_FORM: Final = re.compile(r"[a-z0-9-]{1,32}")
_PARTS: Final = ("request", "answer", "other_answer")
_LENGTH: Final = struct.Struct("<I")
_LONGEST_TEXT: Final = 1024
_LATEST_S: Final = 253402300799.0  # the last second of the year 9999
_MOST_BYTES: Final = 1 << 40


class NewerSampleError(InvalidArgumentError):
    """A sample of a newer gateway than this program knows."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request and its answer.

    Attributes:
        sample_id: 32 hexadecimal digits, drawn by the gateway that captured it; no other sample ever has them.
        site: where it was captured.
        captured_s: when, in seconds since the epoch, by the gateway's clock.
        source: what the app said that the request comes from, such as one camera; "" where it said nothing.
        version: of the model; 0 where it is unknown.
        model_digest: SHA-256 of the manifest of the release that answered; "" where it is unknown.
        answered_by, tier: the site that answered, and its tier.
        reasons: the rules that chose it, of `REASONS`.
        priority: 0, which goes first where room is short, to 3.
        confidence: of the answer; None where it has none.
        form: of the request, one of `FORMS`.
        content_type: of the request.
        inference_header_length: of the request's binary extension of the Open Inference Protocol, in bytes; None without one.
        signature: "" where it is not known without decoding.
        request: as the app sent it.
        answer: as it was answered, a REST body or a gRPC message; b"" where it was over `MAX_ANSWER_BYTES`.
        answer_json_length: as `inference_header_length`, of the answer.
        other: with the reason "disagreement" the site that answered otherwise, else "".
        other_answer: what that one answered; as `answer`.
    """

    sample_id: str
    site: str
    captured_s: float
    source: str
    model: str
    version: int
    model_digest: str
    answered_by: str
    tier: str
    reasons: tuple[str, ...]
    priority: int
    confidence: float | None
    request_id: str
    form: str
    content_type: str
    inference_header_length: int | None
    signature: str
    request: bytes
    answer: bytes
    answer_content_type: str
    answer_json_length: int | None
    other: str
    other_answer: bytes


_HEAD_FIELDS: Final = tuple(field.name for field in fields(Sample) if field.name not in _PARTS)


def encode_sample(sample: Sample) -> bytes:
    """The record of a sample; whatever this returns, `decode_sample` reads.

    Raises: InvalidArgumentError: a field of it is none that a record may have, such as a text over 1024 characters.
    """
    head: dict[str, Any] = {name: getattr(sample, name) for name in _HEAD_FIELDS}
    parts = [getattr(sample, name) for name in _PARTS]
    head["parts"] = [len(part) for part in parts]
    _checked_head(Document("the sample", "", {**head, "reasons": list(sample.reasons)}), parts)
    try:
        content = document_bytes(head)
    except ValueError:
        raise InvalidArgumentError("the sample has a text that is not Unicode, or a number that is none") from None
    if len(content) > MAX_HEAD_BYTES:
        raise InvalidArgumentError(f"the sample's head has {len(content)} bytes; {MAX_HEAD_BYTES} is the most")
    return b"".join([FORMAT, _LENGTH.pack(len(content)), content, *parts])


def decode_sample(record: bytes) -> Sample:
    """The sample of a record.

    Raises:
        NewerSampleError: it is of a kind that comes later.
        InvalidArgumentError: it is none; the message says what is wrong.
    """
    if not record.startswith(FORMAT):
        found = _ANY_FORMAT.match(record)
        if found is not None:
            raise NewerSampleError(
                f"found samples of the format edgewise-sample/{int(found[1])}, and 1 is the newest that is known here"
            )
        raise InvalidArgumentError(f"found {record[:18]!r} at the start of a sample, expected {FORMAT!r}")
    start = len(FORMAT) + _LENGTH.size
    if len(record) < start:
        raise InvalidArgumentError("the sample is cut off before its head")
    length = _LENGTH.unpack_from(record, len(FORMAT))[0]
    if len(record) < start + length:
        raise InvalidArgumentError(f"the sample is cut off in its head of {length} bytes")
    head = read_document(record[start : start + length], "the sample", max_bytes=MAX_HEAD_BYTES)
    return _checked_head(head, _split(head, record, start + length))


def _split(head: Document, record: bytes, start: int) -> list[bytes]:
    lengths = head.items("parts", "three lengths")
    if len(lengths) != len(_PARTS) or any(type(each) is not int or each < 0 for each in lengths):
        raise head.wrong("parts", lengths, "three lengths in bytes")
    if start + sum(lengths) != len(record):
        raise InvalidArgumentError(
            f"the sample has {len(record) - start} bytes after its head, where the head says {sum(lengths)}"
        )
    parts = []
    for each in lengths:
        parts.append(record[start : start + each])
        start += each
    return parts


def _checked_head(head: Document, parts: list[bytes]) -> Sample:
    request, answer, other_answer = parts
    if max(len(answer), len(other_answer)) > MAX_ANSWER_BYTES:
        raise InvalidArgumentError(f"the sample has an answer of over {MAX_ANSWER_BYTES} bytes; leave it out")
    return Sample(
        sample_id=_matching(head, "sample_id", SAMPLE_ID, SAMPLE_ID_EXPECTED),
        site=_text(head, "site"),
        captured_s=head.number("captured_s", 0.0, _LATEST_S),
        source=_text(head, "source"),
        model=_text(head, "model"),
        version=head.integer("version", 0, MAX_VERSION),
        model_digest=_matching(head, "model_digest", SHA256, SHA256_EXPECTED, optional=True),
        answered_by=_text(head, "answered_by"),
        tier=_text(head, "tier"),
        reasons=_reasons(head),
        priority=head.integer("priority", 0, HIGHEST_PRIORITY),
        confidence=_confidence(head),
        request_id=_text(head, "request_id"),
        form=_form(head),
        content_type=_text(head, "content_type"),
        inference_header_length=head.optional_integer("inference_header_length", _MOST_BYTES),
        signature=_text(head, "signature"),
        request=request,
        answer=answer,
        answer_content_type=_text(head, "answer_content_type"),
        answer_json_length=head.optional_integer("answer_json_length", _MOST_BYTES),
        other=_text(head, "other"),
        other_answer=other_answer,
    )


def _text(head: Document, name: str) -> str:
    return head.text(name, longest=_LONGEST_TEXT)


def _matching(head: Document, name: str, pattern: re.Pattern[str], expected: str, *, optional: bool = False) -> str:
    value = _text(head, name)
    if pattern.fullmatch(value) or (optional and not value):
        return value
    raise head.wrong(name, value, expected)


def _reasons(head: Document) -> tuple[str, ...]:
    values = head.items("reasons", "a list of rules")
    # Rules that a newer gateway has are no fault.
    if len(values) > len(REASONS) * 4 or any(not isinstance(each, str) or len(each) > 64 for each in values):
        raise head.wrong("reasons", values, f"rules such as {', '.join(REASONS)}")
    return tuple(values)


def _confidence(head: Document) -> float | None:
    value = head.get("confidence", required=False, expected="")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise head.wrong("confidence", value, "a finite number or null")
    return float(value)


def _form(head: Document) -> str:
    value = _text(head, "form")
    if value not in FORMS:
        wrong = head.wrong("form", value, f"one of {', '.join(FORMS)}")
        raise NewerSampleError(wrong.message) if _FORM.fullmatch(value) else wrong
    return value
