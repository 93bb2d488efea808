"""A site without sockets: a real agent on virtual time; model server, gateway and hub are played, and look at what the agent writes."""

import contextlib
import json
import random
import shutil
import time

from tuf.api.exceptions import DownloadHTTPError

from edgewise.agent.site.acting import Acting
from edgewise.agent.site.adoption import adopt, recovered
from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.board import Board
from edgewise.agent.site.canary_file import CanaryFile
from edgewise.agent.site.desired import DesiredStore
from edgewise.agent.site.dividing import ByGateway
from edgewise.agent.site.edge import EdgeActuator
from edgewise.agent.site.edge_servers import GatewayCanaries, ModelStatus
from edgewise.agent.site.hub_client import Found
from edgewise.agent.site.journal import Journal
from edgewise.agent.site.models_config import ModelsConfig
from edgewise.agent.site.port import Counts, Reading
from edgewise.agent.site.reporting import Sequence
from edgewise.agent.site.staging import DiskStaging
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.site.talking import Listening
from edgewise.agent.site.version_files import VersionFiles
from edgewise.agent.trust.releases import TrustedReleases
from edgewise.core.errors import EdgewiseError, ResourceExhaustedError, UnavailableError
from edgewise.core.rollout.gates import Gate, Gates
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.versions import Specific
from edgewise.protocols.canaries import decode_canaries
from edgewise.protocols.server_config import parse_model_server_config
from support.near_source import NearSource
from support.site_hub import QUICK, SiteHub

MODEL = "pets"
TURNS = 300
FILES = {1: {"model.onnx": b"one" * 9000, "model.toml": b"# one\n"}, 2: {"model.onnx": b"one" * 9000 + b"two" * 30000}}


class HubsSource(NearSource):
    """The repository of a hub that may be away, or another one by now."""

    def __init__(self, hub):
        super().__init__(hub.repository)
        self.hub = hub

    def _fetch(self, url):
        self.name = url.rpartition("/")[2]
        if self.hub.away:
            raise DownloadHTTPError("away", 503)
        self.repository = self.hub.repository
        yield from super()._fetch(url)


class NearHub:
    """Orders and blobs without a socket."""

    def __init__(self, hub):
        self.hub = hub

    def desired(self, site, etag, wait_s):
        if self.hub.away:
            raise UnavailableError("the hub is away")
        content = self.hub.sites[site].desired
        tag = str(hash(content))
        return None if tag == etag else Found(content, tag)

    def blob(self, sha256, start, end):
        if self.hub.away:
            raise UnavailableError("the hub is away")
        self.hub.sent_bytes += end - start
        return _Parts(self.hub.blobs[sha256][start:end])


class _Parts:
    def __init__(self, content):
        self.content = content

    def __enter__(self):
        return iter([self.content])

    def __exit__(self, *_):
        return None


class Played:
    """A model server and a gateway that follow the files in an agent's directory; what they have in force outlives the agent.

    Attributes:
        wrong: what they saw that must never be.
    """

    def __init__(self, state, memory, errors):
        self.state = state
        self.memory = memory
        self.errors = errors
        self.wrong = []

    def remembered(self):
        return json.loads(self.memory.read_text())

    def status(self, model):
        known = self.remembered()
        config = parse_model_server_config((self.state / "models.config").read_text(), "models.config")
        wanted = {one.name: one for one in config.models}.get(model)
        if wanted is None:
            known["loaded"] = []
        else:
            assert isinstance(wanted.policy, Specific)
            versions, default = sorted(wanted.policy.versions), wanted.labels.get("default", 0)
            # A label that names what is not loaded is refused, and the whole config with it; not the first one after a start.
            if not default or default in known["loaded"] or known.pop("fresh", False):
                known["loaded"] = [version for version in versions if self.is_whole(version)]
                known["default"] = default
            if set(versions) - set(known["loaded"]) or (default and default not in known["loaded"]):
                self.wrong.append(f"models.config says {versions}, {default}; loaded are {known['loaded']}")
        self.memory.write_text(json.dumps(known))
        return ModelStatus(frozenset(known["loaded"]), {}, known["default"])

    def restart_server(self):
        """It has nothing loaded, and takes the file as it is."""
        known = self.remembered()
        self.memory.write_text(json.dumps({**known, "loaded": [], "default": 0, "fresh": True}))

    def restart_gateway(self):
        """It has counted nothing."""
        self.memory.write_text(json.dumps({**self.remembered(), "counts": {}}))

    def is_whole(self, version):
        directory = self.state / "models" / MODEL / str(version)
        if not directory.exists():
            return False
        found = {path.name: path.read_bytes() for path in directory.iterdir()}
        if found != FILES[version]:
            self.wrong.append(f"version {version} is there in part")
        return True

    def canaries(self):
        known = self.remembered()
        settings = decode_canaries((self.state / "canaries.json").read_bytes())
        readings = {}
        for one in settings.canaries:
            if not {one.old, one.new} <= set(known["loaded"]):
                self.wrong.append(f"divided between {one.old} and {one.new}; loaded are {known['loaded']}")
            count = known["counts"][one.key] = known["counts"].get(one.key, 0) + 400
            new = int(count * one.share)
            errors = int(new * self.errors)
            readings[one.key] = Reading(one.key, Counts(new, errors, count - new, 0), 100, {0.95: 10.0})
        self.memory.write_text(json.dumps(known))
        return GatewayCanaries(settings.generation, readings)


class Life:
    """One life of an agent.

    Attributes:
        problems: why the hub was not followed.
        played: see `Played`.
    """

    def __init__(self, scene, wall_s=time.time, *, examiner=None):
        self.clock_s = 0.0
        self.problems = []
        self.played = Played(scene.now / "agent", scene.memory, scene.errors)
        state = StateDirectory(scene.now / "agent")
        trust = TrustedReleases(
            state.tuf,
            "http://near",
            HubsSource(scene.hub),
            site="edge-1",
            root_sha256=scene.hub.root_sha256,
            clock=wall_s,
        )
        self.board = Board()
        self.journal = Journal(state)
        self.sequence = Sequence(state)
        files = VersionFiles(state)
        self.config = ModelsConfig(state, recovered(files, self.journal.entries()))
        canaries = CanaryFile(state, "edge")
        self.canaries = canaries
        divider = ByGateway(canaries, self.played, self.now_s)
        actuator = EdgeActuator(self.config, divider, self.played, None, now_s=self.now_s)
        adopt(scene.before, files, actuator.load)
        near = NearHub(scene.hub)
        self.staging = DiskStaging(
            state,
            trust,
            near,
            tier="edge",
            bucket=TokenBucket(None),
            quota=DailyQuota(state, 10**9),
            reserve_bytes=1,
            pause=self.pause,
            wake=lambda: None,
            random=random.Random(1),
            now_s=self.now_s,
        )
        store = DesiredStore(state, trust)
        self.listening = Listening(
            self.board, near, trust, store, site="edge-1", poll_s=0.0, random=random.Random(1), now_s=self.now_s
        )
        self.acting = Acting(
            self.board,
            self.journal,
            actuator,
            self.staging,
            models=self.config.models,
            examiner=examiner,
            now_s=self.now_s,
        )
        self.listening.say()

    def now_s(self):
        return self.clock_s

    def pause(self, seconds):
        self.clock_s += seconds

    def turn(self):
        try:
            self.listening.once()
        except EdgewiseError as error:
            self.problems.append(error.message)
        self.listening.say()
        self.acting.round()
        self.staging.work()
        with contextlib.suppress(ResourceExhaustedError):
            self.sequence.next()
        self.clock_s += 0.3
        assert not self.played.wrong, self.played.wrong

    def turns(self, count=20):
        for _ in range(count):
            self.turn()

    def until(self, done):
        for _ in range(TURNS):
            self.turn()
            if done(self):
                return
        raise AssertionError(f"it is not done: {self.board.shown()}, {self.problems}")

    def until_state(self, state, rollout=None):
        self.until(lambda life: life.state(rollout) == state)

    def progress(self, rollout=None):
        shown = [one for one in self.board.shown().progress if rollout in (None, one.rollout)]
        return shown[0] if shown else None

    def state(self, rollout=None):
        found = self.progress(rollout)
        return found.state if found else None

    def serves(self, version):
        """Whether that version, and nothing else, answers everything."""
        wanted = self.config.get(MODEL)
        answers = wanted is not None and (wanted.default or max(wanted.versions)) == version
        alone = answers and wanted.versions == {version}
        return alone and self.canaries.get(MODEL) is None and self.board.shown().serving == {MODEL: version}


class Scene:
    """A hub with version 2 of `pets`, and a site on the disk that serves version 1.

    Args:
        errors: the share of the new version's answers that are errors.
        now: where the site is, if not beside the hub.
    """

    def __init__(self, directory, *, errors=0.0, now=None):
        self.now = now or directory / "now"
        self.saved = directory / "saved"
        self.memory = directory / "memory.json"
        self.before = directory / "before"
        for version, files in FILES.items():
            place = (self.before if version == 1 else directory / "new") / MODEL / str(version)
            place.mkdir(parents=True)
            for name, content in files.items():
                (place / name).write_bytes(content)
        self.hub = SiteHub(directory / "hub")
        # Forks have no threads.
        self.hub.close()
        self.hub.enrollment()
        self.hub.release(MODEL, 2, directory / "new" / MODEL / "2")
        self.errors = errors
        self.order = self.hub.order(gates=Gates(errors=Gate(0.2, 0.9), latency=None), canary=QUICK)
        self.now.mkdir(exist_ok=True)
        self.memory.write_text(json.dumps({"loaded": [1], "default": 0, "counts": {}}))
        self.hub.want()
        Life(self).until(lambda life: life.serves(1))

    def is_updated(self):
        """Bring the site to version 2."""
        self.hub.want(self.order)
        Life(self).until(lambda life: life.state() == SiteState.ACTIVE and life.serves(2))

    def keep(self):
        """Remember the site as it is."""
        shutil.copytree(self.now, self.saved)
        shutil.copy(self.memory, f"{self.memory}.saved")

    def put_back(self):
        """Have the site be as it was kept."""
        shutil.rmtree(self.now)
        shutil.copytree(self.saved, self.now)
        shutil.copy(f"{self.memory}.saved", self.memory)
