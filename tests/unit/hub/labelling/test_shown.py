"""A sample as a hub tells it, and as who asks reads it."""

from dataclasses import asdict

from pydantic import TypeAdapter

from edgewise.hub.console.answers import as_type
from edgewise.hub.labelling import shown as read
from edgewise.hub.samples import shown as told
from edgewise.hub.store.samples import KeptSample

ONE = KeptSample(
    id="0" * 32,
    site="north",
    source="door",
    captured_s=1.0,
    received_s=2.0,
    model="pets",
    version=3,
    kind="picture",
    content_type="image/jpeg",
    blob_sha256="1" * 64,
    size_bytes=99,
    model_digest="2" * 64,
    answered_by="edge",
    tier="edge",
    reasons=("low-confidence", "disagreement"),
    priority=2,
    confidence=0.4,
    request_id="r1",
    prediction="cat",
    scores=(("cat", 0.4), ("dog", 0.3)),
    width=640,
    height=480,
    label="dog",
    labelled_by="mia",
    labelled_at_s=3.0,
    synthetic=True,
    details={"other": "cloud", "other_prediction": "dog", "said_site": "hall 3"},
)


def test_all_that_a_hub_tells_is_read():
    said = TypeAdapter(told.Shown).dump_python(told.shown(ONE, told.Retention(labelled_days=7.0)), mode="json")
    assert asdict(as_type(read.Shown, said, "sample")) == {
        **said,
        "reasons": tuple(said["reasons"]),
        "scores": tuple(said["scores"]),
    }
    assert all(said.values())


def test_a_hub_that_tells_less_is_understood():
    assert as_type(read.Shown, {"id": "0" * 32, "new": 1}, "sample") == read.Shown("0" * 32)
