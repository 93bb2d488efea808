"""What of the requests that pass is kept for a better model: decided when the app has its answer, with what the site said of it.

    call ──answered──► CaptureHead ──► Chooser (core/capture): reasons ──► SampleQueue ──► thread ──► spool
                            └──a share: a site of the other tier is asked as well──► the same, with both answers

Without `[capture]` there is none of this, and a request costs one look.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import random
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from edgewise.core.capture.chooser import NOTHING, Chooser
from edgewise.core.errors import FailedPreconditionError
from edgewise.core.routing.calls import Attempt
from edgewise.gateway.capture_config import CaptureConfig, ModelCapture
from edgewise.gateway.capture_fields import Said, json_length, opted_out, source_of
from edgewise.gateway.capture_question import OtherTier
from edgewise.gateway.capture_queue import SampleQueue
from edgewise.gateway.capture_samples import FORMS, REST_IMAGE, TOO_LARGE, Taken
from edgewise.gateway.side_questions import SideQuestions
from edgewise.net.exchange import Body
from edgewise.protocols.answers import Form
from edgewise.spool import SpoolBounds, SpoolWriter

if TYPE_CHECKING:
    from edgewise.gateway.site import Site

MAX_MODELS: Final = 200
_MOST_WRITERS: Final = 4
_DAY_S: Final = 86_400.0
_GRPC: Final = "application/grpc"


class Sites(Protocol):
    """Whom a question could be put to; `GatewayService` is this."""

    def beside(self, attempt: Attempt) -> "Sequence[Site]":
        """Sites of other tiers than the one that has answered that the request's route may ask, and that can be asked now."""
        ...


class Captured(Protocol):
    """An app's call, as far as capturing goes.

    Attributes:
        seen: an answer that others are to be compared with; None at first, and set back when the app goes away or is refused.
    """

    seen: Attempt | None

    def said_by(self, attempt: Attempt) -> Said:
        """What a site has answered; an answer that is there as a whole."""
        ...

    def was_asked(self) -> tuple[Body, bytes]:
        """The request's body and its id, as the app sent them."""
        ...

    def question_for(self, site: "Site", timeout_s: float) -> tuple[list[Body], bytes]:
        """The same question to another site, with a REST side; and what `HttpUpstream.send` takes as `echo`."""
        ...


class CapturedModel:
    """What is captured of one model.

    Attributes:
        name: of the model.
        chooser: which of its answers are kept.
    """

    def __init__(self, name: str, config: ModelCapture, now_s: float) -> None:
        self.name = name
        self.chooser = Chooser(config.rules, now_s)


class Capture:
    """Capturing, of one process.

    Args:
        config: in force.
        queue: takes what is chosen; closed with this.
        sites: for questions to another tier.
        draws: numbers from 0 to below 1.

    Attributes:
        models: those that have answered so far, and are captured.
        in_pieces: good answers that no rule looked at, since they or their requests were passed on as they came.
        too_large: requests that were chosen and are longer than what is kept.
        questions: to sites of the other tier, under way.
    """

    def __init__(
        self, config: CaptureConfig, queue: SampleQueue, sites: Sites, *, draws: Callable[[], float] = random
    ) -> None:
        self.config = config
        self.queue = queue
        self.draws = draws
        self.models: dict[str, CapturedModel] = {}
        self.in_pieces = 0
        self.too_large = 0
        self.questions = SideQuestions()
        self._sites = sites
        self._turn = 0

    def head(self, model: str, form: Form | None, headers: Mapping[bytes, bytes]) -> "CaptureHead | None":
        """What requests with such a head have in common; None where none of them is captured.

        Args:
            model: the name of one, as a request says it.
            form: of the request; None for what is no prediction, or none of which answers can be compared.
            headers: of the request, with those that all such requests share.
        Raises: InvalidArgumentError: they say of capturing what they cannot.
        """
        config = self.config.of_model(model) if form is not None and model else None
        if opted_out(headers) or form is None or config is None:
            return None
        return CaptureHead(self, model, config, form, headers)

    def model(self, name: str, config: ModelCapture) -> CapturedModel | None:
        """A model that has answered; None where there are too many to remember what each of them answers."""
        found = self.models.get(name)
        if found is None and len(self.models) < MAX_MODELS:
            found = self.models[name] = CapturedModel(name, config, monotonic())
        return found

    def other_site(self, attempt: Attempt) -> "Site | None":
        """A site of another tier than the one that has answered, each in turn; None where none may or can be asked."""
        found = self._sites.beside(attempt)
        self._turn += 1
        return found[self._turn % len(found)] if found else None

    def end(self) -> None:
        """Nothing is captured from now on; on the loop's thread."""
        self.questions.closed = True
        self.queue.end()

    def close(self) -> None:
        """Write what was chosen; may take some seconds, and needs not be on the loop's thread after `end`."""
        self.end()
        self.queue.close()

    @property
    def dropped(self) -> Counter[str]:
        """What became no sample, by reason, but for what the spool has dropped."""
        # Each number is written by one thread only.
        return self.queue.dropped + Counter({TOO_LARGE: self.too_large})


class CaptureHead:
    """What requests with the same head have in common.

    Attributes:
        capture, name, config, form: as given.
        model: once it has answered.
        compares: what two sites have answered is to be told of.
        sample_form, source, content_type, json_length: as in a `Sample`.
        encoding: the request's Content-Encoding.
    """

    __slots__ = (
        "capture",
        "compares",
        "config",
        "content_type",
        "encoding",
        "form",
        "json_length",
        "model",
        "name",
        "sample_form",
        "source",
    )

    def __init__(
        self, capture: Capture, name: str, config: ModelCapture, form: Form, headers: Mapping[bytes, bytes]
    ) -> None:
        self.capture = capture
        self.name = name
        self.config = config
        self.model: CapturedModel | None = None
        self.form = form
        self.compares = config.rules.disagreement is not None
        grpc = form in {Form.TFS_GRPC, Form.OIP_GRPC}
        content_type = headers.get(b"content-type", b"").decode("latin-1")[:256]
        picture = form is Form.TFS_REST and content_type.lower().startswith("image/")
        self.sample_form = REST_IMAGE if picture else FORMS[form]
        self.content_type = _GRPC if grpc else content_type
        self.encoding = b"" if grpc else headers.get(b"content-encoding", b"")
        self.source = source_of(headers)
        self.json_length = json_length(headers)

    def passed_on(self) -> None:
        """A request or its good answer came in pieces, none of which is there any more: no rule is asked."""
        self.capture.in_pieces += 1

    def saw(self, call: Captured, attempt: Attempt) -> None:
        """A site has answered well; call it before the app gets any answer, where `compares`."""
        seen = call.seen
        done = attempt.request.done
        if seen is None:
            call.seen = None if done else attempt
        elif done and seen is not attempt:
            # The app got the other answer some time ago, and it was not taken then.
            call.seen = None
            model = self.model
            taken = None if model is None else self._taken(call, seen, model.chooser, NOTHING, attempt)
            if taken is not None:
                self.capture.queue.put(taken)

    def answered(self, call: Captured, attempt: Attempt, version: int) -> None:
        """An app has its answer, which is a good one.

        Args:
            attempt: whose answer it is.
            version: of the model that answered; 0 where it is not known.
        """
        seen, call.seen = call.seen, None
        other = None if seen is attempt else seen
        capture = self.capture
        model = self.model
        if model is None:
            model = self.model = capture.model(self.name, self.config)
            if model is None:
                return
        draws = capture.draws
        chooser = model.chooser
        reasons = chooser.choose(attempt.confidence, (attempt.link.site, version), monotonic(), draws())
        asks = chooser.asks > 0.0 and other is None and attempt.request.idempotent and draws() < chooser.asks
        if reasons or asks or other is not None:
            taken = self._taken(call, attempt, chooser, reasons, other)
            if taken is None or (asks and self._ask(call, attempt, taken)):
                return
            if reasons or other is not None:
                capture.queue.put(taken)
                return
        if self.compares:
            # What another site answers later is held against this.
            call.seen = attempt

    def _taken(
        self, call: Captured, attempt: Attempt, chooser: Chooser, reasons: tuple[str, ...], other: Attempt | None
    ) -> Taken | None:
        """What becomes a sample; None for a request that is too long to be kept, so that it takes no room from others."""
        config = self.config
        request, request_id = call.was_asked()
        if config.pictures and len(request) > config.max_sample_bytes:
            self.capture.too_large += bool(reasons)
            return None
        return Taken(
            *(self, chooser, reasons, time.time()),
            request_id=request_id,
            request=request if config.pictures else b"",
            answer=call.said_by(attempt),
            confidence=attempt.confidence,
            other=None if other is None else call.said_by(other),
        )

    def _ask(self, call: Captured, attempt: Attempt, taken: Taken) -> bool:
        """Ask a site of the other tier as well, if there is one that may be; what is taken waits for its answer."""
        capture = self.capture
        site = capture.other_site(attempt)
        if site is None or site.rest is None or not capture.questions.room():
            return False
        request = attempt.request
        timeout_s = request.deadline_s - request.arrived_s
        parts, echo = call.question_for(site, timeout_s)
        asker = OtherTier(taken, site, capture.questions, capture.queue)
        capture.questions.put(site.rest, parts, asker, timeout_s=timeout_s, echo=echo)
        return True


def open_capture(config: CaptureConfig, sites: Sites, worker: int) -> Capture:
    """Begin to capture. Blocks a little: the spool is looked at.

    Args:
        worker: which of the processes this is that share the directory.
    Raises: FailedPreconditionError: the directory cannot be used.
    """
    most_bytes = max((found.max_sample_bytes for found in _models(config)), default=1)
    bounds = SpoolBounds(
        bytes=config.max_bytes,
        retention_s=config.retention_days * _DAY_S,
        # Beside the request there are two answers and a head.
        record_bytes=most_bytes + (1 << 18),
    )
    try:
        spool = _writer(config.directory, bounds, worker)
    except FailedPreconditionError as error:
        raise FailedPreconditionError(f"[capture] directory: {error.message}") from None
    if any(found.rules.disagreement is not None for found in _models(config)):
        # What compares answers takes a while to import, which is better spent now.
        import edgewise.protocols.agreement  # noqa: PLC0415, F401
    queue = SampleQueue(spool, config.site)
    queue.start()
    return Capture(config, queue, sites)


def _writer(directory: Path, bounds: SpoolBounds, worker: int) -> SpoolWriter:
    """A writer with the first name that nobody has: another gateway may write there, and before a reload this one did.

    Raises: FailedPreconditionError: the directory cannot be used, or all names are taken.
    """
    for place in range(1, _MOST_WRITERS):
        with contextlib.suppress(FailedPreconditionError):
            return SpoolWriter(directory, bounds, writer=f"gateway{worker}_{place}")
    return SpoolWriter(directory, bounds, writer=f"gateway{worker}_{_MOST_WRITERS}")


def _models(config: CaptureConfig) -> list[ModelCapture]:
    return [found for found in (config.others, *config.models.values()) if found is not None]
