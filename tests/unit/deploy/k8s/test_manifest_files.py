"""What can be said of deploy/k8s without kustomize: the files are there, fit together and fit the commands."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from edgewise.cli import parser
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.toml_config import load_config

ROOT = Path(__file__).resolve().parents[4]
MANIFESTS = ROOT / "deploy" / "k8s"
KUSTOMIZATIONS = sorted(MANIFESTS.rglob("kustomization.yaml"))
FILES = sorted(path for path in MANIFESTS.rglob("*.yaml") if path.parent.name != "files")
CONFIGS = sorted(MANIFESTS.rglob("gateway.toml"))
OURS = {"edgewise-model-server", "edgewise-gateway-kubernetes", "edgewise-agent"}


def named(path):
    return str(path.relative_to(MANIFESTS))


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def objects():
    return [
        (path, item)
        for path in FILES
        if path.name != "kustomization.yaml"
        for item in documents(path)
        if isinstance(item, dict)
    ]


def every_container():
    for path, item in objects():
        pod = item.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            yield path, container


def project_version():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=named)
def test_a_kustomization_names_files_that_are_there(path):
    said = documents(path)[0]
    component = "components" in path.relative_to(MANIFESTS).parts
    assert said["kind"] == ("Component" if component else "Kustomization")
    places = [*said.get("resources", []), *said.get("components", [])]
    places += [patch["path"] for patch in said.get("patches", []) if "path" in patch]
    for generator in said.get("configMapGenerator", []):
        places += [file.rpartition("=")[2] for file in generator.get("files", [])]
    missing = [place for place in places if not (path.parent / place).exists()]
    assert not missing


def test_no_manifest_is_left_out():
    used = {path.resolve() for path in KUSTOMIZATIONS}
    for path in KUSTOMIZATIONS:
        said = documents(path)[0]
        places = [*said.get("resources", []), *[patch["path"] for patch in said.get("patches", []) if "path" in patch]]
        used |= {(path.parent / place).resolve() for place in places}
    assert {path.resolve() for path in FILES} <= used


def test_nothing_rendered_is_kept():
    assert not [path for path in FILES if re.search(r"^  name: \S+-[0-9a-z]{10}$", path.read_text(), re.MULTILINE)]
    seen = {}
    for path, item in objects():
        key = (item["kind"], item["metadata"]["name"])
        if path.parent.parent.name == "overlays" or path.name == "pods.yaml":
            # Patches say the name of what they change.
            continue
        assert key not in seen, f"{named(path)} says {key} again, after {named(seen[key])}"
        seen[key] = path


def test_images_are_ours_and_have_the_version_of_the_project():
    assert {container["image"] for _, container in every_container() if "image" in container} == OURS
    base = documents(MANIFESTS / "base" / "kustomization.yaml")[0]
    assert {image["name"]: image["newTag"] for image in base["images"]} == dict.fromkeys(OURS, project_version())
    assert base["labels"][0]["pairs"]["app.kubernetes.io/version"] == project_version()
    for path in KUSTOMIZATIONS:
        for image in documents(path)[0].get("images", []):
            assert image["name"] in OURS
            assert image.get("newTag", project_version()) == project_version()


def test_names_of_registries_are_left_to_users():
    for path in FILES:
        hosts = set(re.findall(r"\b(?:https?|oci)://([\w.-]+)", path.read_text()))
        assert hosts <= {"models.example.com", "model-server", "model-store", "agent"}, named(path)


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_the_commands_take_what_containers_tell_them(command):
    told = [container["args"] for _, container in every_container() if container.get("args", [""])[0] == command]
    assert len(told) == 1
    words = [re.sub(r"\$\((CPUS)\)", "2", word) for word in told[0]]
    words = [re.sub(r"\$\(SITE_TIER\)", "cloud", re.sub(r"\$\(SITE_NAME\)", "eu-west", word)) for word in words]
    tls = ["--tls-cert=/etc/edgewise-tls/tls.crt", "--tls-key=/etc/edgewise-tls/tls.key"]
    arguments = parser().parse_args([*words, *tls])
    assert arguments.host == "0.0.0.0"
    assert arguments.drain_timeout_s == 20
    ports = {
        (port["name"], port["containerPort"])
        for _, container in every_container()
        if container.get("args", [""])[0] == command
        for port in container["ports"]
    }
    assert ports == {("rest", arguments.rest_port), ("grpc", arguments.grpc_port)}


def test_models_are_fetched_to_where_they_are_served_from():
    told = {container["args"][0]: container["args"] for _, container in every_container() if "args" in container}
    assert told["fetch"] == [
        "fetch",
        "$(MODEL_URI)",
        "/models/$(MODEL_NAME)/$(MODEL_VERSION)",
        "--sha256",
        "$(MODEL_SHA256)",
    ]
    assert "--repository=/models" in told["serve"]
    parser().parse_args(["fetch", "https://models.example.com/pets/1.tar.gz", "/models/pets/1", "--sha256", "0" * 64])


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_a_gateway_can_use_its_config(path, tmp_path):
    (tmp_path / "ca.crt").touch()
    text = path.read_text().replace("/etc/edgewise-tls", str(tmp_path))
    (tmp_path / "gateway.toml").write_text(text)
    config = load_config(GatewayOptions(config=tmp_path / "gateway.toml"))
    assert config.sites
    in_cluster = [site for site in tomllib.loads(text)["site"] if "model-server" in site["rest"]]
    assert in_cluster
    # Without the namespace, so that overlays can be put into any.
    assert all(site["discover"] == "kubernetes" and "." not in site["rest"] for site in in_cluster)


def test_the_operators_rules_are_those_that_promtool_checks(monkeypatch):
    monkeypatch.syspath_prepend(str(MANIFESTS / "components" / "monitoring"))
    import wrap_alerts

    monkeypatch.delitem(sys.modules, "wrap_alerts")
    assert wrap_alerts.RULE.read_text() == wrap_alerts.wrapped(wrap_alerts.ALERTS.read_text()), (
        "files/alerts.yaml has changed: run python deploy/k8s/components/monitoring/wrap_alerts.py"
    )
    assert documents(wrap_alerts.RULE)[0]["spec"] == documents(wrap_alerts.ALERTS)[0]


def test_check_tells_of_rules_that_differ(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(MANIFESTS / "components" / "monitoring"))
    import wrap_alerts

    monkeypatch.delitem(sys.modules, "wrap_alerts")
    monkeypatch.setattr(wrap_alerts, "ALERTS", tmp_path / "alerts.yaml")
    monkeypatch.setattr(wrap_alerts, "RULE", tmp_path / "rule.yaml")
    (tmp_path / "alerts.yaml").write_text("groups:\n  - name: a\n\n    rules: []\n")
    (tmp_path / "rule.yaml").write_text("")
    assert wrap_alerts.main(["--check"]) == 1
    assert "run wrap_alerts.py" in capsys.readouterr().err
    assert wrap_alerts.main([]) == 0
    assert wrap_alerts.main(["--check"]) == 0
    assert documents(tmp_path / "rule.yaml")[0]["spec"] == {"groups": [{"name": "a", "rules": []}]}


def test_the_dashboard_is_one():
    dashboard = json.loads((MANIFESTS / "components" / "monitoring" / "files" / "dashboard.json").read_text())
    assert dashboard["title"]
    assert dashboard["uid"]


@pytest.mark.parametrize("file", ["autoscaling/model-server.yaml"])
def test_the_autoscaler_asks_for_a_number_that_the_server_shows(file):
    from edgewise.model_server.exposition import families
    from edgewise.model_server.metrics import ServerMetrics

    autoscaler = documents(MANIFESTS / "components" / file)[0]
    wanted = {metric["pods"]["metric"]["name"] for metric in autoscaler["spec"]["metrics"] if metric["type"] == "Pods"}
    assert wanted
    assert wanted <= {family.name for family in families(ServerMetrics("cloud", "cloud"))}
