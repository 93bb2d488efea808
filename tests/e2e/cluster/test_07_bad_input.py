"""What goes wrong is said, where it is looked for, and those who serve go on serving."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from e2e.cluster.archives import row_questions
from e2e.cluster.installation import Command, Overlay, source_of
from e2e.cluster.story import phases_between, show_ledger

WRONG_DIGEST = "sha256:" + "0123456789abcdef" * 4
INSTALL_TIMEOUT_S = 8.0


@contextlib.contextmanager
def light_load(timeline, apps) -> Iterator[None]:
    """Apps that ask all the time, and have to notice nothing."""
    load = apps("bad-input", row_questions(2_000), rest=14, grpc=6)
    load.wait_count(20)
    yield
    load.wait_count(20)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["all"], []))
    ledger.require_all_right()


@pytest.fixture(scope="module")
def good(installation, published, timeline) -> Iterator[Overlay]:
    """Tiny version 1 on three pods, before and afterwards."""
    overlay = Overlay(source_of(published.tiny_1))
    timeline.section("Bad input: the installation is tiny version 1 on three pods")
    with timeline.timed("edgewise k8s install"):
        installation.install(overlay)
    yield overlay
    with timeline.timed("edgewise k8s install of what is right again"):
        installation.install(overlay)


def _cases(published):
    tiny = published.tiny_2
    without_digest = source_of(tiny)
    del without_digest["MODEL_SHA256"]
    return {
        "wrong image digest": (
            Overlay(source_of(tiny)),
            [WRONG_DIGEST],
            "",
        ),
        "wrong checksum": (
            Overlay(source_of(tiny, MODEL_SHA256="ab" * 32)),
            ["wrong checksum"],
            "fetch-model",
        ),
        "truncated model": (
            Overlay(source_of(published.truncated)),
            ["the file is truncated or not ONNX"],
            "model-server",
        ),
        "missing ConfigMap key": (
            Overlay(without_digest, source_behavior="replace"),
            ["MODEL_SHA256"],
            "",
        ),
    }


@pytest.mark.parametrize("what", ["missing ConfigMap key", "wrong image digest", "wrong checksum", "truncated model"])
def test_a_bad_rollout_says_what_is_wrong_and_the_old_pods_serve_on(
    installation, good, published, timeline, apps, what
):
    timeline.section(f"Bad input: {what}")
    overlay, said, container = _cases(published)[what]
    image = f"edgewise-model-server=localhost/edgewise-model-server@{WRONG_DIGEST}"
    images = ["--set-image", image] if said == [WRONG_DIGEST] else []
    old = {pod.uid for pod in installation.namespace.ready("model-server")}
    with light_load(timeline, apps):
        begun_s = time.monotonic()
        done = installation.install(overlay, *images, timeout_s=INSTALL_TIMEOUT_S, check=False)
        timeline.say(f"edgewise k8s install: exit code {done.code} after {time.monotonic() - begun_s:.1f} s")
        timeline.show(done.output)
        status = timeline.wait(
            "edgewise k8s status names the reason", lambda: _status(installation, said), timeout_s=40
        )
        timeline.say(f"edgewise k8s status: exit code {status.code}")
        timeline.show(status.output)
        log = ""
        if container:
            pods = [pod for pod in installation.namespace.pods("model-server") if pod.uid not in old]
            new = next(pod for pod in pods if not pod.deleting)
            log = installation.namespace.logs(new.name, container)
            timeline.say(f"$ kubectl logs {new.name} -c {container}")
            timeline.show(log)
        timeline.say("$ kubectl get pods")
        timeline.show(installation.namespace.kubectl("get", "pods"))
    assert done.code == 1
    assert status.code == 1
    assert f"not ready after {INSTALL_TIMEOUT_S:.0f} s" in done.output
    for words in (status.output, *([log] if container else [])):
        assert any(one.lower() in words.lower() for one in said), f"none of {said} in:\n{words}"
        assert "Traceback" not in words
    ready = {pod.uid for pod in installation.namespace.ready("model-server")}
    assert old <= ready, "an old pod has gone"


def _status(installation, said: list[str]) -> Command | None:
    """What `edgewise k8s status` says, once it says one of these."""
    status = installation.edgewise("status", check=False)
    return status if any(one.lower() in status.output.lower() for one in said) else None


def test_a_gateway_without_permission_says_so_and_serves_on(installation, good, timeline, apps):
    timeline.section("Bad input: no permission for the Kubernetes API")
    namespace = installation.namespace
    with light_load(timeline, apps):
        namespace.kubectl("delete", "role", "gateway-discovery")
        namespace.kubectl("rollout", "restart", "deployment/gateway")
        namespace.kubectl("rollout", "status", "deployment/gateway", "--timeout=60s")
        timeline.say("the Role is gone, the gateways have started anew")
        log = "".join(namespace.logs(pod.name, "gateway") for pod in namespace.ready("gateway"))
        timeline.show(log)
        status = installation.edgewise("status", check=False)
        timeline.say(f"edgewise k8s status: exit code {status.code}")
        timeline.show(status.output)
    assert "403" in log or "may not" in log or "forbidden" in log.lower()
    assert "Traceback" not in log


def test_wrong_kubeconfigs_are_named(installation, timeline, tmp_path):
    timeline.section("Bad input: kubeconfigs")
    garbage, elsewhere, powerless = (tmp_path / name for name in ("garbage", "elsewhere", "powerless"))
    garbage.write_text("not: [a kubeconfig\n")
    cluster = installation.namespace.cluster
    flat = cluster.kubectl("config", "view", "--raw", "--flatten", "--minify")
    server = next(line.split()[-1] for line in flat.splitlines() if line.strip().startswith("server:"))
    elsewhere.write_text(flat.replace(server, "https://127.0.0.1:9"))
    head = flat.partition("users:")[0]
    powerless.write_text(f"{head}users:\n- name: {_user(flat)}\n  user: {{}}\n")
    for what, kubeconfig, said in (
        ("a file that is none", garbage, "garbage"),
        ("no such file", tmp_path / "nowhere", "nowhere"),
        ("the API server is gone", elsewhere, "127.0.0.1:9"),
        ("a user without any rights", powerless, ""),
    ):
        begun_s = time.monotonic()
        done = installation.edgewise("status", check=False, kubeconfig=kubeconfig)
        timeline.say(f"edgewise k8s status, {what}: exit code {done.code} after {time.monotonic() - begun_s:.1f} s")
        timeline.show(done.output)
        assert done.code in {1, 2}
        assert said in done.output
        assert "Traceback" not in done.output


def _user(flat: str) -> str:
    return flat.partition("    user: ")[2].partition("\n")[0]
