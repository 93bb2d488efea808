"""The gateway's container beside a model server's: one network, no rights, nothing lost at the end."""

import json

import pytest

from e2e.containers.engine import answered, asked, container

REST = 8080
JPEG = {"content-type": "image/jpeg"}
PREDICT = "/v1/models/pets:predict"


@pytest.fixture(scope="module")
def site(images, models, cat):
    volume = ("--volume", f"{models}:/models:ro")
    with container(images["model-server"], ports=(8501,), options=volume) as unit:
        answered(unit.url(8501) + PREDICT, cat, JPEG)
        yield unit


@pytest.mark.parametrize("target", ["gateway", "gateway-kubernetes"])
def test_it_answers_from_its_site_and_ends_with_0(images, site, cat, tmp_path, target):
    address = site.inspected("{{.NetworkSettings.IPAddress}}")
    config = tmp_path / "gateway.toml"
    config.write_text(f'[[site]]\nname = "factory-7"\ntier = "edge"\nrest = "http://{address}:8501"\n')
    config.chmod(0o644)
    volume = ("--volume", f"{config}:/etc/edgewise/gateway.toml:ro")
    with container(images[target], ports=(REST,), options=volume) as unit:
        headers, body, _ = answered(unit.url(REST) + PREDICT, cat, JPEG)
        assert headers["x-edgewise-site"] == "factory-7"
        assert json.loads(body)["predictions"][0]["verdict"] == "cat"
        assert asked(f"{unit.url(REST)}/edgewise/v1/links")[0]["content-type"].startswith("application/json")
        assert unit.run("touch", "/file", check=False).returncode != 0
        assert unit.health() == (0, "healthy")
        assert unit.stop() == 0
