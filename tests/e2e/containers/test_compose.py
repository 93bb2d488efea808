"""The whole system on one machine with compose: predict, cut, predict from the edge, heal, and leave nothing behind."""

import json
import os
import time

import jsonschema
import pytest
import yaml

from e2e.containers.engine import ROOT, answered, asked, free_port, podman, ran
from edgewise.client import Client
from support.waiting import wait_for

FILE = ROOT / "deploy" / "compose" / "compose.yaml"
CAT = ROOT / "examples" / "images" / "cat.jpg"
JPEG = {"content-type": "image/jpeg"}
RETURN_S = 90.0
PREDICT = "/v1/models/pets:predict"


@pytest.fixture(scope="module")
def project(tools, images, version):
    """Runs podman-compose on a project of the suite's own."""
    name = f"edgewise-test-{os.getpid()}"
    networks = f"10.{200 + os.getpid() % 50}"
    env = {
        **os.environ,
        "EDGEWISE_VERSION": version,
        "EDGEWISE_REST_PORT": str(free_port()),
        "EDGEWISE_GRPC_PORT": str(free_port()),
        "EDGEWISE_CLOUD_NETWORK": f"{networks}.1",
        "EDGEWISE_EDGE_NETWORK": f"{networks}.2",
    }

    def run(*words):
        program = str(tools / "bin" / "podman-compose")
        return ran(program, "--project-name", name, "--file", str(FILE), *words, env=env, timeout_s=300)

    run.name, run.env = name, env
    yield run
    run("down", "--volumes")
    assert left_behind(name) == []


def left_behind(name):
    """What still is there of a project."""
    containers = podman("ps", "--all", "--quiet", "--filter", f"label=io.podman.compose.project={name}").split()
    networks = [one for one in podman("network", "ls", "--format", "{{.Name}}").split() if one.startswith(name)]
    volumes = [one for one in podman("volume", "ls", "--format", "{{.Name}}").split() if one.startswith(name)]
    return containers + networks + volumes


def state_of_link(rest):
    """What the gateway makes of its link to the cloud."""
    sites = json.loads(asked(f"{rest}/edgewise/v1/links")[1])["sites"]
    return next(site["state"] for site in sites if site["name"] == "cloud")


def test_the_file_is_valid(tools):
    schema = next(tools.glob("lib/python3*/site-packages/compose/config/compose_spec.json"))
    found = yaml.safe_load(FILE.read_text())
    # Newer than this schema, and known to every compose that is.
    found.pop("name")
    jsonschema.Draft7Validator(json.loads(schema.read_text())).validate(found)


def test_every_service_is_confined():
    services = yaml.safe_load(FILE.read_text())["services"]
    assert services.keys() == {"cloud-models", "edge-models", "cloud", "edge", "link", "gateway"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"] == "10001:10001", name
        assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == ("no" if name.endswith("-models") else "unless-stopped"), name
    networks = {name: set(service.get("networks", ())) for name, service in services.items()}
    # The gateway and the cloud meet in the link alone.
    assert networks["gateway"] == networks["edge"] == {"edge"}
    assert networks["cloud"] == {"cloud"}
    assert networks["link"] == {"cloud", "edge"}


def test_the_demonstration(project, cat):
    rest = f"http://127.0.0.1:{project.env['EDGEWISE_REST_PORT']}"
    began_s = time.monotonic()

    def said(text):
        print(f"  {time.monotonic() - began_s:6.1f} s  {text}")

    def predicted():
        headers, body, _ = answered(rest + PREDICT, cat, JPEG)
        told = {name.removeprefix("x-edgewise-"): headers[name] for name in headers if name.startswith("x-edgewise-")}
        assert json.loads(body)["predictions"][0]["verdict"] == "cat"
        return told

    def link(*words):
        project("exec", "-T", "link", "edgewise", "link", "set", *words)
        said(f"edgewise link set {' '.join(words)}")

    def shown(told):
        return ", ".join(f"{name} {told[name]}" for name in ("site", "attempts", "degraded") if name in told)

    print()
    project("up", "--detach")
    said("up")
    for service in ("cloud", "link", "edge", "gateway"):
        name = podman("ps", "--quiet", "--filter", f"name={project.name}_{service}_")
        wait_for(lambda name=name: ran("podman", "healthcheck", "run", name, check=False).returncode == 0)
    said("cloud, link, edge and gateway are healthy")
    wait_for(lambda: predicted()["site"] == "cloud")
    said(f"predicted: {shown(predicted())}")
    with Client(f"grpc://127.0.0.1:{project.env['EDGEWISE_GRPC_PORT']}") as client:
        assert client.predict("pets", CAT).outputs["verdict"].tolist() == [b"cat"]
    said("predicted over gRPC")

    link("blackhole")
    first = predicted()
    said(f"predicted: {shown(first)}")
    assert first["site"] == "edge"
    assert first["degraded"]
    again = predicted()
    said(f"predicted: {shown(again)}")
    assert again["site"] == "edge"

    link("heal")
    # A link that was lost takes its share back step by step; until then some answers still come from the edge.
    wait_for(lambda: state_of_link(rest) == "UP", RETURN_S)
    said("the link to the cloud is UP again")
    last = predicted()
    said(f"predicted: {shown(last)}")
    assert last["site"] == "cloud"

    project("down", "--volumes")
    said("down")
    assert left_behind(project.name) == []
