"""The samples in a spool whose writers have closed it."""

from edgewise.core.capture.limits import Limit
from edgewise.core.capture.rules import RULES, CaptureRules
from edgewise.gateway.capture_config import CaptureConfig, ModelCapture
from edgewise.protocols.samples import decode_sample
from edgewise.spool import SpoolReader, records_of

NO_LIMITS = dict.fromkeys(RULES, Limit(1e6, 1e9))
NOTHING = CaptureRules(sampled=0.0, low_confidence=0.0, disagreement=None, drift=None, limits=NO_LIMITS)


def capturing(directory, rules, **kept):
    """A config that captures the models `tiny` and `pets` by these rules."""
    model = ModelCapture(rules=rules, **kept)
    return CaptureConfig(directory / "kept", "factory-7", models={"tiny": model, "pets": model})


def samples_in(directory):
    """Those that are there, the oldest first."""
    reader = SpoolReader(directory)
    reader.adopt()
    found = [
        decode_sample(record)
        for segment in reader.segments()
        for record in records_of(reader.read(segment, 0, segment.size_bytes))
    ]
    return sorted(found, key=lambda sample: sample.captured_s)
