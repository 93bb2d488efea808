"""Segments of a site's spool come in, whole or not at all, once."""

import hashlib
import io
import json
import os
import shutil
import struct
from types import SimpleNamespace

import pytest

from edgewise.core.errors import InvalidArgumentError, UnavailableError
from edgewise.hub.api import segment_taking, sweeping
from edgewise.hub.samples.shown import Retention
from edgewise.protocols.samples import encode_sample
from edgewise.spool.records import HEADER, frame_head
from support.captured_samples import ANSWER, captured, picture, segments, tfs_rest

NAME = "1-0-w0.5f3a9c01-0000000012"


@pytest.fixture(scope="module")
def site(world):
    return world.site("alpha")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def segment_of(*records):
    return HEADER + b"".join(frame_head(record) + record for record in records)


def patch(site, name, content, *, offset=0, end=None, digest="", length=0):
    headers = {
        "upload-offset": str(offset),
        "upload-length": str(length or len(content)),
        "upload-sha256": digest or sha256(content),
    }
    return site.client.patch(f"/api/v1/sites/{site.name}/segments/{name}", content=content[offset:end], headers=headers)


def state(site, name, content=b""):
    headers = {"upload-sha256": sha256(content)} if content else {}
    return site.client.get(f"/api/v1/sites/{site.name}/segments/{name}", headers=headers).raise_for_status().json()


def shown(world, sample_id):
    return world.viewer.get(f"/api/v1/samples/{sample_id}").raise_for_status().json()


def test_a_segment_that_comes_in_pieces_is_taken_in_once(world, site):
    world.publish(1)
    samples = [captured(number) for number in range(5)]
    content = segment_of(*(encode_sample(each) for each in samples))
    half = len(content) // 2
    assert state(site, NAME) == {"offset": 0, "done": False, "samples": 0, "doubled": 0, "refused": 0}
    assert patch(site, NAME, content, end=half).json()["offset"] == half
    assert state(site, NAME, content)["offset"] == half
    elsewhere = patch(site, NAME, content, offset=3, end=half)
    assert (elsewhere.status_code, elsewhere.json()["offset"], elsewhere.headers["upload-offset"]) == (
        409,
        half,
        str(half),
    )
    done = {"offset": len(content), "done": True, "samples": 5, "doubled": 0, "refused": 0}
    assert patch(site, NAME, content, offset=half).json() == done
    assert patch(site, NAME, content).json() == done
    assert state(site, NAME, content)["done"]
    # Of the same name, and other bytes: it has not come.
    assert not state(site, NAME, b"other")["done"]
    found = shown(world, samples[2].sample_id)
    assert (found["site"], found["prediction"], found["reasons"]) == ("alpha", "dog", ["low-confidence"])
    assert found["scores"] == [{"label": "beagle", "score": 0.7}, {"label": "tabby", "score": 0.2}]
    assert (found["model"], found["version"], len(found["model_digest"])) == ("pets", 1, 64)
    assert (found["kind"], found["width"], found["height"], found["bytes"]) == ("picture", 8, 6, len(picture(2)))
    assert found["expires"]
    assert world.viewer.get(f"/api/v1/samples/{samples[2].sample_id}/picture").content == picture(2)


def test_samples_that_are_there_already_are_kept_once(world, site):
    samples = [captured(number) for number in range(100, 103)]
    first, second = segment_of(*map(encode_sample, samples[:2])), segment_of(*map(encode_sample, samples))
    patch(site, "1-0-w0.5f3a9c01-0000000001", first).raise_for_status()
    world.operator.put(f"/api/v1/samples/{samples[0].sample_id}/label", json={"label": "cat"}).raise_for_status()
    told = patch(site, "1-0-w0.5f3a9c01-0000000002", second).raise_for_status().json()
    assert (told["samples"], told["doubled"]) == (1, 2)
    assert shown(world, samples[0].sample_id)["label"] == "cat"


def test_what_another_site_sent_is_not_written_over(world, site):
    other = world.site("beta")
    mine, theirs = captured(200), captured(201, site="beta", sample_id=captured(200).sample_id)
    patch(site, "1-0-w0.5f3a9c01-0000000003", segment_of(encode_sample(mine))).raise_for_status()
    told = patch(other, "1-0-w0.5f3a9c01-0000000003", segment_of(encode_sample(theirs))).raise_for_status().json()
    assert (told["samples"], told["doubled"], told["refused"]) == (0, 0, 1)
    assert shown(world, mine.sample_id)["site"] == "alpha"


def test_a_site_sends_for_itself_alone_whatever_its_gateway_calls_it(world, site, caplog):
    theirs, mine, nameless = captured(210, site="beta"), captured(211), captured(212, site="")
    for number, samples in enumerate(((theirs, mine), (nameless,), (captured(213, site="beta"),)), 60):
        content = segment_of(*map(encode_sample, samples))
        assert patch(site, f"1-0-w0.5f3a9c01-{number:010d}", content).json()["samples"] == len(samples)
    said = [
        (shown(world, each.sample_id)["site"], shown(world, each.sample_id)["said_site"])
        for each in (theirs, mine, nameless)
    ]
    assert said == [("alpha", "beta"), ("alpha", ""), ("alpha", "")]
    assert caplog.text.count("Let the gateway's [capture] site be 'alpha', or leave it out") == 1
    assert world.site("gamma").client.get(f"/api/v1/sites/alpha/segments/{NAME}").status_code == 403


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nothing of the kind", "at the start of a segment"),
        (segment_of(b"x")[:-1] + b"y", "wrong checksum"),
        (segment_of(b"x" * 50)[:-20], "is cut off"),
        (HEADER + struct.pack("<II", 0xFFFFFFFF, 0), "is the most"),
    ],
)
def test_a_damaged_segment_is_refused_whole(site, content, said):
    name = "1-0-w0.5f3a9c01-0000000005"
    answer = patch(site, name, content)
    assert answer.status_code == 400
    # Agents that know no reasons go by the code.
    assert (answer.json()["reason"], answer.json()["code"]) == ("SEGMENT_DAMAGED", "INVALID_ARGUMENT")
    assert said in answer.json()["error"]
    assert state(site, name, content)["offset"] == 0


def test_nothing_of_a_segment_that_is_refused_is_kept(world, site):
    good = captured(440)
    first = encode_sample(good)
    newer, damaged = segment_of(first, b"edgewise-sample/2\nx"), segment_of(first, b"x")[:-1] + b"y"
    for number, (content, status) in enumerate(((newer, 409), (damaged, 400)), 50):
        assert patch(site, f"1-0-w0.5f3a9c01-{number:010d}", content).status_code == status
        assert not world.hub.blobs.has(sha256(good.request))


class Changing(io.BytesIO):
    """On a disk whose last byte is another one when it is read again."""

    def seek(self, place):
        self.getbuffer()[-1] ^= 0xFF
        return super().seek(place)


def other_bytes(patched, hub, content):
    patched.setattr(hub.segments.files, "open", lambda *_: Changing(content))


def failing_store(error):
    """Which keeps two pictures."""

    def fail(patched, _hub, _content):
        keep, left = segment_taking.keep, [1, 2]

        def failing(upload, picture):
            if not left:
                raise error
            left.pop()
            return keep(upload, picture)

        patched.setattr(segment_taking, "keep", failing)

    return fail


def swept(world, monkeypatch):
    later_s = world.hub.clock() + sweeping.GRACE_S + 1.0
    with monkeypatch.context() as patched:
        patched.setattr(world.hub, "clock", lambda: later_s)
        world.run(sweeping.sweep(world.hub))


@pytest.mark.parametrize(
    ("number", "fail"),
    [
        (470, other_bytes),
        (480, failing_store(UnavailableError("no room"))),
        (490, failing_store(InvalidArgumentError("other bytes than the name promises"))),
    ],
)
def test_pictures_of_a_segment_that_a_failing_disk_ends_go_with_the_next_sweep(world, site, monkeypatch, number, fail):
    samples = [captured(number + each) for each in range(3)]
    first, shared, _ = samples
    theirs = captured(number, site=f"zeta-{number}", request=shared.request)
    name, content = f"1-0-w0.5f3a9c01-{number:010d}", segment_of(*map(encode_sample, samples))
    with monkeypatch.context() as patched:
        fail(patched, world.hub, content)
        refusal = patch(site, name, content)
    # The segment is not to blame: it stays here, and is asked for once more.
    assert (refusal.status_code, refusal.json().get("reason")) == (503, None)
    assert world.hub.blobs.has(sha256(first.request))
    patch(world.site(theirs.site), name, segment_of(encode_sample(theirs))).raise_for_status()
    swept(world, monkeypatch)
    assert not world.hub.blobs.has(sha256(first.request))
    # A sample of another site names this one.
    assert world.hub.blobs.has(sha256(shared.request))
    # Taken in later all the same, it has all of its pictures.
    assert patch(site, name, content, offset=len(content)).json()["samples"] == 3
    swept(world, monkeypatch)
    assert all(world.hub.blobs.has(sha256(each.request)) for each in samples)


def test_a_segment_that_came_damaged_is_asked_for_once_more(world, site):
    name, content = "1-0-w0.5f3a9c01-0000000006", segment_of(encode_sample(captured(220)))
    damaged = b"?" + content[1:]
    assert patch(site, name, damaged, digest=sha256(content)).status_code == 409
    assert patch(site, name, content).json()["samples"] == 1


def test_records_that_are_no_samples_are_counted_and_passed_over(world, site):
    sample = captured(230)
    content = segment_of(b"edgewise-sample/x\nwhatever", encode_sample(sample))
    told = patch(site, "1-0-w0.5f3a9c01-0000000007", content).json()
    assert (told["samples"], told["refused"]) == (1, 1)
    assert 'edgewise_hub_samples_total{outcome="refused"}' in world.viewer.get("/metrics").text


@pytest.mark.parametrize(
    ("number", "content", "said"),
    [
        (70, segment_of(b"edgewise-sample/9\nfrom later"), "edgewise-sample/9, and 1 is the newest"),
        (
            71,
            segment_of(encode_sample(captured(231)).replace(b"rest-image", b"kind-2-img")),
            "form: found 'kind-2-img'",
        ),
        (72, b"edgewise-spool/12\n??", "edgewise-spool/12, and 1 is the newest"),
    ],
)
def test_what_a_newer_gateway_wrote_stays_until_the_hub_is_up_to_date(site, number, content, said):
    name = f"1-0-w0.5f3a9c01-{number:010d}"
    answer = patch(site, name, content)
    told = answer.json()
    assert (answer.status_code, told["code"], told["reason"]) == (409, "FAILED_PRECONDITION", "SEGMENT_NEWER")
    assert said in told["error"]
    assert "bring the hub up to date" in told["error"]
    assert "offset" not in told
    # It is asked for again without being sent again.
    assert state(site, name, content)["offset"] == len(content)
    assert patch(site, name, content, offset=len(content)).json() == told


def test_each_picture_of_a_request_is_a_sample_and_tensors_are_one(world, site):
    answers = [{**ANSWER, "verdict": verdict} for verdict in ("dog", "cat")]
    answer = json.dumps({"predictions": answers}).encode()
    pair = captured(240, form="tfs-rest", request=tfs_rest(picture(240), picture(241)), answer=answer)
    bare = captured(243, request=b"")
    tensor = captured(
        242, form="tfs-rest", content_type="text/html", request=b'{"instances": [[1.0, 2.0]]}', answer=b""
    )
    told = patch(site, "1-0-w0.5f3a9c01-0000000008", segment_of(*map(encode_sample, (pair, tensor, bare)))).json()
    assert told["samples"] == 4
    # The app's picture was not to be kept.
    assert (shown(world, bare.sample_id)["bytes"], shown(world, bare.sample_id)["prediction"]) == (0, "dog")
    assert world.viewer.get(f"/api/v1/samples/{bare.sample_id}/picture").content == b""
    assert [shown(world, pair.sample_id + tail)["prediction"] for tail in ("", "-1")] == ["dog", "cat"]
    found = shown(world, tensor.sample_id)
    assert (found["kind"], found["content_type"], found["width"], found["prediction"]) == (
        "tensor",
        "application/json",
        None,
        "",
    )
    answer = world.viewer.get(f"/api/v1/samples/{tensor.sample_id}/picture")
    assert answer.content == tensor.request
    assert answer.headers["content-disposition"].startswith("attachment")


def test_names_lengths_and_digests_are_looked_at(site):
    content = segment_of(encode_sample(captured(250)))
    assert patch(site, "..%2F..%2Fetc", content).status_code in {400, 404}
    assert patch(site, "1-0-w0-1", content).status_code == 400
    assert patch(site, NAME, content, length=1 << 40).status_code == 400
    refusal = patch(site, NAME, content, digest="x")
    assert (refusal.status_code, refusal.json().get("reason")) == (400, None)
    assert patch(site, NAME, b"x" * ((1 << 20) + 1)).status_code == 413
    assert patch(site, "1-0-w0.5f3a9c01-0000000009", content, length=len(content) - 1).status_code == 409


def test_what_a_site_has_under_way_is_bounded(world, site):
    content = b"x" * 100
    for number in range(20, 30):
        patch(site, f"1-0-w0.5f3a9c01-{number:010d}", content, end=50, digest=sha256(content)).raise_for_status()
    directory = world.hub.segments.files._directory / "alpha"
    assert len(list(directory.iterdir())) <= 4


def test_a_full_disk_is_told_and_nothing_is_lost(world, site, monkeypatch):
    content = segment_of(encode_sample(captured(260)))
    name = "1-0-w0.5f3a9c01-0000000010"
    patch(site, name, content, end=100).raise_for_status()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
        answer = patch(site, name, content, offset=100)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "300")
    assert patch(site, name, content, offset=100).json()["done"]


def test_pictures_of_a_segment_leave_the_reserve_alone_as_well(world, site, monkeypatch):
    sample = captured(261)
    content, name = segment_of(encode_sample(sample)), "1-0-w0.5f3a9c01-0000000013"
    patch(site, name, content, end=100).raise_for_status()
    free = [world.hub.segments.files._reserve_bytes + len(content), 0]
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free.pop(0)))
        answer = patch(site, name, content, offset=100)
    assert (answer.status_code, answer.headers["retry-after"], free) == (503, "300", [])
    assert not world.hub.blobs.has(sha256(sample.request))
    assert patch(site, name, content, offset=len(content)).json()["done"]


def test_what_real_spools_write_is_taken(world, site):
    samples = [captured(300 + number) for number in range(40)]
    told = [patch(site, name, content).raise_for_status().json() for name, content in segments(samples)]
    assert all(one["done"] for one in told)
    assert sum(one["samples"] for one in told) == 40


def test_samples_go_when_their_time_is_over_and_their_pictures_after_them(world, site, monkeypatch):
    kept, gone, shared = captured(400), captured(401), captured(402)
    content = segment_of(*map(encode_sample, (kept, gone, shared)))
    patch(site, "1-0-w0.5f3a9c01-0000000040", content).raise_for_status()
    world.operator.put(f"/api/v1/samples/{kept.sample_id}/label", json={"label": "dog"}).raise_for_status()
    released = picture(402)
    world.publish_content(released, 40)
    blobs, hub = world.hub.blobs, world.hub
    later_s = hub.clock() + 31 * 86400.0
    with monkeypatch.context() as patched:
        patched.setattr(hub, "clock", lambda: later_s)
        patched.setattr(hub.plane._books, "clock", lambda: later_s)
        world.run(sweeping.sweep(hub))
        assert world.viewer.get(f"/api/v1/samples/{gone.sample_id}").status_code == 404
        assert blobs.has(sha256(gone.request))
        later_s += sweeping.GRACE_S + 1.0
        world.run(sweeping.sweep(hub))
    assert not blobs.has(sha256(gone.request))
    assert blobs.has(sha256(kept.request))
    assert blobs.has(sha256(released))
    assert shown(world, kept.sample_id)["expires"] == ""


def test_the_picture_of_a_sample_that_is_another_sites_goes_again(world, site, monkeypatch):
    other, mine = world.site("epsilon"), captured(450)
    theirs = captured(451, site="epsilon", sample_id=mine.sample_id)
    patch(site, "1-0-w0.5f3a9c01-0000000052", segment_of(encode_sample(mine))).raise_for_status()
    told = patch(other, "1-0-w0.5f3a9c01-0000000052", segment_of(encode_sample(theirs))).raise_for_status().json()
    assert told["refused"] == 1
    later_s = world.hub.clock() + sweeping.GRACE_S + 1.0
    monkeypatch.setattr(world.hub, "clock", lambda: later_s)
    world.run(sweeping.sweep(world.hub))
    assert not world.hub.blobs.has(sha256(theirs.request))
    assert world.hub.blobs.has(sha256(mine.request))


def test_releases_are_read_once_a_sweep(world, site, monkeypatch):
    samples = [captured(number) for number in (460, 461, 462)]
    patch(site, "1-0-w0.5f3a9c01-0000000053", segment_of(*map(encode_sample, samples))).raise_for_status()
    for each in samples:
        world.operator.delete(f"/api/v1/samples/{each.sample_id}").raise_for_status()
    asked, named_by_releases = [], sweeping.named_by_releases

    async def noted(hub):
        asked.append(hub)
        return await named_by_releases(hub)

    later_s = world.hub.clock() + sweeping.GRACE_S + 1.0
    monkeypatch.setattr(world.hub, "clock", lambda: later_s)
    monkeypatch.setattr(sweeping, "AT_ONCE", 1)
    monkeypatch.setattr(sweeping, "named_by_releases", noted)
    world.run(sweeping.sweep(world.hub))
    assert len(asked) == 1
    assert not any(world.hub.blobs.has(sha256(each.request)) for each in samples)


def test_labelled_samples_go_as_well_where_that_is_wanted(world, site, monkeypatch):
    sample = captured(410)
    patch(site, "1-0-w0.5f3a9c01-0000000041", segment_of(encode_sample(sample))).raise_for_status()
    world.operator.put(f"/api/v1/samples/{sample.sample_id}/label", json={"label": "dog"}).raise_for_status()
    monkeypatch.setattr(world.hub, "retention", Retention(None, 1.0))
    later_s = world.hub.clock() + 2 * 86400.0
    monkeypatch.setattr(world.hub, "clock", lambda: later_s)
    world.run(sweeping.sweep(world.hub))
    assert world.viewer.get(f"/api/v1/samples/{sample.sample_id}").status_code == 404


def test_pruning_leaves_pictures_of_samples_alone(world, site):
    sample, stray = captured(420), b"of nothing"
    patch(site, "1-0-w0.5f3a9c01-0000000042", segment_of(encode_sample(sample))).raise_for_status()
    world.operator.put(f"/blobs/sha256/{sha256(stray)}", content=stray).raise_for_status()
    for content in (stray, sample.request):
        os.utime(world.hub.blobs._path(sha256(content)), (0, 0))
    pruned = world.admin.post("/api/v1/blobs/prune", json={"unwanted_for_s": 3600.0}).raise_for_status().json()
    assert sha256(stray) in {one["sha256"] for one in pruned["blobs"]}
    assert world.viewer.get(f"/api/v1/samples/{sample.sample_id}/picture").content == sample.request


def test_a_picture_that_is_not_here_is_told(world, site):
    sample = captured(430)
    patch(site, "1-0-w0.5f3a9c01-0000000043", segment_of(encode_sample(sample))).raise_for_status()
    world.hub.blobs._path(sha256(sample.request)).unlink()
    answer = world.viewer.get(f"/api/v1/samples/{sample.sample_id}/picture")
    assert answer.status_code == 404
    assert "--with-blobs" in answer.json()["error"]
