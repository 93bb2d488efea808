"""Samples on the disk of a site until they have arrived at the hub: bounded, counted, and safe from kill -9."""

from edgewise.spool.bounds import SpoolBounds
from edgewise.spool.counters import SpoolCounters
from edgewise.spool.reader import Segment, SpoolReader
from edgewise.spool.records import records_of
from edgewise.spool.writer import SpoolWriter

__all__ = ["Segment", "SpoolBounds", "SpoolCounters", "SpoolReader", "SpoolWriter", "records_of"]
