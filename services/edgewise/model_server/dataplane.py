"""The one dataplane under every front door.

A request becomes a `Call`, which is admitted for one version of one model, perhaps decoded in a worker thread, run
through the version's batcher, and ends exactly once with a response or an error:

    door ── admit ──▶ Call ── (offload: decode) ──▶ run ──▶ batcher ──▶ done(response | error)

A version stays loaded for as long as a call that was admitted for it has not ended. Everything here happens on the
event loop; only the functions that `offload` is given run elsewhere.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import (
    CancelledError,
    DeadlineExceededError,
    EdgewiseError,
    InternalError,
    ResourceExhaustedError,
)
from edgewise.core.requests import ModelSpec, PredictResponse
from edgewise.core.signatures import check_inputs, check_outputs, find_signature
from edgewise.model_server.config.model_config import Pipeline
from edgewise.protocols.dtypes import dtype_of

if TYPE_CHECKING:
    from edgewise.model_server.backends.port import Arrays
    from edgewise.model_server.batching.runs import Ticket
    from edgewise.model_server.metrics import ServerMetrics
    from edgewise.model_server.servable import Servable
    from edgewise.model_server.versions.repository import Repository

_log = logging.getLogger(__name__)

Done = Callable[[PredictResponse | EdgewiseError], None]

# Decoding that waits for a thread holds its bytes in memory, so the line is short.
MAX_OFFLOADED = 256


def _nothing(result: PredictResponse | EdgewiseError) -> None:
    """What an ended call has left to do."""
    del result


class Call:
    """One admitted request, until its end.

    Attributes:
        servable: the version that will answer.
        deadline_s: `time.monotonic()` by which the answer must be there; None when there is no deadline.
        ended: whether `done` has been called, or the client has gone.
    """

    __slots__ = ("_dataplane", "_done", "_ticket", "deadline_s", "ended", "servable", "signature")

    def __init__(self, dataplane: "Dataplane", servable: "Servable", deadline_s: float | None, done: Done) -> None:
        self._dataplane = dataplane
        self._done = done
        self._ticket: Ticket | None = None
        self.servable = servable
        self.deadline_s = deadline_s
        self.ended = False
        self.signature = ""

    def end(self, result: PredictResponse | EdgewiseError) -> None:
        """End the call; later ends are ignored, so a late result cannot answer twice."""
        if self.ended:
            return
        self.ended = True
        self._dataplane.repository.release(self.servable)
        # The door's callback refers to the door's own record of the call, and that to the call: a ring that would keep
        # a body of megabytes until the garbage collector comes by.
        done, self._done = self._done, _nothing
        self._ticket = None
        done(result)

    def cancel(self) -> None:
        """The client has gone: stop waiting, compute nothing that has not begun."""
        if self.ended:
            return
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.cancel()
        self.end(CancelledError("the client went away"))

    def shorten(self, timeout_s: float) -> None:
        """The request gave itself less time than was known when it was admitted; counted from now, in seconds."""
        deadline_s = time.monotonic() + timeout_s
        if self.deadline_s is None or deadline_s < self.deadline_s:
            self.deadline_s = deadline_s

    def offload(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do `work` in a worker thread and go on with `then(result)` on the loop.

        An EdgewiseError of `work` or `then` ends the call; so does a full line of work.
        """
        self._dataplane.offload(self, work, then)

    def run(self, signature: str, inputs: dict[str, NDArray[Any]], outputs: tuple[str, ...] = ()) -> None:
        """Compute `outputs` (empty means all) of `signature` from `inputs` and end the call with them."""
        try:
            self._dataplane.run(self, signature, inputs, outputs)
        except EdgewiseError as error:
            self.end(error)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
            _log.exception("a request for %s could not be run", self.servable.name)
            self.end(InternalError("the request could not be run because of a fault in the server"))

    def waits_for(self, ticket: "Ticket") -> None:
        """Remember what to cancel when the client goes."""
        self._ticket = ticket


class Dataplane:
    """Carries requests from the doors to the batchers and back."""

    def __init__(
        self,
        repository: "Repository",
        metrics: "ServerMetrics",
        *,
        loop: asyncio.AbstractEventLoop,
        decode_threads: int = 2,
    ) -> None:
        self.repository = repository
        self.metrics = metrics
        self._loop = loop
        self._threads = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._offloaded = 0

    def admit(self, spec: ModelSpec, timeout_s: float | None, done: Done, preferred: int | None = None) -> Call:
        """Admit a request for the version that `spec` means.

        Args:
            preferred: the version to take where `spec` leaves the choice and this one answers.
            timeout_s: remaining budget in seconds; None means no deadline.
            done: called once with how the call ended.
        Raises:
            NotFoundError, InvalidArgumentError: no such model, version or label.
            DeadlineExceededError: there is no budget left.
        """
        deadline_s = None
        if timeout_s is not None:
            if timeout_s <= 0:
                raise DeadlineExceededError("the deadline had passed when the request arrived")
            deadline_s = time.monotonic() + timeout_s
        return Call(self, self.repository.acquire(spec, preferred), deadline_s, done)

    def offload(self, call: Call, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do `work` in a worker thread; see `Call.offload`."""
        if self._offloaded >= MAX_OFFLOADED:
            call.end(ResourceExhaustedError("too many requests wait to be decoded; try again", retry_after_s=1.0))
            return
        self._offloaded += 1

        def guarded() -> Any:
            # What nobody waits for any more is not worth a thread's time.
            if call.ended:
                return None
            if call.deadline_s is not None and time.monotonic() >= call.deadline_s:
                raise DeadlineExceededError("the deadline passed while the request waited to be decoded")
            return work()

        def on_loop(future: "Future[Any]") -> None:
            self._offloaded -= 1
            if call.ended:
                return
            error = future.exception()
            try:
                if error is not None:
                    raise error
                then(future.result())
            except EdgewiseError as known:
                call.end(known)
            except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
                _log.exception("decoding a request for %s failed", call.servable.name)
                call.end(InternalError("the request could not be decoded because of a fault in the server"))

        self._threads.submit(guarded).add_done_callback(lambda future: self._loop.call_soon_threadsafe(on_loop, future))

    def in_thread(
        self, work: Callable[[], Any], then: Callable[[Any], None], failed: Callable[[EdgewiseError], None]
    ) -> None:
        """Do `work`, which belongs to no call any more, in a worker thread; then `then(result)` or `failed(error)`."""

        def on_loop(future: "Future[Any]") -> None:
            error = future.exception()
            if error is None:
                then(future.result())
            elif isinstance(error, EdgewiseError):
                failed(error)
            else:
                _log.error("encoding an answer failed", exc_info=error)
                failed(InternalError("the answer could not be encoded because of a fault in the server"))

        self._threads.submit(work).add_done_callback(lambda future: self._loop.call_soon_threadsafe(on_loop, future))

    def run(self, call: Call, signature: str, inputs: dict[str, NDArray[Any]], outputs: tuple[str, ...]) -> None:
        """Run one call; see `Call.run`."""
        servable = call.servable
        found = find_signature(servable.signatures, signature)
        call.signature = found.name
        rows = check_inputs(found, inputs, dtype_of)
        wanted = check_outputs(found, outputs)
        pipeline = servable.pipelines.get(found.name)
        if pipeline is not None:
            self._run_pipeline(call, pipeline, inputs[pipeline.input_name], wanted)
            return

        def finished(result: "Arrays | EdgewiseError", queue_s: float, compute_s: float) -> None:
            if isinstance(result, EdgewiseError):
                call.end(result)
                return
            self._answer(call, result, result, queue_s, compute_s)

        call.waits_for(
            servable.batcher.submit(found.name, inputs, wanted, rows=rows, deadline_s=call.deadline_s, done=finished)
        )

    def _run_pipeline(self, call: Call, pipeline: Pipeline, images: NDArray[Any], wanted: tuple[str, ...]) -> None:
        from edgewise.model_server.images import transforms  # noqa: PLC0415  (Pillow's cost is paid by those who send images)

        spec = pipeline.image

        def decode() -> NDArray[np.float32]:
            return transforms.decode_images(list(images), spec)

        def decoded(batch: NDArray[np.float32]) -> None:
            call.waits_for(
                call.servable.batcher.submit(
                    pipeline.base,
                    {spec.tensor: batch},
                    (pipeline.output.tensor,),
                    rows=len(batch),
                    deadline_s=call.deadline_s,
                    done=labelled,
                )
            )

        def labelled(result: "Arrays | EdgewiseError", queue_s: float, compute_s: float) -> None:
            if isinstance(result, EdgewiseError):
                call.end(result)
                return
            try:
                named = transforms.label(result[pipeline.output.tensor], pipeline.output)
            except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the log the rest
                _log.exception("labelling an answer of %s failed", call.servable.name)
                call.end(InternalError("the answer could not be labelled because of a fault in the server"))
                return
            self._answer(call, {name: named[name] for name in wanted}, result, queue_s, compute_s)

        self.offload(call, decode, decoded)

    def _answer(self, call: Call, outputs: "Arrays", raw: "Arrays", queue_s: float, compute_s: float) -> None:
        servable = call.servable
        self.metrics.ran(servable.name, queue_s=queue_s, compute_s=compute_s)
        confidence = None
        if servable.confidence:
            scores = raw.get(servable.confidence)
            if scores is not None and scores.size:
                # A request is as sure as its least sure example. The ufuncs' own methods skip numpy's Python wrappers.
                confidence = float(np.minimum.reduce(np.maximum.reduce(scores, axis=-1), axis=None))
        call.end(
            PredictResponse(
                model=servable.name,
                version=servable.version,
                signature=call.signature,
                outputs=dict(outputs),
                confidence=confidence,
                queue_s=queue_s,
                compute_s=compute_s,
            )
        )

    def close(self) -> None:
        """Stop the decoding threads; nothing is in flight."""
        self._threads.shutdown(wait=True, cancel_futures=True)
