"""Endpoints by the Kubernetes API: the real client against an API over real HTTP."""

import asyncio
import contextlib
import importlib.util
import logging
import socket

import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.gateway.discovery import KubernetesSource
from edgewise.gateway.endpoints import Endpoint
from support.endpoint_listener import EndpointListener

WAIT_S = 20.0
END, DROP = None, None


@pytest.fixture(autouse=True)
def _signs(api):
    """What the fake takes as signs, of the same module as the fake."""
    module = type(api).__init__.__globals__
    globals().update(END=module["END"], DROP=module["DROP"])


def endpoints(*numbers):
    return tuple(Endpoint(f"10.0.0.{number}", 8501) for number in numbers)


def entry(number, **conditions):
    return {
        "addresses": [f"10.0.0.{number}"],
        "conditions": {"ready": True, **conditions},
        "targetRef": {"uid": f"pod-{number}"},
    }


def slice_of(*entries):
    ports = [{"name": "rest", "port": 8501, "protocol": "TCP"}, {"name": "grpc", "port": 8500, "protocol": "TCP"}]
    return {"addressType": "IPv4", "ports": ports, "endpoints": [*entries]}


def pods(*numbers):
    return slice_of(*map(entry, numbers))


class Fallback:
    def __init__(self):
        self.listener = None

    def start(self, listener):
        self.listener = listener
        listener.found(endpoints(77))

    def hint(self):
        pass

    def close(self):
        self.listener = None


@contextlib.asynccontextmanager
async def following(namespace="edgewise", fallback=None, **options):
    listener = EndpointListener()
    source = KubernetesSource(
        "model-server", namespace, "rest", fallback=fallback, **{"first_pause_s": 0.01, **options}
    )
    source.start(listener)
    try:
        yield listener
    finally:
        source.close()
        await asyncio.to_thread(source._thread.join, WAIT_S)
        assert not source._thread.is_alive()


async def got(thing):
    """The next of a queue of the fake's threads."""
    return await asyncio.to_thread(thing.get, timeout=WAIT_S)


def test_it_lists_and_watches(api):
    async def scenario():
        api.put("model-server-a", pods(1, 2))
        async with following() as listener:
            assert await listener.next() == endpoints(1, 2)
            path, words, token = await got(api.asked)
            assert path == "/apis/discovery.k8s.io/v1/namespaces/edgewise/endpointslices"
            assert words["labelSelector"] == "kubernetes.io/service-name=model-server"
            assert token.lower() == "bearer a-token"
            watch = await got(api.watches)
            _, words, _ = await got(api.asked)
            assert words["resourceVersion"] == "101"
            assert words["allowWatchBookmarks"].lower() == "true"
            assert words["labelSelector"] == "kubernetes.io/service-name=model-server"

            api.change(watch, "model-server-b", pods(3))
            assert await listener.next() == endpoints(1, 2, 3)
            api.change(watch, "model-server-a", slice_of(entry(1), entry(2, ready=False, terminating=True)))
            assert await listener.next() == endpoints(1, 3)
            api.change(watch, "model-server-a")
            assert await listener.next() == endpoints(3)
            # Scaled to nothing: that is obeyed.
            api.change(watch, "model-server-b", slice_of())
            assert await listener.next() == ()

    asyncio.run(scenario())


def test_when_none_is_ready_those_that_are_still_there_stay(api, caplog):
    async def scenario():
        api.put("a", pods(1, 2))
        async with following() as listener:
            assert await listener.next() == endpoints(1, 2)
            watch = await got(api.watches)
            api.change(watch, "a", slice_of(entry(1, ready=False), entry(2)))
            assert await listener.next() == endpoints(2)
            api.change(watch, "a", slice_of(entry(1, ready=False), entry(2, ready=False)))
            assert await listener.next() == endpoints(2)
            assert "no endpoint of Service model-server is ready any more; the 1 that are still there" in caplog.text
            api.change(watch, "a", slice_of(entry(1), entry(2, ready=False)))
            assert await listener.next() == endpoints(1)
            api.change(watch, "a", slice_of())
            assert await listener.next() == ()

    asyncio.run(scenario())


def test_a_change_that_changes_no_endpoint_is_not_told(api):
    async def scenario():
        api.put("a", pods(1))
        async with following() as listener:
            assert await listener.next() == endpoints(1)
            watch = await got(api.watches)
            api.change(watch, "a", slice_of(entry(1, serving=True)))
            api.tell(watch, "BOOKMARK", {"metadata": {"resourceVersion": "7"}})
            api.change(watch, "a", pods(2))
            assert await listener.next() == endpoints(2)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("serves", "refuses", "path"),
    [
        ({"v1beta1", "endpoints"}, set(), "/apis/discovery.k8s.io/v1beta1/namespaces/edgewise/endpointslices"),
        ({"endpoints"}, set(), "/api/v1/namespaces/edgewise/endpoints"),
        ({"v1", "v1beta1", "endpoints"}, {"v1", "v1beta1"}, "/api/v1/namespaces/edgewise/endpoints"),
    ],
)
def test_which_kind_there_is_is_found_out_by_asking(api, serves, refuses, path):
    async def scenario():
        api.serves, api.refuses = serves, refuses
        slices = "endpointslices" in path
        first, second = (pods(1), pods(2)) if slices else (subsets(1), subsets(2))
        api.put("model-server", first)
        async with following() as listener:
            assert await listener.next() == endpoints(1)
            watch = await got(api.watches)
            asked = [api.asked.get_nowait() for _ in range(api.asked.qsize())]
            assert [one[0] for one in asked[-2:]] == [path, path]
            if not slices:
                assert asked[-1][1]["fieldSelector"] == "metadata.name=model-server"
            api.change(watch, "model-server", second)
            assert await listener.next() == endpoints(2)

    def subsets(number):
        return {"subsets": [{"addresses": [{"ip": f"10.0.0.{number}"}], "ports": [{"name": "rest", "port": 8501}]}]}

    asyncio.run(scenario())


def test_who_may_see_nothing_is_told_which_role_is_missing(api):
    async def scenario():
        api.refuses = {"v1", "v1beta1", "endpoints"}
        async with following() as listener:
            why = await listener.next()
            assert "Role in namespace edgewise with the verbs get, list and watch on endpointslices" in why
            assert 'User "system:serviceaccount:edgewise:gateway" cannot list resource' in why
            api.put("a", pods(1))
            api.refuses = set()
            await listener.until(endpoints(1))

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["event", "status"])
def test_a_version_that_is_too_old_is_no_failure(api, how):
    async def scenario():
        api.put("a", pods(1))
        async with following() as listener:
            assert await listener.next() == endpoints(1)
            watch = await got(api.watches)
            if how == "event":
                api.put("a", pods(2))
                api.gone(watch)
            else:
                api.watches_gone, api.after_gone = 1, pods(2)
                watch.put(END)
            assert await listener.until(endpoints(2)) == []

    asyncio.run(scenario())


def test_a_watch_that_ends_is_begun_again_from_what_was_seen_last(api):
    async def scenario():
        api.put("a", pods(1))
        async with following() as listener:
            assert await listener.next() == endpoints(1)
            watch = await got(api.watches)
            api.tell(watch, "BOOKMARK", {"metadata": {"resourceVersion": "555"}})
            watch.put(END)
            watch = await got(api.watches)
            asked = [api.asked.get_nowait() for _ in range(api.asked.qsize())]
            assert [one[1].get("resourceVersion") for one in asked] == [None, "101", "555"]
            api.change(watch, "a", pods(2))
            assert await listener.next() == endpoints(2)

    asyncio.run(scenario())


def test_a_connection_that_breaks_is_told_and_made_again(api):
    async def scenario():
        api.put("a", pods(1))
        async with following() as listener:
            assert await listener.next() == endpoints(1)
            watch = await got(api.watches)
            api.put("a", pods(2))
            watch.put(DROP)
            (why,) = await listener.until(endpoints(2))
            assert "the Kubernetes API cannot be asked about Service model-server" in why
            await got(api.watches)

    asyncio.run(scenario())


def test_a_watch_that_is_silent_for_too_long_is_given_up(api):
    async def scenario():
        api.put("a", pods(1))
        async with following(watch_s=1, silence_s=-0.8) as listener:
            assert await listener.next() == endpoints(1)
            await got(api.watches)
            api.put("a", pods(2))
            (why,) = await listener.until(endpoints(2))
            assert "Timeout" in why

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((500, b'{"message":"etcdserver: leader changed"}'), "etcdserver: leader changed (500)"),
        ((401, b'{"message":"Unauthorized"}'), "Unauthorized (401)"),
        ((503, b"nobody home"), "(503)"),
        ((200, b"<html>a login page"), "not JSON"),
        ((200, b"[]"), "no object"),
        ((404, b"not found"), "neither EndpointSlices nor Endpoints"),
    ],
)
def test_answers_that_are_of_no_use(api, answer, why):
    async def scenario():
        api.answer_with = answer
        async with following() as listener:
            assert why in await listener.next()
            api.put("a", pods(1))
            api.answer_with = None
            await listener.until(endpoints(1))

    asyncio.run(scenario())


def test_while_the_api_was_never_there_the_fallback_is_used(api, tmp_path, monkeypatch):
    async def scenario():
        config = tmp_path / "kubeconfig"
        good = config.read_text()
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            port = nobody.getsockname()[1]
        config.write_text(good.replace(str(api.port), str(port)))
        fallback = Fallback()
        async with following(fallback=fallback) as listener:
            before = await listener.until(endpoints(77))
            assert "Connection refused" in before[0]
            # A config that is put right is read again.
            api.put("a", pods(1))
            config.write_text(good)
            await listener.until(endpoints(1))
            assert fallback.listener is None

    asyncio.run(scenario())


@pytest.mark.parametrize("content", [None, "", "no: config", "{"])
def test_a_config_that_cannot_be_used(api, tmp_path, content):
    async def scenario():
        config = tmp_path / "kubeconfig"
        if content is None:
            config.unlink()
        else:
            config.write_text(content)
        async with following() as listener:
            assert "cannot be asked about Service model-server: " in await listener.next()

    asyncio.run(scenario())


def test_the_namespace_is_the_gateways_own_where_none_is_named(api):
    async def scenario():
        api.put("a", pods(1))
        async with following(namespace=None) as listener:
            assert await listener.next() == endpoints(1)
            assert "/namespaces/edgewise/" in (await got(api.asked))[0]

    asyncio.run(scenario())


def test_what_looks_like_a_mistake_is_said(api, caplog):
    async def scenario():
        async with following() as listener:
            assert await listener.next() == ()
            assert "there is nothing of Service model-server in namespace edgewise" in caplog.text
            watch = await got(api.watches)
            odd = pods(1)
            odd["ports"][0]["name"] = "http"
            api.change(watch, "a", odd)
            assert await listener.next() == ()
            assert "Service model-server has no port named 'rest'" in caplog.text
            assert "(grpc, http); set port_name" in caplog.text

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())


def test_without_the_package(monkeypatch):
    async def scenario():
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        source = KubernetesSource("model-server", None, "rest")
        with pytest.raises(FailedPreconditionError, match=r"install edgewise\[kubernetes\], or use discover = \"dns\""):
            source.start(EndpointListener())

    asyncio.run(scenario())
