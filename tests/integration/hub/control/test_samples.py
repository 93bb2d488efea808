"""Samples and their labels, in each database."""

from dataclasses import replace

import pytest

from edgewise.core.errors import NotFoundError, UnavailableError
from edgewise.hub.store.samples import PICTURE, KeptSample, SampleFilter, SegmentDone
from support.control_world import OPERATOR, manifest_sha256, release

DAY_S = 86400.0


def kept(number, **other):
    values = {
        "id": f"{number:032x}",
        "site": "alpha",
        "source": "porch",
        "captured_s": 1_790_000_000.25 + number // 2,
        "received_s": 1_800_000_000.0,
        "model": "pets",
        "version": 1,
        "kind": PICTURE,
        "content_type": "image/png",
        "blob_sha256": f"{number:064x}",
        "size_bytes": 10,
        "reasons": ("sampled", "low-confidence"),
        "confidence": 0.5,
        "prediction": "dog",
        "scores": (("beagle", 0.7), ("tabby \x00 cat", 0.1)),
        "width": 8,
        "height": 6,
        "details": {"form": "rest-image"},
    }
    return KeptSample(**{**values, **other})


def segment(name="1-0-w0.5f3a9c01-0000000001", **other):
    values = {"site": "alpha", "name": name, "sha256": "0" * 64, "samples": 0, "doubled": 0, "refused": 2}
    return SegmentDone(**{**values, "done_s": 1_800_000_000.0, **other})


def test_a_segment_is_taken_once_and_lasts(world):
    world.release(1)
    books = world.plane.samples
    done = books.take([kept(number) for number in range(5)], segment())
    assert (done.samples, done.doubled, done.refused) == (5, 0, 2)
    world.restart()
    books = world.plane.samples
    assert books.segment("alpha", done.name) == books.segment("alpha", done.name, "0" * 64) == done
    assert books.segment("alpha", done.name, "1" * 64) is None
    assert books.take([kept(9)], segment()) == done
    again = books.take([kept(3), kept(4), kept(5)], segment("1-0-w0.5f3a9c01-0000000002"))
    assert (again.samples, again.doubled) == (1, 2)
    found, _ = books.list(SampleFilter())
    assert [one.id for one in found] == [kept(number).id for number in (5, 4, 3, 2, 1, 0)]
    digest = manifest_sha256(release(1))
    assert found[-1] == replace(kept(0), model_digest=digest, scores=(("beagle", 0.7), ("tabby \ufffd cat", 0.1)))


def test_what_fails_to_commit_is_as_if_it_had_not_come(world, failing):
    with failing(world, after=False), pytest.raises(UnavailableError):
        world.plane.samples.take([kept(1)], segment())
    assert world.plane.samples.segment("alpha", segment().name) is None
    assert world.plane.samples.list(SampleFilter()) == ([], "")
    assert world.plane.samples.take([kept(1)], segment()).samples == 1


def test_pages_cut_between_samples_of_the_same_moment(world):
    books = world.plane.samples
    books.take([kept(number) for number in range(9)], segment())
    seen, after = [], ""
    while True:
        found, after = books.list(SampleFilter(), after=after, limit=2)
        seen += [one.id for one in found]
        if not after:
            break
    assert seen == [kept(number).id for number in reversed(range(9))]


def test_filters_mean_what_they_say(world):
    books = world.plane.samples
    books.take([kept(1), kept(2, version=2, source="door", reasons=("all",)), kept(3, model="tiny")], segment())
    books.label({kept(1).id: "dog"}, OPERATOR)

    def names(**asked):
        return [int(one.id, 16) for one in books.list(SampleFilter(**asked))[0]]

    assert names(version=2) == names(source="door") == names(reason="all") == [2]
    assert names(reason="sampled") == [3, 1]
    assert names(reason="%") == names(reason="sample_") == []
    assert names(model="tiny") == [3]
    assert names(label="dog") == names(is_labelled=True) == [1]
    assert names(is_labelled=False) == [3, 2]
    assert names(since_s=kept(2).captured_s) == [3, 2]
    assert names(until_s=kept(2).captured_s) == [1]
    assert names(site="beta") == []


def test_labels_are_counted_and_remembered_and_go_with_their_sample(world):
    books = world.plane.samples
    books.take([kept(number) for number in range(4)], segment())
    assert books.label({kept(0).id: "dog", kept(1).id: "dog", kept(2).id: "cat"}, OPERATOR) == 3
    assert books.label({kept(0).id: "dog", kept(1).id: ""}, OPERATOR) == 1
    counts = books.counts()
    assert (counts.labels, counts.unlabelled) == ({"cat": 1, "dog": 1}, 2)
    assert [(one.before, one.after) for one in books.history(kept(1).id)] == [("", "dog"), ("dog", "")]
    with pytest.raises(NotFoundError, match="there is no sample"):
        books.label({kept(0).id: "cat", "f" * 32: "cat"}, OPERATOR)
    assert books.one(kept(0).id).label == "dog"
    books.delete(kept(1).id, OPERATOR)
    assert books.history(kept(1).id) == []
    actions = [entry.action for entry in world.plane.audit()]
    assert actions[:3] == ["sample.delete", "sample.label", "sample.label"]


def test_time_ends_samples_and_their_blobs_wait_to_be_looked_at(world):
    books = world.plane.samples
    shared = kept(3, blob_sha256=kept(2).blob_sha256)
    books.take([kept(1), kept(2), shared], segment())
    books.label({shared.id: "dog"}, OPERATOR)
    now_s = world.now_s
    limits = {"unlabelled_before_s": now_s + 1.0, "labelled_before_s": None}
    assert books.expire(**limits, limit=1) == 1
    assert books.expire(**limits, limit=9) == 1
    assert books.expire(**limits, limit=9) == 0
    digests, named = books.leaving(before_s=now_s + 1.0, limit=9)
    assert set(digests) == {kept(1).blob_sha256, kept(2).blob_sha256}
    assert named == {kept(2).blob_sha256}
    books.left(digests)
    assert books.leaving(before_s=now_s + 1.0, limit=9) == ([], set())
    assert books.expire(unlabelled_before_s=None, labelled_before_s=now_s + 1.0, limit=9) == 1
    books.forget_segments(now_s + 1.0)
    assert books.segment("alpha", segment().name) is None
