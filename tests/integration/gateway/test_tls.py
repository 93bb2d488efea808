"""TLS and keys towards apps, and TLS, client certificates and keys towards sites."""

import http.client
import shutil
import ssl

import grpc
import pytest

from edgewise.wire import serving_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
KEY = "the-apps-key"


def trusting(authority, leaf=None):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if leaf is not None:
        context.load_cert_chain(*map(str, leaf))
    return context


def serving(leaf, client_authority=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, leaf))
    if client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(str(client_authority.certificate))
    return context


def predict_request():
    request = serving_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    request.inputs["x"].dtype = 1
    for size in (1, 8):
        request.inputs["x"].tensor_shape.dim.add(size=size)
    request.inputs["x"].tensor_content = bytes(32)
    return request


@pytest.fixture(scope="module")
def edge(start_server, tiny_repository):
    return start_server("--repository", str(tiny_repository))


def channel(gateway, authority, leaf=None):
    certificate, key = (path.read_bytes() for path in leaf) if leaf else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, certificate)
    return grpc.secure_channel(f"localhost:{gateway.grpc_port}", credentials)


def test_apps_speak_tls(start_gateway, edge, authority, ask, grpc_calls):
    ours = authority("gateway-ca")
    certificate, key = ours.leaf("gateway")
    gateway = start_gateway("--edge", edge.rest_url, "--tls-cert", str(certificate), "--tls-key", str(key))
    assert gateway.rest_url.startswith("https://")
    asked = ask(gateway, trusting(ours))
    assert asked.predict().status == 200
    assert asked.rest("/v2/health/ready").status == 200
    data, code, _, trailers = grpc_calls(channel(gateway, ours)).call(PREDICT, predict_request())
    assert code is None
    assert data
    assert trailers["x-edgewise-site"] == "edge"
    with pytest.raises(OSError, match="certificate"):
        ask(gateway, ssl.create_default_context()).predict()
    plain = http.client.HTTPConnection("localhost", gateway.rest_port, timeout=20)
    plain.request("GET", "/v2/health/live")
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.getresponse()
    plain.close()
    assert gateway.stop() == 0


def test_new_certificates_are_followed(start_gateway, edge, authority, ask, until, tmp_path):
    first, second = authority("first-ca"), authority("second-ca")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for source, target in zip(first.leaf("first"), (certificate, key), strict=True):
        shutil.copy(source, target)
    words = ("--edge", edge.rest_url, "--tls-cert", str(certificate), "--tls-key", str(key), "--workers", "2")
    gateway = start_gateway(*words)
    asked = ask(gateway, trusting(first))
    assert asked.predict().status == 200
    for source, target in zip(second.leaf("second"), (certificate, key), strict=True):
        shutil.copy(source, target)

    def all_are_new():
        asked = ask(gateway, trusting(second))
        try:
            return [asked.predict().status for _ in range(12)] == [200] * 12
        except OSError:
            return False

    until(all_are_new)
    with pytest.raises(OSError, match="certificate"):
        asked.predict()
    certificate.write_text("nonsense")
    until(lambda: "stays so" in gateway.log)
    assert ask(gateway, trusting(second)).predict().status == 200
    assert gateway.stop() == 0


def test_apps_show_certificates_where_asked(start_gateway, edge, authority, ask, grpc_calls):
    ours, theirs, others = authority("mtls-gateway-ca"), authority("apps-ca"), authority("strangers-ca")
    certificate, key = ours.leaf("mtls-gateway")
    app, stranger = theirs.leaf("app"), others.leaf("stranger")
    gateway = start_gateway(
        *("--edge", edge.rest_url, "--tls-cert", str(certificate), "--tls-key", str(key)),
        *("--tls-client-ca", str(theirs.certificate)),
    )
    assert ask(gateway, trusting(ours, app)).predict().status == 200
    assert grpc_calls(channel(gateway, ours, app)).call(PREDICT, predict_request())[1] is None
    for leaf in (None, stranger):
        with pytest.raises(OSError, match="."):
            ask(gateway, trusting(ours, leaf)).predict()
        assert grpc_calls(channel(gateway, ours, leaf)).call(PREDICT, predict_request())[1].name == "UNAVAILABLE"
    assert gateway.stop() == 0


def test_apps_show_keys_where_asked(start_gateway, start_server, tiny_repository, edge, ask, grpc_calls, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"camera {KEY}\n")
    gateway = start_gateway("--edge", edge.rest_url, "--api-keys", str(keys))
    asked, calls = ask(gateway), grpc_calls(gateway)
    for headers in ({}, {"x-api-key": "wrong-key"}, {"authorization": "Basic x"}):
        for answer in (asked.predict(headers=headers), asked.rest("/metrics", headers=headers)):
            assert answer.status == 401
            assert list(answer.json) == ["error"]
        assert calls.call(PREDICT, predict_request(), metadata=tuple(headers.items()))[1].name == "UNAUTHENTICATED"
    for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
        assert asked.predict(headers=headers).status == 200
        assert calls.call(PREDICT, predict_request(), metadata=tuple(headers.items()))[1] is None
    assert asked.rest("/v2/health/ready").status == asked.rest("/health").status == asked.rest("/").status == 200
    shown = asked.metrics({"x-api-key": KEY})
    assert shown["edgewise_gateway_errors_total{code=UNAUTHENTICATED}"] == 6
    assert shown["edgewise_gateway_received_requests_total"] == 10
    assert gateway.stop() == 0


def test_the_apps_key_is_not_shown_to_sites(start_gateway, plain_site, ask, tmp_path):
    site = plain_site()
    keys = tmp_path / "keys"
    keys.write_text(f"camera {KEY}\n")
    (tmp_path / "site.key").write_text("the-sites-key\n")
    (tmp_path / "gateway.toml").write_text(
        f'[[site]]\nname = "edge"\ntier = "edge"\nrest = "{site.url}"\napi_key_file = "site.key"\n'
    )
    gateway = start_gateway("--config", str(tmp_path / "gateway.toml"), "--api-keys", str(keys))
    for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
        assert ask(gateway).predict(headers=headers).status == 200
    for _, fields in site.asked:
        assert fields["authorization"] == "Bearer the-sites-key"
        assert KEY not in str(fields)
    assert gateway.stop() == 0


def test_sites_speak_tls_and_ask_for_certificates_and_keys(
    start_server, start_gateway, tiny_repository, authority, ask, grpc_calls, tmp_path
):
    sites_ca, ours = authority("sites-ca"), authority("gateways-ca")
    certificate, key = sites_ca.leaf("site")
    (tmp_path / "keys").write_text("gateway the-sites-key\n")
    (tmp_path / "site.key").write_text("the-sites-key\n")
    site = start_server(
        *("--repository", str(tiny_repository), "--api-keys", str(tmp_path / "keys")),
        *("--tls-cert", str(certificate), "--tls-key", str(key), "--tls-client-ca", str(ours.certificate)),
    )
    us, our_key = ours.leaf("us")
    credentials = f'ca = "{sites_ca.certificate}"\ncert = "{us}"\nkey = "{our_key}"\napi_key_file = "site.key"\n'
    for name, addresses, protocols in (
        ("rest", f'rest = "https://localhost:{site.rest_port}"\n', ("rest", "grpc")),
        ("grpc", f'grpc = "grpcs://localhost:{site.grpc_port}"\n', ("grpc",)),
        (
            *("named", f'rest = "https://127.0.0.1:{site.rest_port}"\nserver_name = "localhost"\n'),
            ("rest", "grpc"),
        ),
    ):
        config = tmp_path / f"{name}.toml"
        config.write_text(f'[[site]]\nname = "{name}"\ntier = "edge"\n{addresses}{credentials}')
        gateway = start_gateway("--config", str(config))
        if "rest" in protocols:
            answer = ask(gateway).predict()
            assert (answer.status, answer.site) == (200, name)
        _, code, words, trailers = grpc_calls(gateway).call(PREDICT, predict_request())
        assert code is None, words
        assert trailers["x-edgewise-site"] == name
        assert gateway.stop() == 0


def test_a_site_that_is_not_who_it_should_be_is_not_spoken_to(
    start_gateway, plain_site, authority, ask, until, tmp_path
):
    believed, other = authority("believed-ca"), authority("other-ca")
    site = plain_site(serving(other.leaf("impostor")))
    config = tmp_path / "gateway.toml"
    config.write_text(f'[[site]]\nname = "edge"\ntier = "edge"\nrest = "{site.url}"\nca = "{believed.certificate}"\n')
    gateway = start_gateway("--config", str(config))
    asked = ask(gateway)
    assert asked.predict().status == 503
    until(lambda: asked.state("edge") == "DOWN")
    assert site.asked == []
    config.write_text(config.read_text().replace(str(believed.certificate), str(other.certificate)))
    gateway.process.send_signal(1)
    until(lambda: asked.predict().status == 200)
    assert gateway.stop() == 0
