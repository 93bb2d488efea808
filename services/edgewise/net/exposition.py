"""Numbers of a process in the Prometheus text format; imported when someone first asks."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edgewise.net.distribution import Distribution


class Exposition(Collector):
    """Turns numbers into text, with those of the process beside them.

    Args:
        families: the service's own; called at each scrape.
    """

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families
        self._registry = CollectorRegistry()
        self._registry.register(self)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def text(self) -> bytes:
        """All families, as Prometheus scrapes them."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """The service's own families."""
        return self._families()


def histogram_family(
    name: str, text: str, labels: tuple[str, ...], found: Iterable[tuple[tuple[str, ...], Distribution]]
) -> HistogramMetricFamily:
    """A family of histograms.

    Args:
        found: the values of the labels with what was counted under them.
    """
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, distribution in found:
        family.add_metric(values, buckets=distribution.buckets(), sum_value=distribution.total)
    return family
