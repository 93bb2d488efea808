"""https and grpcs against the real server, with certificates made by the openssl command."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import sys
import threading

import numpy as np
import pytest

from edgewise.client import AsyncClient, Client, EdgewiseError, UnavailableError
from support.certificates import Authority

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
X = np.zeros((1, 8), np.float32)


@pytest.fixture(scope="module")
def secure(start_server, tiny_repository, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory, "authority")
    own, own_key = authority.leaf("server")
    client, client_key = authority.leaf("client")
    stranger = Authority(directory, "stranger").certificate
    words = ("--tls-cert", str(own), "--tls-key", str(own_key), "--tls-client-ca", str(authority.certificate))
    server = start_server("--repository", str(tiny_repository), *words)
    trust = {"ca_file": authority.certificate, "cert_file": client, "key_file": client_key}
    elsewhere = authority.leaf("elsewhere", valid_for="DNS:elsewhere.example")
    return {"server": server, "trust": trust, "stranger": stranger, "elsewhere": elsewhere}


def urls(secure):
    server = secure["server"]
    return f"https://127.0.0.1:{server.rest_port}", f"grpcs://127.0.0.1:{server.grpc_port}"


@pytest.mark.parametrize("which", [0, 1], ids=["https", "grpcs"])
def test_both_sides_show_certificates(secure, which):
    url = urls(secure)[which]
    with Client(url, **secure["trust"]) as client:
        assert client.predict("tiny", X).version == 2

    async def ask():
        async with AsyncClient(url, **secure["trust"]) as client:
            return await client.predict("tiny", X)

    assert asyncio.run(ask()).version == 2


@pytest.mark.parametrize("which", [0, 1], ids=["https", "grpcs"])
def test_a_server_that_is_not_trusted_is_refused(secure, which):
    words = secure["trust"] | {"ca_file": secure["stranger"]}
    with Client(urls(secure)[which], **words) as client, pytest.raises(UnavailableError):
        client.predict("tiny", X, timeout_s=5)


INNER = ("ipv4", "TSI_", "SSL_ERROR", "_ssl.c", "all addresses", "UNKNOWN", "routines", "OPENSSL", "Verification Check")


def refusals(url, **trust):
    """What the blocking client and the asynchronous one say of a server that they cannot talk to."""

    async def ask():
        async with AsyncClient(url, **trust) as client:
            await client.predict("tiny", X, timeout_s=5)

    messages = []
    with Client(url, **trust) as client, pytest.raises(UnavailableError) as caught:
        client.predict("tiny", X, timeout_s=5)
    messages.append(caught.value.message)
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(ask())
    messages.append(caught.value.message)
    for message in messages:
        assert url in message
        assert not [inner for inner in INNER if inner in message], message
    return messages


@pytest.mark.parametrize("which", [0, 1], ids=["https", "grpcs"])
def test_a_certificate_that_is_not_trusted_is_said_to_be(secure, which):
    for message in refusals(urls(secure)[which], **secure["trust"] | {"ca_file": secure["stranger"]}):
        assert "not trusted" in message
        assert "ca_file" in message


@pytest.mark.parametrize("which", [0, 1], ids=["https", "grpcs"])
def test_a_client_certificate_that_is_asked_for_is_named(secure, which):
    for message in refusals(urls(secure)[which], ca_file=secure["trust"]["ca_file"]):
        assert "client certificate" in message


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_a_certificate_for_another_name_is_said_to_be(secure, scheme):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*secure["elsewhere"])
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet():
            while True:
                try:
                    connection, _ = listener.accept()
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
            for message in refusals(url, ca_file=secure["trust"]["ca_file"]):
                assert "another name than 127.0.0.1" in message
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def test_the_command_says_why_and_the_library_nothing(secure, tmp_path, monkeypatch):
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    photograph = tmp_path / "cat.jpg"
    photograph.write_bytes(b"\xff\xd8\xff")
    url = urls(secure)[1]
    words = ("predict", "--url", url, "--ca-file", str(secure["stranger"]), str(photograph))
    done = subprocess.run(
        [sys.executable, "-m", "edgewise", *words], capture_output=True, text=True, timeout=60, check=False
    )
    reason = "its TLS certificate is not trusted; name the CA's certificate with ca_file"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{photograph}: cannot connect to {url}: {reason}\n"


def test_https_says_why_and_what_to_do(secure):
    async def ask(url):
        async with AsyncClient(url) as client:
            await client.predict("tiny", X)

    url = urls(secure)[0]
    with Client(url) as client, pytest.raises(UnavailableError, match="not trusted.*ca_file"):
        client.predict("tiny", X)
    with pytest.raises(UnavailableError, match="not trusted.*ca_file"):
        asyncio.run(ask(url))


@pytest.mark.parametrize("which", [0, 1], ids=["https", "grpcs"])
def test_a_client_without_its_certificate_is_refused(secure, which):
    words = {"ca_file": secure["trust"]["ca_file"]}
    with Client(urls(secure)[which], **words) as client, pytest.raises(UnavailableError):
        client.predict("tiny", X, timeout_s=5)


def test_plain_http_to_an_encrypted_port_is_an_error_of_the_tree(secure):
    url = urls(secure)[0].replace("https", "http")
    with Client(url) as client, pytest.raises(EdgewiseError):
        client.predict("tiny", X, timeout_s=5)
