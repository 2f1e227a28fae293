"""Numbers for Prometheus: counters by name, and what others say of themselves when they are asked."""

from server.metrics.exposition import taken, written
from server.metrics.of_line import OfRecords, OfSinks
from server.metrics.of_streams import OfStreams
from server.metrics.part_log import PartLog
from server.metrics.totals import Totals

__all__ = ["OfRecords", "OfSinks", "OfStreams", "PartLog", "Totals", "taken", "written"]
