"""Samples in a hub that a test made: small pictures, each of another shade, as a site would have captured them."""

import io

from PIL import Image

from edgewise.hub.samples.pictures import keep
from edgewise.hub.store.samples import KeptSample, SegmentDone

FIRST_S = 1_795_000_000.0


def picture(shade, size=(64, 48)):
    file = io.BytesIO()
    Image.new("RGB", size, (shade * 37 % 256, 80 + shade * 11 % 150, 160)).save(file, "PNG")
    return file.getvalue()


def sample_id(number):
    return f"{number:032x}"


def take(hub, number, content=None, **about):
    """Have a hub in a thread take one in. Those with greater numbers are newer.

    Returns: its id.
    """
    content = picture(number) if content is None else content
    said = {
        "site": "berlin",
        "source": "door-1",
        "captured_s": FIRST_S + number,
        "received_s": FIRST_S + number + 1,
        "model": "pets",
        "version": 3,
        "kind": "picture",
        "content_type": "image/png",
        "size_bytes": len(content),
        "reasons": ("low-confidence",),
        "confidence": 0.6,
        "prediction": "dog",
        "scores": (("dog", 0.6), ("cat", 0.4)),
        "width": 64,
        "height": 48,
        **about,
    }
    sample = KeptSample(id=sample_id(number), blob_sha256=keep(hub.hub.blobs.upload, content), **said)
    segment = SegmentDone(sample.site, f"segment-{number}", "0" * 64, 0, 0, 0, said["received_s"])
    hub.asked(hub.hub.plane.samples.take, [sample], segment)
    return sample.id


def label_of(hub, one):
    return hub.asked(hub.hub.plane.samples.one, one).label
