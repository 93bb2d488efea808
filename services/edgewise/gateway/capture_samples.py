"""What is taken of a request and its answer, and how it becomes a sample. The first is on the loop, and copies nothing; the second in a thread."""

import secrets
from typing import TYPE_CHECKING, Final

from edgewise.core.capture.chooser import Chooser
from edgewise.core.capture.rules import DISAGREEMENT, priority_of
from edgewise.core.errors import InvalidArgumentError
from edgewise.gateway.capture_config import ModelCapture
from edgewise.gateway.capture_fields import Said
from edgewise.net.exchange import Body
from edgewise.protocols.answers import Answered, Form
from edgewise.protocols.content_encoding import UnpacksTooLongError, decompress
from edgewise.protocols.samples import MAX_ANSWER_BYTES, Sample, encode_sample

if TYPE_CHECKING:
    from edgewise.gateway.capture import CaptureHead

REST_IMAGE: Final = "rest-image"
FORMS: Final = {
    Form.TFS_REST: "tfs-rest",
    Form.OIP_REST: "oip-rest",
    Form.TFS_GRPC: "tfs-grpc",
    Form.OIP_GRPC: "oip-grpc",
}
_MAX_COMPARED_BYTES: Final = 1 << 20
TOO_LARGE: Final = "too-large"
UNREADABLE: Final = "unreadable"


class Taken:
    """A request that may become a sample.

    Attributes:
        head: what it has in common with others.
        chooser: of its model.
        reasons: the rules that chose it so far; with none, it is kept only if `other` is another answer.
        captured_s: seconds since the epoch.
        request_id, request: as the app sent them.
        answer: what the app got.
        confidence: of that, 0..1; None where the site said nothing.
        other: what another site answered; None where no other one did.
    """

    __slots__ = ("answer", "captured_s", "chooser", "confidence", "head", "other", "reasons", "request", "request_id")

    def __init__(
        self,
        head: "CaptureHead",
        chooser: Chooser,
        reasons: tuple[str, ...],
        captured_s: float,
        *,
        request_id: bytes,
        request: Body,
        answer: Said,
        confidence: float | None,
        other: Said | None = None,
    ) -> None:
        self.head = head
        self.chooser = chooser
        self.reasons = reasons
        self.captured_s = captured_s
        self.request_id = request_id
        self.request = request
        self.answer = answer
        self.confidence = confidence
        self.other = other

    @property
    def size_bytes(self) -> int:
        """Of what it keeps in memory."""
        other = self.other
        return len(self.request) + len(self.answer.body) + (len(other.body) if other is not None else 0)


class UnusableError(Exception):
    """A request that becomes no sample; the text is the reason, as it is counted."""


def agreed(taken: Taken) -> bool | None:
    """Whether both sites gave the same answer; None where that cannot be said.

    Takes a while: numpy reads them.
    """
    from edgewise.protocols.agreement import agree  # noqa: PLC0415 - numpy is for gateways that compare

    first, second = _answered(taken.answer), _answered(taken.other)
    return None if first is None or second is None else agree(taken.head.form, first, second)


def _answered(said: Said | None) -> Answered | None:
    if said is None or len(said.body) > _MAX_COMPARED_BYTES:
        return None
    try:
        return Answered(decompress(said.body, said.encoding, _MAX_COMPARED_BYTES), said.json_length)
    except InvalidArgumentError:
        return None


def record_of(taken: Taken, site: str) -> tuple[Sample, bytes]:
    """The sample and its record.

    Args:
        taken: with reasons.
        site: where it was captured.
    Raises: UnusableError: there is none.
    """
    head, answer = taken.head, taken.answer
    other = taken.other if DISAGREEMENT in taken.reasons else None
    sample = Sample(
        sample_id=secrets.token_hex(16),
        site=site,
        captured_s=taken.captured_s,
        source=head.source,
        model=head.name,
        version=answer.version,
        model_digest="",
        answered_by=answer.site,
        tier=answer.tier,
        reasons=taken.reasons,
        priority=priority_of(taken.reasons),
        confidence=taken.confidence,
        request_id=taken.request_id.decode("latin-1"),
        form=head.sample_form,
        content_type=head.content_type,
        inference_header_length=head.json_length,
        signature="",
        request=_request(taken),
        answer=_answer(answer, head.config),
        answer_content_type=answer.content_type.decode("latin-1"),
        answer_json_length=answer.json_length,
        other=other.site if other is not None else "",
        other_answer=_answer(other, head.config) if other is not None else b"",
    )
    try:
        return sample, encode_sample(sample)
    except InvalidArgumentError:
        raise UnusableError(UNREADABLE) from None


def _request(taken: Taken) -> bytes:
    config = taken.head.config
    if not config.pictures:
        return b""
    try:
        # The encoder joins the parts, whatever buffers they are: no copy before that one.
        body = decompress(taken.request, taken.head.encoding, config.max_sample_bytes)
    except UnpacksTooLongError:
        raise UnusableError(TOO_LARGE) from None
    except InvalidArgumentError:
        raise UnusableError(UNREADABLE) from None
    if len(body) > config.max_sample_bytes:
        raise UnusableError(TOO_LARGE)
    return body  # type: ignore[return-value]


def _answer(said: Said, config: ModelCapture) -> bytes:
    if not config.answers or len(said.body) > MAX_ANSWER_BYTES:
        return b""
    try:
        return bytes(decompress(said.body, said.encoding, MAX_ANSWER_BYTES))
    except InvalidArgumentError:
        return b""
