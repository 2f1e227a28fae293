"""Figures in the words of Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from server.metrics.totals import SECONDS, Histogram
from server.words import Figure, HasFigures

log = logging.getLogger("defectvision.metrics")

PREFIX = "defectvision_"
MOST_LINES = 20_000
"""Of one scrape; 256 streams with all they have are about 12,000."""


class Taken:
    """What was read on the event loop, for a thread to write down."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def taken(
    sources: Sequence[HasFigures], latencies: Mapping[str, Histogram], version: str, failed: set[HasFigures]
) -> Taken:
    """Read all figures. On the event loop.

    Args:
        failed: who failed before: said once.
    """
    families: list[Metric] = [InfoMetricFamily("defectvision", "the server", {"version": version})]
    families += _families(_asked(sources, failed))
    latency = HistogramMetricFamily(
        f"{PREFIX}verdict_latency_seconds", "from the arrival of a frame to its verdict", labels=["stream"]
    )
    for name, histogram in latencies.items():
        latency.add_metric([name], _cumulative(histogram), histogram.total)
    return Taken([*families, latency])


def written(read: Taken, accept: str) -> tuple[bytes, str]:
    """The text of a scrape, and its media type. For a thread.

    Args:
        accept: the header of who asks.
    """
    registry = CollectorRegistry()
    registry.register(read)
    ProcessCollector(registry=registry)
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def _asked(sources: Sequence[HasFigures], failed: set[HasFigures]) -> Iterator[Figure]:
    left = MOST_LINES
    for source in sources:
        try:
            figures = [*islice(source.figures(), left)]
        except Exception:  # the others are worth no less for it
            if source not in failed:
                failed.add(source)
                log.exception("figures of %s cannot be read; said once", type(source).__name__)
            continue
        yield from figures
        left -= len(figures)


def _families(figures: Iterable[Figure]) -> list[Metric]:
    found: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for figure in figures:
        family = found.get(figure.name)
        if family is None:
            make = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
            family = found[figure.name] = make(PREFIX + figure.name, figure.help, labels=[*figure.labels])
        family.add_metric([*figure.labels.values()], figure.value)
    return [*found.values()]


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    counts, sum_ = [], 0
    for edge, count in zip((*SECONDS, float("inf")), histogram.counts, strict=True):
        sum_ += count
        counts.append(("+Inf" if edge == float("inf") else f"{edge:g}", float(sum_)))
    return counts
