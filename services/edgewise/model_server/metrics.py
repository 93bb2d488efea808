"""What the model server counts, and how it is shown.

Everything is counted on the event loop in plain integers (a lock per increment would be paid by every request) and
turned into Prometheus families when someone asks. `received = answered + rejected + expired + failed + in flight`
holds at every moment.

Edgewise's own names are shown at `/metrics`. Where TensorFlow Serving's are asked for as well, `tensorflow_metrics`
counts them beside these.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from edgewise.core.errors import Code
from edgewise.model_server.tensorflow_metrics import TensorflowMetrics
from edgewise.net.distribution import Distribution

if TYPE_CHECKING:
    from edgewise.net.exposition import Exposition

OK = "OK"

LATENCY_BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

# How each code ends a request in the ledger.
_OUTCOMES: dict[str, str] = {
    OK: "answered",
    Code.DEADLINE_EXCEEDED: "expired",
    Code.INTERNAL: "failed",
    Code.CANCELLED: "failed",
}
OUTCOMES = ("answered", "rejected", "expired", "failed")


class ServerMetrics:
    """The model server's numbers.

    Attributes:
        received: requests for a prediction that arrived.
        outcomes: requests by how they ended: answered, rejected, expired, failed.
        requests: count by model, protocol, method and code.
        latencies: seconds by model, protocol and method.
        queues, computes, batches: by model: seconds waiting, seconds running, examples a run.
        model_states: tells models, versions, their states and whether they could not be loaded, when asked.
        readings: what to read when asked, by metric name, with a sentence for people; a name in `_total` counts up.
        tensorflow: the same under TensorFlow Serving's names; None where nobody asked for them.
    """

    def __init__(self, site: str, tier: str, tensorflow: TensorflowMetrics | None = None) -> None:
        self.site = site
        self.tier = tier
        self.tensorflow = tensorflow
        self.received = 0
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.requests: dict[tuple[str, str, str, str], int] = {}
        self.latencies: dict[tuple[str, str, str], Distribution] = {}
        self.queues: dict[str, Distribution] = {}
        self.computes: dict[str, Distribution] = {}
        self.batches: dict[str, Distribution] = {}
        self.model_states: Callable[[], Iterable[tuple[str, int, str, bool]]] = tuple
        self.readings: dict[str, tuple[str, Callable[[], float]]] = {}
        self._exposition: Exposition | None = None

    @property
    def in_flight(self) -> int:
        """Requests that have no answer yet."""
        return self.received - sum(self.outcomes.values())

    def finished(
        self, *, model: str, protocol: str, method: str, code: str, seconds: float, compute_s: float | None = None
    ) -> None:
        """Count the end of a request.

        Args:
            model: the model's name where it exists here, else "" (labels are closed sets).
            protocol: rest or grpc, with the API: "tfs-rest", "tfs-grpc", "oip-rest", "oip-grpc".
            method: Predict, Classify, Regress, MultiInference.
            code: "OK" or the name of the error's code.
            seconds: from the complete head of the request to its answer.
            compute_s: of those in the backend; None for a request that did not get through it.
        """
        self.outcomes[_OUTCOMES.get(code, "rejected")] += 1
        key = (model, protocol, method, code)
        self.requests[key] = self.requests.get(key, 0) + 1
        latency_key = (model, protocol, method)
        latency = self.latencies.get(latency_key)
        if latency is None:
            latency = self.latencies[latency_key] = Distribution(LATENCY_BOUNDS_S)
        latency.add(seconds)
        if self.tensorflow is not None:
            self.tensorflow.finished(
                model=model, protocol=protocol, method=method, code=code, seconds=seconds, compute_s=compute_s
            )

    def ran(self, model: str, *, queue_s: float, compute_s: float) -> None:
        """Count one request's time in the queue and in the backend."""
        queue = self.queues.get(model)
        if queue is None:
            queue = self.queues[model] = Distribution(LATENCY_BOUNDS_S)
            self.computes[model] = Distribution(LATENCY_BOUNDS_S)
        queue.add(queue_s)
        self.computes[model].add(compute_s)
        if self.tensorflow is not None:
            self.tensorflow.queued(queue_s)

    def batch(self, model: str, rows: int, compute_s: float) -> None:
        """Count one run of the backend over `rows` examples."""
        batch = self.batches.get(model)
        if batch is None:
            batch = self.batches[model] = Distribution(BATCH_BOUNDS)
        batch.add(rows)
        if self.tensorflow is not None:
            self.tensorflow.ran(compute_s)

    def exposition(self) -> bytes:
        """Edgewise's own names, in the Prometheus text format."""
        if self._exposition is None:
            # The Prometheus client costs 40 ms and 2 MB, which a server that is not scraped does not pay.
            from edgewise.model_server.exposition import families  # noqa: PLC0415
            from edgewise.net.exposition import Exposition  # noqa: PLC0415

            self._exposition = Exposition(lambda: families(self))
        return self._exposition.text()
