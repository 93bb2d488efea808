"""An operator with offline keys, a hub's repository behind a real web server, and sites that refresh from it; time as the test says."""

import email.utils
import functools
import hashlib
import http.server
import json
import shutil
import ssl
import threading
from pathlib import Path

import httpx

from edgewise.agent.trust.releases import TrustedReleases
from edgewise.agent.trust.source import HubSource
from edgewise.core.errors import NotFoundError
from edgewise.core.releases import Chunk, Release, ReleaseFile, Variant
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.orders import DesiredState, Order
from edgewise.hub.trust.repository import Repository
from edgewise.protocols.desired_state import PAYLOAD_TYPE, encode_desired
from edgewise.protocols.documents import time_s, time_text
from edgewise.protocols.release_manifest import encode_release
from edgewise.protocols.trusted_documents import encode_desired_keys, encode_policy
from edgewise.trust.envelopes import seal
from edgewise.trust.keys import SigningKey
from edgewise.trust.offline import OfflineTrust
from edgewise.trust.tuf_files import DESIRED_KEYS, POLICY, SIGNED_FIELD, release_path

BEGAN_S = time_s("2026-12-01T12:00:00Z")
DAY_S = 86400.0
YEAR_S = 365.25 * DAY_S


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self, now_s=BEGAN_S):
        self.now_s = now_s

    def __call__(self):
        return self.now_s


def manifest(version, model="pets", note=""):
    content = f"{model} {version}".encode()
    digest = hashlib.sha256(content).hexdigest()
    file = ReleaseFile("model.onnx", len(content), digest, (Chunk(len(content), digest),))
    return encode_release(Release(model, version, "2026-12-01T00:00:00Z", {"any": Variant((file,))}, note))


class World:
    """One operator, one hub, any number of sites.

    Args:
        authority: signs the hub's certificate; None for plain HTTP.

    Attributes:
        clock: the hub's and the operator's.
        answers: by the last part of a path: bytes in place of the file, or a function that is called with the request's handler.
        asked: last parts of paths, in order.
    """

    def __init__(self, directory, *, authority=None):
        self.directory = directory
        self.clock = Clock()
        self.online = SigningKey.generated()
        self.desired_key = SigningKey.generated()
        self.operator = OfflineTrust.created(
            directory / "operator", self.online.public_hex, self.documents(), clock=self.clock
        )
        self.hub = self.begin_hub(directory / "hub")
        self.answers = {}
        self.asked = []
        self.over = threading.Event()
        self._clients = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, self))
        self._server.daemon_threads = True
        # Over plain HTTP there are no certificates to load.
        self._verify = False
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.leaf("hub"))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._verify = ssl.create_default_context(cafile=str(authority.certificate))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"{'https' if authority else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def documents(self, floors=None):
        return {
            POLICY: encode_policy(floors or {}),
            DESIRED_KEYS: encode_desired_keys([self.desired_key.public_hex]),
        }

    def begin_hub(self, directory, *keys):
        targets = self.operator.targets().targets
        return Repository.created(
            directory,
            *(keys or (self.online,)),
            roots=self.operator.root_files(),
            targets=self.operator.targets_file(),
            contents={path: self.operator.content(path) for path in targets},
            clock=self.clock,
        )

    def reopen_hub(self, *keys):
        self.hub = Repository(self.directory / "hub", *(keys or (self.online,)), clock=self.clock)

    def sign(self, contents):
        """Have the operator sign target files, and hand all in."""
        for path, content in contents.items():
            self.hub.put_target(path, content)
        return self.hub.accept_targets(self.operator.add_targets(contents))

    def release(self, version, model="pets"):
        """Release a version; its manifest's SHA-256."""
        content = manifest(version, model)
        self.sign({release_path(model, version): content})
        return hashlib.sha256(content).hexdigest()

    def hub_signed(self):
        """When the hub signed its timestamp, as the site reads it."""
        return json.loads(self.hub.read("timestamp.json"))["signed"][SIGNED_FIELD]

    def site(self, name="edge-1", *, clock=None, **limits):
        """What a site trusts; of the same name, the same directory."""
        client = httpx.Client(verify=self._verify)
        self._clients.append(client)
        clock = clock or self.clock
        return TrustedReleases(
            self.site_directory(name),
            self.url,
            HubSource(client, clock=clock, **limits),
            site=name,
            root_sha256=hashlib.sha256(self.operator.root_files()[0]).hexdigest(),
            clock=clock,
        )

    def site_directory(self, name="edge-1"):
        return self.directory / "sites" / name

    def saved(self, name="saved"):
        """A copy of the hub's directory, as it is."""
        shutil.copytree(self.directory / "hub", self.directory / name)
        return self.directory / name

    def restored(self, saved):
        """Put a copy in place of the hub's directory."""
        shutil.rmtree(self.directory / "hub")
        shutil.copytree(saved, self.directory / "hub")
        self.reopen_hub(*self.hub._keys)

    def desired(self, *, site="edge-1", generation=1, expires_s=7 * DAY_S, key=None, sha256="a" * 64, carried=False):
        order = Order("pets-2-k3f9", "pets", 2, sha256, Want.RUN)
        state = DesiredState(site, generation, time_text(self.clock() + expires_s), (order,), carried)
        return seal(encode_desired(state), PAYLOAD_TYPE, key or self.desired_key)

    def close(self):
        for client in self._clients:
            client.close()
        if not self.over.is_set():
            self.stop_hub()

    def stop_hub(self):
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, world, *words):
        self.world = world
        super().__init__(*words)

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.world.asked.append(name)
        answer = self.world.answers.get(name)
        if callable(answer):
            self.close_connection = True
            answer(self)
            return
        try:
            if answer is None and self.path.startswith("/tuf/metadata/"):
                answer = self.world.hub.read(self.path.removeprefix("/tuf/metadata/"))
            elif answer is None:
                answer = self.world.hub.target(self.path.removeprefix("/tuf/targets/"))
        except NotFoundError:
            self.refuse(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def refuse(self, status):
        content = json.dumps({"error": "no", "code": "NOT_FOUND"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(self.world.clock(), usegmt=True)

    def log_message(self, *words):
        pass


def saved_file(saved: Path, name: str) -> bytes:
    """A metadata file of a copy of the hub's directory."""
    return (saved / "metadata" / name).read_bytes()


def still_whole(world, site, digest):
    """The enemy goes: nothing was lost, and the next release comes through."""
    assert site.manifest("pets", 2, digest).version == 2
    world.answers.clear()
    new = world.release(3)
    site.refresh()
    assert site.may_install() == ""
    assert site.manifest("pets", 3, new).version == 3


def current(world):
    """The names of the metadata files that are in force."""
    versions = world.hub.versions()
    return [f"{versions[role]}.{role}.json" for role in ("snapshot", "targets")]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
