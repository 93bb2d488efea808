"""Samples as a gateway captures them, and segments of a spool that hold them."""

import base64
import io
import json
import tempfile
import uuid
from pathlib import Path

from PIL import Image

from edgewise.protocols.samples import Sample, encode_sample
from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter

ANSWER = {"labels": ["tabby", "beagle"], "probabilities": [0.2, 0.7], "verdict": "dog"}


def picture(number, image_format="PNG"):
    """An encoded picture; another one for each number."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (number % 256, number // 256 % 256, 160)).save(file, image_format)
    return file.getvalue()


def captured(number, *, site="alpha", **other):
    """One sample."""
    values = {
        "sample_id": uuid.uuid5(uuid.NAMESPACE_OID, f"{site} {number}").hex,
        "site": site,
        "captured_s": 1_790_000_000.0 + number,
        "source": "porch",
        "model": "pets",
        "version": 1,
        "model_digest": "",
        "answered_by": "edge",
        "tier": "edge",
        "reasons": ("low-confidence",),
        "priority": 1,
        "confidence": 0.7,
        "request_id": f"r{number}",
        "form": "rest-image",
        "content_type": "image/png",
        "inference_header_length": None,
        "signature": "image",
        "request": picture(number),
        "answer": json.dumps({"predictions": [ANSWER]}).encode(),
        "answer_content_type": "application/json",
        "answer_json_length": None,
        "other": "",
        "other_answer": b"",
    }
    return Sample(**{**values, **other})


def tfs_rest(*contents):
    """The body of a request with pictures."""
    rows = [{"b64": base64.b64encode(content).decode()} for content in contents]
    return json.dumps({"signature_name": "image", "instances": rows}).encode()


def spool(directory, samples, *, segment_bytes=None, writer="w0"):
    """Write samples to a spool and close its segments."""
    made = SpoolWriter(directory, SpoolBounds(segment_bytes=segment_bytes), writer=writer)
    for sample in samples:
        assert made.offer(sample.sample_id, sample.priority, encode_sample(sample))
    made.flush()
    made.close()


def segments(samples, **options):
    """Names and contents of the segments that hold them."""
    with tempfile.TemporaryDirectory() as directory:
        spool(Path(directory), samples, **options)
        reader = SpoolReader(Path(directory))
        return [(each.name, reader.read(each, 0, each.size_bytes)) for each in reader.segments()]
