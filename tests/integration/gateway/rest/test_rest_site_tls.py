"""TLS towards sites."""

import shutil
import subprocess

import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.gateway.config import Address, SiteConfig, SiteTls
from edgewise.gateway.site import Site
from edgewise.net.http_server import HttpServer
from edgewise.net.tls import TlsFiles

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def _openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    """An authority and what it signed: (certificate, key) by name."""
    directory = tmp_path_factory.mktemp("site-tls")
    made = {}
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for name in ("authority", "stranger"):
        made[name] = (directory / f"{name}.pem", directory / f"{name}.key")
        _openssl(*new, "-subj", f"/CN={name}", "-keyout", made[name][1], "-out", made[name][0])
    for name, names in (("site", "IP:127.0.0.1"), ("named", "DNS:cloud.example"), ("gateway", "DNS:gateway")):
        made[name] = (directory / f"{name}.pem", directory / f"{name}.key")
        signed = ("-CA", made["authority"][0], "-CAkey", made["authority"][1])
        extra = ("-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE")
        _openssl(*new, "-subj", f"/CN={name}", *extra, *signed, "-keyout", made[name][1], "-out", made[name][0])
    return made


def _serve(tools, pems, name, *, tls, client_ca=None):
    """A TLS site and its configuration; run it within the returned coroutine."""
    site = tools.site("cloud", answers=tools.answer_name(b"cloud"))
    files = TlsFiles(*pems[name], client_ca)

    async def start():
        server = HttpServer(site, ssl_context=files.context)
        port = await server.start("127.0.0.1", 0)
        return server, SiteConfig("cloud", "cloud", rest=Address("127.0.0.1", port, tls=True), tls=tls)

    return site, start


@pytest.mark.parametrize(
    ("name", "wanted", "client_ca", "works"),
    [
        ("site", {"ca": "authority"}, None, True),
        ("site", {"ca": "stranger"}, None, False),
        ("site", {}, None, False),
        ("named", {"ca": "authority"}, None, False),
        ("named", {"ca": "authority", "server_name": "cloud.example"}, None, True),
        ("site", {"ca": "authority", "cert": "gateway"}, "authority", True),
        ("site", {"ca": "authority"}, "authority", False),
    ],
)
def test_a_site_is_believed_when_its_certificate_says_so(tools, pems, name, wanted, client_ca, works):
    certificate, key = pems[wanted["cert"]] if "cert" in wanted else (None, None)
    ca = pems[wanted["ca"]][0] if "ca" in wanted else None
    tls = SiteTls(ca=ca, cert=certificate, key=key, server_name=wanted.get("server_name"))

    async def main():
        site, start = _serve(tools, pems, name, tls=tls, client_ca=pems[client_ca][0] if client_ca else None)
        server, config = await start()
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        try:
            async with tools.gateway(config, edge) as gateway:
                app = await gateway.app()
                body = b"x" * 300_000
                answer = await app.ask(body=body)
                assert answer.body == (b'{"by":"cloud"}' if works else b'{"by":"edge"}')
                if works:
                    assert bytes(site.seen[0].body) == body
        finally:
            await server.close()

    tools.run(main)


@pytest.mark.parametrize("which", ["ca", "cert"])
def test_files_that_cannot_be_used_are_named(tmp_path, which):
    bad = tmp_path / "not-there.pem"
    config = SiteConfig("cloud", "cloud", rest=Address("h", 1, tls=True), tls=SiteTls(**{which: bad}))
    with pytest.raises(FailedPreconditionError, match=str(bad)):
        Site(config)


@pytest.mark.parametrize(("content", "ok"), [("key-of-site\n", True), ("", False), ("two words", False), ("é", False)])
def test_a_key_file_holds_one_word(tmp_path, content, ok):
    path = tmp_path / "key"
    path.write_text(content)
    config = SiteConfig("cloud", "cloud", rest=Address("h", 1), api_key_file=path)
    if ok:
        assert Site(config).authorization == b"Bearer key-of-site"
    else:
        with pytest.raises(FailedPreconditionError, match="one word"):
            Site(config)
