"""Endpoints are reached by address and believed by the name of their site."""

import shutil
import ssl

import pytest

from support.waiting import WAIT_S

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def serving(leaf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, leaf))
    return context


def slice_of(site):
    port = site.server.server_address[1]
    return {"addressType": "IPv4", "ports": [{"name": "", "port": port}], "endpoints": [{"addresses": ["127.0.0.1"]}]}


def test_certificates_are_for_the_sites_name(api, start_gateway, plain_site, ask, until, authority, tmp_path):
    ours = authority("site-ca")
    right = plain_site(serving(ours.leaf("right", valid_for="DNS:model-server.edgewise.svc")))
    wrong = plain_site(serving(ours.leaf("wrong", valid_for="IP:127.0.0.1,DNS:other.edgewise.svc")))
    api.put("a", slice_of(right))
    api.put("b", slice_of(wrong))
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[[site]]\nname = "cluster"\ntier = "cloud"\ndiscover = "kubernetes"\n'
        f'rest = "https://model-server.edgewise.svc:8501"\nca = "{ours.certificate}"\n'
    )
    gateway = start_gateway("--config", str(config))
    api.watches.get(timeout=WAIT_S)
    asked = ask(gateway)

    def states():
        (site,) = asked.links()["sites"]
        return {endpoint["name"]: endpoint["state"] for endpoint in site["endpoints"]}

    names = {site: f"127.0.0.1:{site.server.server_address[1]}" for site in (right, wrong)}
    until(lambda: states().get(names[wrong]) == "DOWN")
    assert states()[names[right]] == "UP"
    for _ in range(5):
        answer = asked.predict()
        assert (answer.status, answer.site) == (200, "cluster")
    assert wrong.asked == []
    assert {fields["host"] for _, fields in right.asked} == {"model-server.edgewise.svc:8501"}
    assert gateway.stop() == 0
