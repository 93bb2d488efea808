"""An agent brings a real spool to a real hub."""

import contextlib
import itertools
import threading
from random import Random

import pytest

from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.sample_hub import SampleHub
from edgewise.agent.site.sample_turns import SampleTurns
from edgewise.agent.site.sample_upload import SampleUpload
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import UnauthenticatedError, UnavailableError
from edgewise.protocols import samples
from edgewise.protocols.samples import encode_sample
from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter
from support.answering import answering_server, plain
from support.api_world import ApiWorld
from support.captured_samples import captured, picture, spool
from support.sockets import dead_port
from support.waiting import wait_for


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = ApiWorld(tmp_path_factory.mktemp("hub"))
    with world.serving():
        world.open_clients()
        yield world
        world.close_clients()


NAMES = itertools.count()


class Uploading:
    """A site's spool, and what brings it to the hub."""

    def __init__(self, directory, url, token, site):
        self.directory = directory / "spool"
        self.stop = threading.Event()
        self.hub = SampleHub(url, token, site)
        self.reader = SpoolReader(self.directory)
        self.upload = SampleUpload(
            self.reader,
            self.hub,
            bucket=TokenBucket(None),
            quota=DailyQuota(StateDirectory(directory / "state"), None),
            pause=lambda seconds: self.stop.wait(min(seconds, 0.05)),
            is_stopped=self.stop.is_set,
            is_fetching=lambda: False,
            random=Random(7),
        )


@pytest.fixture
def uploads():
    with contextlib.ExitStack() as stack:

        def upload(*words):
            uploading = Uploading(*words)
            stack.callback(uploading.hub.close)
            return uploading

        yield upload


@pytest.fixture
def made(world, tmp_path, uploads):
    site = world.site(f"site-{next(NAMES)}")
    return uploads(tmp_path, world.url, site.token, site.name), site.name


def ids(world, site):
    shown = world.viewer.get("/api/v1/samples", params={"site": site, "limit": 1000}).raise_for_status().json()
    return {one["id"] for one in shown["samples"]}


def test_what_was_captured_is_at_the_hub_and_nothing_is_left_in_the_spool(world, made):
    uploading, site = made
    samples = [captured(number, site=site, priority=number % 4) for number in range(60)]
    spool(uploading.directory, samples, segment_bytes=4096)
    assert uploading.upload.once() > 4
    assert ids(world, site) == {each.sample_id for each in samples}
    assert uploading.reader.segments() == []
    one = samples[33]
    assert world.viewer.get(f"/api/v1/samples/{one.sample_id}/picture").content == picture(33)


def test_samples_go_while_others_are_captured(world, made):
    uploading, site = made
    thread = threading.Thread(target=uploading.upload.run)
    thread.start()
    writer = SpoolWriter(uploading.directory, SpoolBounds(segment_bytes=4096), writer="w0")
    samples = [captured(number, site=site) for number in range(60)]
    try:
        for each in samples:
            writer.offer(each.sample_id, each.priority, encode_sample(each))
            writer.flush()
        writer.close()
        wait_for(lambda: ids(world, site) == {each.sample_id for each in samples}, timeout_s=30)
        wait_for(lambda: not uploading.reader.segments(), timeout_s=30)
    finally:
        uploading.stop.set()
        thread.join()


def test_a_large_segment_goes_in_pieces(world, made):
    uploading, site = made
    large = captured(1, site=site, request=picture(1) + bytes(700_000))
    spool(uploading.directory, [large])
    assert uploading.upload.once() == 1
    assert ids(world, site) == {large.sample_id}


def test_samples_of_a_gateway_that_calls_the_site_otherwise_arrive(world, made):
    uploading, site = made
    sample = captured(1, site="elsewhere")
    spool(uploading.directory, [sample])
    assert uploading.upload.once() == 1
    assert ids(world, site) == {sample.sample_id}


def test_samples_of_a_newer_gateway_wait_for_a_newer_hub(world, made, monkeypatch, caplog):
    uploading, site = made
    sample = captured(2, site=site)
    spool(uploading.directory, [sample])
    with monkeypatch.context() as patched:
        patched.setattr(samples, "FORMS", ())
        assert uploading.upload.once() == 0
    assert len(list(uploading.directory.glob("*.seg"))) == 1
    assert caplog.text.count("bring the hub up to date, and it is taken") >= 1
    assert uploading.upload.backlog.held_up == 1
    uploading.upload._turns = SampleTurns()
    assert uploading.upload.once() == 1
    assert ids(world, site) == {sample.sample_id}


def test_a_hub_that_is_away_or_refuses_leaves_the_spool_as_it_is(world, made, uploads, tmp_path):
    uploading, site = made
    spool(uploading.directory, [captured(1, site=site)])
    refused = uploads(tmp_path, world.url, "ews_wrong", site)
    with pytest.raises(UnauthenticatedError):
        refused.upload.once()
    with dead_port() as port:
        away = uploads(tmp_path, f"http://127.0.0.1:{port}", "ews_any", site)
        with pytest.raises(UnavailableError, match="does not answer"):
            away.upload.once()
    with answering_server(plain(400, b"<html>Bad Request</html>")) as url:
        behind_a_proxy = uploads(tmp_path, url, "ews_any", site)
        with pytest.raises(UnavailableError, match="400"):
            behind_a_proxy.upload.once()
    assert len(uploading.reader.segments()) == 1
    assert uploading.upload.once() == 1
