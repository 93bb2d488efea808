"""A hub as its sites see it: real signatures and a real TUF repository behind a small web server that misbehaves on command."""

import base64
import functools
import hashlib
import http.server
import json
import re
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from edgewise.core.errors import EdgewiseError, NotFoundError
from edgewise.core.releases import Release, ReleaseFile, Variant
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import Gate, Gates
from edgewise.core.rollout.orders import DesiredState, Order
from edgewise.core.rollout.specification import Canary
from edgewise.hub.trust.repository import Repository
from edgewise.protocols.chunking import chunks_of
from edgewise.protocols.desired_state import PAYLOAD_TYPE as DESIRED
from edgewise.protocols.desired_state import encode_desired
from edgewise.protocols.documents import time_text
from edgewise.protocols.release_manifest import encode_release
from edgewise.protocols.site_report import MAX_REPORT_BYTES, decode_report
from edgewise.protocols.site_report import PAYLOAD_TYPE as REPORT
from edgewise.protocols.trusted_documents import encode_desired_keys, encode_policy
from edgewise.trust.envelopes import opened, seal
from edgewise.trust.keys import SigningKey, VerifyingKey
from edgewise.trust.offline import OfflineTrust
from edgewise.trust.tuf_files import DESIRED_KEYS, POLICY, release_path
from support.waiting import WAIT_S

WEEK_S = 7 * 86400.0
QUICK = Canary(shares=(0.3,), stage_s=0.5, bake_s=0.5)
"""A canary that is through as soon as the gates are."""
ERRORS_ALONE = Gates(errors=Gate(0.2, 0.9), latency=None)


@dataclass
class Step:
    """How one answer with a blob misbehaves.

    Attributes:
        cut_after_bytes: then the connection is cut.
        wrong: every byte is another one.
        endless: bytes go on after the part that was asked for.
        crawl: the head comes, and then a byte now and then.
        status: in place of the part.
    """

    cut_after_bytes: int | None = None
    wrong: bool = False
    endless: bool = False
    crawl: bool = False
    status: int = 0


@dataclass
class Site:
    token: str
    key: VerifyingKey | None = None
    generation: int = 0
    desired: bytes = b""
    reports: list = field(default_factory=list)


class SiteHub:
    """One hub.

    Attributes:
        steps: taken by answers with blobs, the first by the first; later ones are as they should be.
        away: whether every connection is dropped.
        pace_bytes_per_s: of blobs; None for as fast as it goes.
        cut_each_s: connections that carry blobs are cut when they are so old.
        sent_bytes: of blobs, also when nobody took them.
        asked: paths of all requests.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.online = SigningKey.generated()
        self.desired_key = SigningKey.generated()
        self.operator = OfflineTrust.created(directory / "operator", self.online.public_hex, self.documents())
        targets = self.operator.targets().targets
        self.repository = Repository.created(
            directory / "repository",
            self.online,
            roots=self.operator.root_files(),
            targets=self.operator.targets_file(),
            contents={path: self.operator.content(path) for path in targets},
        )
        self.root_sha256 = hashlib.sha256(self.operator.root_files()[0]).hexdigest()
        self.blobs = {}
        self.steps = []
        self.away = False
        self.pace_bytes_per_s = None
        self.cut_each_s = None
        self.sent_bytes = 0
        self.asked = []
        self.sites = {}
        self.manifests = {}
        self.changed = threading.Condition()
        self.over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), functools.partial(_Handler, self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def documents(self, floors=None):
        return {
            POLICY: encode_policy(floors or {}),
            DESIRED_KEYS: encode_desired_keys([self.desired_key.public_hex]),
        }

    def sign(self, contents):
        for path, content in contents.items():
            self.repository.put_target(path, content)
        self.repository.accept_targets(self.operator.add_targets(contents))

    # ---- sites

    def enrollment(self, site="edge-1", root_sha256=None):
        self.sites[site] = Site(token=f"once-{site}")
        word = json.dumps(
            {
                "hub": self.url,
                "site": site,
                "token": f"once-{site}",
                "root_sha256": root_sha256 or self.root_sha256,
            }
        ).encode()
        return "ew1." + base64.urlsafe_b64encode(word).decode().rstrip("=")

    # ---- releases and orders

    def release(self, model, version, directory, *, tier="any"):
        """Release what lies in a directory."""
        files = []
        for path in sorted(Path(directory).rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                self.blobs[digest] = content
                name = path.relative_to(directory).as_posix()
                files.append(ReleaseFile(name, len(content), digest, chunks_of(path)))
        return self.release_files(model, version, files, tier=tier)

    def release_files(self, model, version, files, *, tier="any"):
        release = Release(model, version, "2026-11-23T10:00:00Z", {tier: Variant(tuple(files))})
        manifest = encode_release(release)
        self.manifests[model, version] = hashlib.sha256(manifest).hexdigest()
        self.sign({release_path(model, version): manifest})
        return release

    def order(
        self, want=Want.RUN, *, site="edge-1", model="pets", version=2, rollout=None, gates=ERRORS_ALONE, canary=QUICK
    ):
        return Order(
            rollout or f"{model}-{version}-k3f9",
            model,
            version,
            self.manifests.get((model, version), "a" * 64),
            want,
            gates,
            canary,
        )

    def want(self, *orders, site="edge-1", generation=None, expires_s=WEEK_S, key=None, named=None):
        """What a site is to have from now on."""
        known = self.sites[site]
        known.generation = generation or known.generation + 1
        state = DesiredState(named or site, known.generation, time_text(time.time() + expires_s), orders)
        with self.changed:
            known.desired = seal(encode_desired(state), DESIRED, key or self.desired_key)
            self.changed.notify_all()

    # ---- reports

    def reports(self, site="edge-1"):
        with self.changed:
            return list(self.sites[site].reports)

    def progress(self, rollout=None, site="edge-1"):
        """What was reported last of a rollout; None for nothing."""
        for report in reversed(self.reports(site)):
            for one in report.rollouts:
                if rollout is None or one.rollout == rollout:
                    return one
        return None

    def wait_for(self, true, site="edge-1", timeout_s=WAIT_S):
        """The first report for which `true(report)` holds."""
        with self.changed:
            assert self.changed.wait_for(lambda: any(true(report) for report in self.sites[site].reports), timeout_s), (
                f"no such report; the last one: {self.sites[site].reports[-1:]}"
            )
            return next(report for report in self.sites[site].reports if true(report))

    def wait_for_state(self, state, rollout=None, site="edge-1", timeout_s=WAIT_S):
        """The first report of a rollout in a state."""
        report = self.wait_for(
            lambda report: any(
                one.state == state and (rollout is None or one.rollout == rollout) for one in report.rollouts
            ),
            site,
            timeout_s,
        )
        return next(one for one in report.rollouts if rollout is None or one.rollout == rollout)

    def close(self):
        self.over.set()
        with self.changed:
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A site that was killed in the middle of a question."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub, *words):
        self.hub = hub
        super().__init__(*words)

    def parse_request(self):
        parsed = super().parse_request()
        if parsed and self.hub.away:
            self.close_connection = True
            return False
        return parsed

    def do_POST(self):
        self.hub.asked.append(self.path)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/v1/enroll":
            self._enroll(json.loads(content))
            return
        name = re.fullmatch(r"/api/v1/sites/([^/]+)/reports", self.path)[1]
        site = self.hub.sites[name]
        if not self._is_from(site):
            return
        payload = opened(content, REPORT, [site.key], what="the report", max_bytes=MAX_REPORT_BYTES)
        report = decode_report(payload)
        with self.hub.changed:
            assert not site.reports or report.sequence > site.reports[-1].sequence
            site.reports.append(report)
            self.hub.changed.notify_all()
        self._answer(200, {"sequence": report.sequence})

    def _enroll(self, asked):
        for name, site in self.hub.sites.items():
            if site.token == asked["token"] and site.key is None:
                site.key = VerifyingKey(asked["public_key"])
                site.token = f"token-{name}"
                self._answer(200, {"site": name, "site_token": site.token})
                return
        self._answer(403, {"error": "the enrolment was used already", "code": "PERMISSION_DENIED"})

    def do_GET(self):
        self.hub.asked.append(self.path)
        parts = urlsplit(self.path)
        found = re.fullmatch(r"/api/v1/sites/([^/]+)/desired", parts.path)
        try:
            if found:
                self._desired(self.hub.sites[found[1]], float(parse_qs(parts.query)["wait_s"][0]))
            elif parts.path.startswith("/tuf/metadata/"):
                self._bytes(self.hub.repository.read(parts.path.removeprefix("/tuf/metadata/")))
            elif parts.path.startswith("/tuf/targets/"):
                self._bytes(self.hub.repository.target(parts.path.removeprefix("/tuf/targets/")))
            elif parts.path.startswith("/blobs/sha256/"):
                self._blob(self.hub.blobs.get(parts.path.rpartition("/")[2]))
            else:
                self._answer(404, {"error": "no such path", "code": "NOT_FOUND"})
        except (NotFoundError, KeyError):
            self._answer(404, {"error": "not there", "code": "NOT_FOUND"})
        except EdgewiseError as error:
            self._answer(400, {"error": error.message, "code": error.code})

    def _is_from(self, site):
        if self.headers.get("Authorization") == f"Bearer {site.token}":
            return True
        self._answer(401, {"error": "unknown token", "code": "UNAUTHENTICATED"})
        return False

    def _desired(self, site, wait_s):
        if not self._is_from(site):
            return
        known = self.headers.get("If-None-Match", "")

        def etag():
            return f'"{hashlib.sha256(site.desired).hexdigest()}"'

        def is_new():
            return self.hub.over.is_set() or self.hub.away or (site.desired and etag() != known)

        with self.hub.changed:
            self.hub.changed.wait_for(is_new, min(wait_s, WAIT_S))
            content = site.desired if site.desired and etag() != known else b""
        if self.hub.away:
            self.close_connection = True
        elif content:
            self._bytes(content, {"ETag": etag()})
        else:
            self.send_response(304)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _blob(self, content):
        if content is None:
            raise KeyError
        start, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        step = self.hub.steps.pop(0) if self.hub.steps else Step()
        if step.status:
            self._answer(step.status, {"error": "not now", "code": "UNAVAILABLE"})
            return
        part = content[start : end + 1]
        if step.wrong:
            part = bytes(byte ^ 0xFF for byte in part)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        if step.endless:
            self.send_header("Connection", "close")
            part = part + bytes(1 << 22)
        else:
            self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self._send(part, step)

    def _send(self, part, step):
        began_s = time.monotonic()
        sent = 0
        pace = self.hub.pace_bytes_per_s
        size = 1 << 16 if pace is None else max(1024, int(pace / 50))
        while sent < len(part):
            piece = part[sent : sent + size]
            if step.crawl:
                piece = part[sent : sent + 1]
                if self.hub.over.wait(0.2) or sent > 200:
                    self.close_connection = True
                    return
            if step.cut_after_bytes is not None:
                piece = piece[: step.cut_after_bytes - sent]
            old = self.hub.cut_each_s is not None and time.monotonic() - began_s > self.hub.cut_each_s
            if not piece or old or self.hub.away:
                self.close_connection = True
                return
            try:
                self.wfile.write(piece)
            except OSError:
                self.close_connection = True
                return
            sent += len(piece)
            self.hub.sent_bytes += len(piece)
            if pace is not None and self.hub.over.wait(len(piece) / pace):
                return

    def _bytes(self, content, headers=None):
        self.send_response(200)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words):
        pass


def without_canary(order):
    """The same order, that takes over at once."""
    return replace(order, canary=Canary(shares=(), stage_s=0.0, bake_s=0.0), gates=Gates(None, None, None))
