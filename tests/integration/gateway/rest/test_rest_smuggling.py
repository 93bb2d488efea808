"""Nothing that a client sends can change where its request ends for the site."""

import pytest

SECRET = b"POST /v1/models/secret:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


REFUSED = {
    "length and chunked": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECRET,
    "two lengths": b"Content-Length: 0\r\nContent-Length: 75\r\n\r\n" + SECRET,
    "two equal lengths": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": b"Content-Length: 0, 75\r\n\r\n" + SECRET,
    "signed length": b"Content-Length: +2\r\n\r\n{}",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECRET,
    "hidden chunked": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECRET,
    "chunked and identity": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECRET,
    "space before the colon": b"Content-Length : 75\r\n\r\n" + SECRET,
    "folded field": b"X-A: 1\r\n Content-Length: 75\r\n\r\n" + SECRET,
    "bare line feed": b"X-A: 1\nContent-Length: 75\r\n\r\n" + SECRET,
    "bare carriage return": b"X-A: 1\rContent-Length: 75\r\n\r\n" + SECRET,
    "null byte": b"X-A: 1\x00\r\n\r\n",
    "two hosts": b"Host: evil\r\n\r\n",
    "bad chunk size": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + SECRET,
    "chunk longer than its size": b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + SECRET,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_two_servers_could_read_differently_is_refused(tools, name):
    async def main():
        async with tools.raw_site() as (site, seen), tools.gateway(site) as gateway:
            app = await gateway.app()
            await app.send(b"POST %b HTTP/1.1\r\nHost: x\r\n%b" % (tools.predict, REFUSED[name]))
            answer = await app.answer()
            assert answer.status in (400, 501)
            assert await app.rest() == b"", "nothing after the refusal"
            assert seen == []

    tools.run(main)


def _without_own(head: bytes) -> list[bytes]:
    own = (b"host", b"via", b"x-request-id", b"x-edgewise-deadline-ms")
    return [line for line in head.split(b"\r\n")[1:-2] if line.partition(b":")[0] not in own]


PASSED = {
    "chunked becomes a length": (
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n%x\r\n%b\r\n0\r\nContent-Length: 99\r\n\r\n"
        % (len(SECRET), SECRET),
        b"abc" + SECRET,
        [],
    ),
    "an empty chunked body": (b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", []),
    "a length named by Connection": (
        b"Connection: content-length\r\nContent-Length: %d\r\n\r\n%b" % (len(SECRET), SECRET),
        SECRET,
        [],
    ),
    "host and id named by Connection": (
        b"Connection: host, x-request-id, via, x-edgewise-deadline-ms\r\nContent-Length: 2\r\n\r\n{}",
        b"{}",
        [],
    ),
    "a field that only looks like one": (
        b"X-Content-Length: 75\r\nContent-Length: 2\r\n\r\n{}",
        b"{}",
        [b"x-content-length: 75"],
    ),
    "no body at all": (b"\r\n", b"", []),
}


@pytest.mark.parametrize("name", PASSED)
def test_what_passes_is_framed_anew(tools, name):
    request, body, fields = PASSED[name]

    async def main():
        async with tools.raw_site() as (site, seen), tools.gateway(site) as gateway:
            app = await gateway.app()
            await app.send(b"POST %b HTTP/1.1\r\nHost: x\r\n%b" % (tools.predict, request))
            assert (await app.answer()).status == 200
            assert (await app.ask(body=b"second")).status == 200
            assert len(seen) == 2, "one request in, one request out"
            head, _, sent = seen[0].partition(b"\r\n\r\n")
            head += b"\r\n\r\n"
            assert sent == body
            lines = _without_own(head)
            assert lines.count(b"content-length: %d" % len(body)) == 1
            assert sorted(lines) == sorted([b"content-length: %d" % len(body), *fields])
            for own in (b"host: ", b"x-request-id: ", b"x-edgewise-deadline-ms: ", b"via: "):
                assert head.count(b"\r\n" + own) == 1
            assert seen[1].endswith(b"second")

    tools.run(main)


def test_an_absolute_target_is_sent_in_origin_form_to_our_site(tools):
    async def main():
        async with tools.raw_site() as (site, seen), tools.gateway(site) as gateway:
            answer = await (await gateway.app()).ask(b"http://evil.example:99" + tools.predict + b"?a=b")
            assert answer.status == 200
            assert seen[0].startswith(
                b"POST %b?a=b HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % (tools.predict, site.rest.port)
            )

    tools.run(main)


@pytest.mark.parametrize("value", [b"x\x0bcontent-length: 9", b"\xff\xfe", b"a" * 5000, b"\t tabs \t", b"c\xc3\xa9"])
def test_an_id_is_one_field_whatever_it_holds(tools, value):
    async def main():
        async with tools.raw_site() as (site, seen), tools.gateway(site) as gateway:
            app = await gateway.app()
            answer = await app.ask(headers=b"X-Request-Id: %b\r\n" % value)
            if answer.status == 400:
                assert seen == []
                return
            wanted = value.strip(b" \t")[:128]
            assert answer.headers[b"x-request-id"] == wanted
            assert b"\r\nx-request-id: %b\r\n" % wanted in seen[0]
            assert (await app.ask()).status == 200

    tools.run(main)


BAD_ANSWERS = {
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    "not HTTP": b"220 smtp ready\r\n\r\n",
    "bytes behind the end": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "folded field": b"HTTP/1.1 200 OK\r\nX: 1\r\n Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_answer_that_cannot_be_understood_is_not_passed_on(tools, name):
    async def main():
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        async with (
            tools.raw_site(lambda _: BAD_ANSWERS[name]) as (site, _),
            tools.gateway(site, edge) as gateway,
        ):
            answer = await (await gateway.app()).ask()
            assert (answer.status, answer.body) == (200, b'{"by":"edge"}')
            assert answer.headers[b"x-edgewise-attempts"] == b"2"

    tools.run(main)
