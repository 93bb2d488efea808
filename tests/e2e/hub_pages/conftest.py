"""A hub that is a process of its own, as it is typed, and sites that follow it over HTTP."""

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time

import httpx
import pytest

from edgewise.core.rollout.gates import Findings, GateName
from edgewise.core.rollout.sequential import Observed
from support.control_world import Site

STEP_S = 0.1
A_FEW = Findings({GateName.ERRORS: (Observed(5, 0),)})


def edgewise(*words, **environment):
    """Run a command, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "edgewise", *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class HubProcess:
    """`edgewise hub serve`, its administrator, and sites that do what they are told."""

    def __init__(self, directory, start_server):
        self.trust = directory / "trust"
        words = ("--state", str(directory / "hub"), "--with-offline-keys", str(self.trust))
        said = edgewise("hub", "init", *words, "--url", "http://127.0.0.1")
        self.token = re.search(r"^ +(\S+)$", said, re.MULTILINE)[1]
        self.process = start_server("serve", "--state", str(directory / "hub"), "--port", "0", command="hub")
        self.url = re.search(r"hub=(\S+)", self.process.ready_line)[1]
        self.client = httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.token}"}, timeout=60.0)
        self._sites = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def release(self, version, directory):
        """Release a version of pets, with the command."""
        version_directory = directory / str(version)
        version_directory.mkdir(parents=True)
        (version_directory / "model.onnx").write_bytes(b"version %d" % version * 1000)
        words = ("release", "create", "pets", str(version), "--all", str(version_directory), "--trust", str(self.trust))
        edgewise(*words, EDGEWISE_HUB=self.url, EDGEWISE_HUB_TOKEN=self.token)

    def site(self, name, **labels):
        """Have a site join; a few requests are all that its versions are asked."""
        site = Site(name, self._ask)
        site.findings = A_FEW
        site.join(labels=labels)
        self._sites.append(site)

    def follow(self):
        """From now on, sites ask what to do, do it and say so, again and again."""
        self._thread.start()

    def state(self, rollout):
        return self.client.get(f"/api/v1/rollouts/{rollout}").json()["state"]

    def close(self):
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self.client.close()
        assert self.process.stop() == 0

    def _follow(self):
        while not self._ending.wait(STEP_S):
            for site in self._sites:
                site.step(time.time())

    def _ask(self, method, *words, **_named):
        """What a site asks of the control plane, over the hub's API."""
        match method, words:
            case "create_enrollment", (site, tier, labels):
                asked = {"site": site, "tier": tier, "labels": labels}
                word = self._answer("POST", "/api/v1/enrollments", json=asked).json()["enrollment"].removeprefix("ew1.")
                return json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))["token"]
            case "enroll", (token, public_key, tier, labels):
                asked = {"token": token, "public_key": public_key, "tier": tier, "labels": labels}
                joined = self._answer("POST", "/api/v1/enroll", json=asked).json()
                return joined["site"], joined["site_token"]
            case "desired", (site, _):
                answer = self._answer("GET", f"/api/v1/sites/{site}/desired", site=site)
                return answer.headers["etag"], answer.content
            case "report", (site, envelope, _):
                return self._answer("POST", f"/api/v1/sites/{site}/reports", site=site, content=envelope).json()[
                    "sequence"
                ]
        raise AssertionError(method)

    def _answer(self, method, path, *, site=None, **options):
        tokens = {one.name: one.token for one in self._sites}
        headers = {"authorization": f"Bearer {tokens[site]}"} if site else {}
        answer = self.client.request(method, path, headers=headers, **options)
        assert answer.is_success, answer.text
        return answer


@pytest.fixture
def hub(tmp_path, start_server):
    hub = HubProcess(tmp_path, start_server)
    yield hub
    hub.close()
