"""TLS over real sockets, with certificates made by the openssl command."""

import asyncio
import contextlib
import shutil
import socket
import ssl

import pytest

from edgewise.net.errors import TlsMaterialError
from edgewise.net.tls import TlsFiles
from support.certificates import Authority, openssl

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(directory, "authority"), Authority(directory, "stranger")
    leaves = {name: authority.leaf(name) for name in ("one", "two", "client")}
    leaves["strange"] = stranger.leaf("strange")
    encrypted = directory / "encrypted.key"
    openssl("ec", "-in", leaves["one"][1], "-aes128", "-passout", "pass:x", "-out", encrypted)
    return {"authority": authority, "stranger": stranger, "encrypted": encrypted, **leaves}


@pytest.fixture
def files(world, tmp_path):
    """Paths in use, holding pair `one`; `put` replaces what they hold."""

    class Files:
        certificate, key, client_ca = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "ca.pem"

        def put(self, pair, client_ca=None):
            shutil.copy(pair[0], self.certificate)
            shutil.copy(pair[1], self.key)
            if client_ca is not None:
                shutil.copy(client_ca, self.client_ca)

    made = Files()
    made.put(world["one"], world["authority"].certificate)
    return made


def client_context(world, pair=None, *, highest=ssl.TLSVersion.TLSv1_3, alpn=("http/1.1",)):
    context = ssl.create_default_context(cafile=str(world["authority"].certificate))
    context.maximum_version = highest
    context.set_alpn_protocols(list(alpn))
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


async def connect(house, context):
    return await house.connect(ssl=context, server_hostname="localhost")


def presented(peer):
    names = peer.writer.get_extra_info("peercert")["subject"]
    return dict(pair for name in names for pair in name)["commonName"]


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_over_tls(net, world, files, highest):
    async def main():
        tls = TlsFiles(files.certificate, files.key)
        async with net.serving(ssl_context=tls.context) as house:
            peer = await connect(house, client_context(world, highest=highest, alpn=("h2", "http/1.1")))
            assert peer.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            body = b"x" * 700_000
            for _ in range(2):
                await peer.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                assert (await peer.answer()).body == b"POST /p?|" + body
            await peer.send(GET * 50)
            for _ in range(50):
                assert (await peer.answer()).status == 200
            bad = await connect(house, client_context(world))
            await bad.send(b"nonsense\r\n\r\n")
            assert (await bad.answer()).status == 400
            leaving = await connect(house, client_context(world))
            house.server.handler = house.seen.append
            await leaving.send(GET)
            await house.until(lambda: not house.seen[-1].closed)
            cancelled = []
            house.seen[-1].on_cancel = lambda: cancelled.append(1)
            await leaving.close()
            await house.until(lambda: bool(cancelled))

    net.run(main)


def test_old_versions_and_plain_text_are_refused(net, world, files):
    async def main():
        tls = TlsFiles(files.certificate, files.key)
        assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
        async with net.serving(ssl_context=tls.context) as house:
            plain = await house.connect()
            await plain.send(GET)
            assert not (await plain.rest()).startswith(b"HTTP")
            await house.until(lambda: house.server.open_connections == 0)
            good = await connect(house, client_context(world))
            await good.send(GET)
            assert (await good.answer()).status == 200

    net.run(main)


def test_a_new_pair_is_taken_over_and_open_connections_stay(net, world, files):
    async def main():
        tls = TlsFiles(files.certificate, files.key)
        async with net.serving(ssl_context=tls.context) as house:
            before = await connect(house, client_context(world))
            assert presented(before) == "one"
            assert not tls.reload_if_changed()
            files.put(world["two"])
            assert tls.reload_if_changed()
            assert tls.generation == 2
            assert tls.material.certificate == world["two"][0].read_bytes()
            after = await connect(house, client_context(world))
            assert presented(after) == "two"
            for peer in (before, after):
                await peer.send(GET)
                assert (await peer.answer()).status == 200

    net.run(main)


def test_a_broken_pair_keeps_the_old_and_says_why(net, world, files):
    async def main():
        tls = TlsFiles(files.certificate, files.key)
        async with net.serving(ssl_context=tls.context) as house:
            for pair, why in [
                ((world["two"][0], world["one"][1]), "the private key does not belong to the certificate"),
                ((world["two"][0], world["two"][0]), "do not fit together"),
                ((world["one"][0], world["encrypted"]), "encrypted"),
            ]:
                files.put(pair)
                with pytest.raises(TlsMaterialError, match=why):
                    tls.reload_if_changed()
            files.certificate.write_bytes(b"nonsense")
            with pytest.raises(TlsMaterialError, match="not PEM"):
                tls.reload_if_changed()
            files.key.unlink()
            with pytest.raises(TlsMaterialError, match="cannot be read"):
                tls.reload_if_changed()
            assert tls.generation == 1
            assert presented(await connect(house, client_context(world))) == "one"
            files.put(world["two"])
            assert tls.reload_if_changed()
            assert presented(await connect(house, client_context(world))) == "two"

    net.run(main)


def test_unusable_files_at_start(world, tmp_path):
    with pytest.raises(TlsMaterialError, match="cannot be read"):
        TlsFiles(tmp_path / "none", tmp_path / "none")
    (tmp_path / "ca").write_bytes(b"\xff")
    with pytest.raises(TlsMaterialError, match="client CA"):
        TlsFiles(*world["one"], tmp_path / "ca")


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificates_and_a_change_of_their_authority(net, world, files, highest):
    async def main():
        tls = TlsFiles(files.certificate, files.key, files.client_ca)

        async def served(house, pair):
            try:
                peer = await connect(house, client_context(world, pair, highest=highest))
                await peer.send(GET)
                answered = (await peer.answer()).status == 200
            except (OSError, asyncio.IncompleteReadError):
                return False
            return answered

        async with net.serving(ssl_context=tls.context) as house:
            assert await served(house, world["client"])
            assert not await served(house, None)
            assert not await served(house, world["strange"])
            files.put(world["one"], world["stranger"].certificate)
            assert tls.reload_if_changed()
            assert not await served(house, world["client"])
            assert await served(house, world["strange"])

    net.run(main)


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_does_not_outlive_its_authority(net, world, files, highest):
    async def main():
        tls = TlsFiles(files.certificate, files.key, files.client_ca)
        context = client_context(world, world["client"], highest=highest)

        def blocking(port, session):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=net.wait_s) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
            ):
                secure.sendall(GET)
                return secure.recv(15), secure.session

        async with net.serving(ssl_context=tls.context) as house:
            answered, session = await asyncio.to_thread(blocking, house.port, None)
            assert answered == b"HTTP/1.1 200 OK"
            files.put(world["one"], world["stranger"].certificate)
            assert tls.reload_if_changed()
            for _ in range(2):
                with contextlib.suppress(OSError):
                    answered, _ = await asyncio.to_thread(blocking, house.port, session)
                    assert answered == b""
            files.put(world["two"], world["authority"].certificate)
            assert tls.reload_if_changed()
            answers = []
            for _ in range(2):
                with contextlib.suppress(OSError):
                    answers.append((await asyncio.to_thread(blocking, house.port, session))[0])
            assert b"HTTP/1.1 200 OK" in answers

    net.run(main)
