"""The server's numbers in the Prometheus text format; imported when someone first asks."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from edgewise.model_server.metrics import ServerMetrics
from edgewise.net.exposition import histogram_family


def families(metrics: ServerMetrics) -> Iterator[Metric]:
    """What the server counts, as Prometheus families."""
    info = GaugeMetricFamily("edgewise_server_info", "The site this server is.", labels=("site", "tier"))
    info.add_metric((metrics.site, metrics.tier), 1)
    yield info
    received = CounterMetricFamily("edgewise_server_received", "Requests for a prediction that arrived.")
    received.add_metric((), metrics.received)
    yield received
    outcomes = CounterMetricFamily("edgewise_server_outcomes", "Requests by how they ended.", labels=("outcome",))
    for outcome, count in metrics.outcomes.items():
        outcomes.add_metric((outcome,), count)
    yield outcomes
    yield GaugeMetricFamily("edgewise_server_in_flight", "Requests that have no answer yet.", value=metrics.in_flight)
    requests = CounterMetricFamily(
        "edgewise_server_requests",
        "Requests that ended, by code.",
        labels=("model", "protocol", "method", "code"),
    )
    for key, count in metrics.requests.items():
        requests.add_metric(key, count)
    yield requests
    yield histogram_family(
        "edgewise_server_request_seconds",
        "From the complete head of a request to its answer.",
        ("model", "protocol", "method"),
        metrics.latencies.items(),
    )
    for name, text, found in (
        ("edgewise_server_queue_seconds", "Waiting for the backend.", metrics.queues),
        ("edgewise_server_compute_seconds", "Running in the backend.", metrics.computes),
        ("edgewise_server_batch_rows", "Examples in one run of the backend.", metrics.batches),
    ):
        yield histogram_family(name, text, ("model",), (((model,), values) for model, values in found.items()))
    states = GaugeMetricFamily(
        "edgewise_server_model_state",
        "1 for the state that a version is in.",
        labels=("model", "version", "state"),
    )
    failed = GaugeMetricFamily(
        "edgewise_server_version_failed",
        "1 for a version that could not be loaded, 0 for the others; one that was unloaded is at END as well.",
        labels=("model", "version"),
    )
    for model, version, state, has_failed in metrics.model_states():
        states.add_metric((model, str(version), state), 1)
        failed.add_metric((model, str(version)), has_failed)
    yield states
    yield failed
    for name, (text, read) in metrics.readings.items():
        family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        yield family(name, text, value=read())
