"""An agent put together: what it knows, who talks, who acts, who brings; each in a thread of its own."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from edgewise.agent.site.acting import Acting
from edgewise.agent.site.adoption import adopt, recovered
from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.board import Board
from edgewise.agent.site.canary_file import CanaryFile
from edgewise.agent.site.desired import DesiredStore
from edgewise.agent.site.dividing import ByGateway, Divider, Undivided
from edgewise.agent.site.edge import EdgeActuator
from edgewise.agent.site.edge_servers import Gateway, ModelServer
from edgewise.agent.site.examining import ModelExaminer
from edgewise.agent.site.hub_client import HubClient
from edgewise.agent.site.identity import Identity
from edgewise.agent.site.journal import Journal
from edgewise.agent.site.models_config import ModelsConfig
from edgewise.agent.site.port import Examiner, SiteActuator, Trust
from edgewise.agent.site.reporting import Reporter, Sequence
from edgewise.agent.site.sample_hub import SampleHub
from edgewise.agent.site.sample_upload import SampleUpload
from edgewise.agent.site.staging import DiskStaging
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.site.talking import Listening, Reporting
from edgewise.agent.site.version_files import VersionFiles
from edgewise.agent.trust.releases import TrustedReleases
from edgewise.agent.trust.source import HubSource
from edgewise.spool import SpoolReader

_JOIN_S: Final = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What `edgewise agent run` is told.

    Attributes:
        model_server, gateway: their URLs; None where apps ask the model server directly.
        gateway_site: this site's name in the gateway's config.
        local_key: the API key that both ask for; "" for none.
        rate_bytes_per_s, quota_bytes: of what is fetched, a second and a day; None without a limit.
        reserve_bytes: of the disk stay free.
        adopt: a directory of models that the site served before; None for none.
        samples: the spool of what the gateway captures, which is brought to the hub; None for none.
        samples_rate_bytes_per_s, samples_quota_bytes: of what is sent from there, a second and a day; None without a limit.
        ca: certificates (PEM) of the hub to trust in place of the system's.
    """

    state: Path
    model_server: str
    gateway: str | None
    gateway_site: str = "edge"
    local_key: str = ""
    rate_bytes_per_s: float | None = None
    quota_bytes: int | None = None
    reserve_bytes: int = 256 << 20
    adopt: Path | None = None
    samples: Path | None = None
    samples_rate_bytes_per_s: float | None = None
    samples_quota_bytes: int | None = None
    ca: Path | None = None
    poll_s: float = 60.0
    report_s: float = 15.0


class SiteAgent:
    """All parts of an agent, whatever kind of site it is at.

    Args:
        models: of which the site serves something.
        examiner: compares two versions; None where that cannot be done.
    """

    def __init__(
        self,
        options: AgentOptions,
        identity: Identity,
        state: StateDirectory,
        *,
        journal: Journal,
        actuator: SiteActuator,
        models: Callable[[], Iterable[str]],
        examiner: Examiner | None = None,
    ) -> None:
        random = Random()  # noqa: S311  (spreads tries in time)
        self.board = board = Board()
        trust = trusted_releases(state, identity, options.ca)
        hub = HubClient(identity.hub, identity.token, ca=options.ca)
        quota = DailyQuota(state, options.quota_bytes)
        self._staging = DiskStaging(
            state,
            trust,
            hub.with_token(identity.token),
            tier=identity.tier,
            bucket=TokenBucket(options.rate_bytes_per_s),
            quota=quota,
            reserve_bytes=options.reserve_bytes,
            pause=board.pause,
            wake=board.look_again,
            random=random,
        )
        self._listening = Listening(
            board,
            hub,
            trust,
            DesiredStore(state, trust),
            site=identity.site,
            poll_s=options.poll_s,
            random=random,
        )
        upload = None if options.samples is None else self._upload(options, options.samples, identity, state, random)
        reporter = Reporter(
            identity,
            state,
            trust,
            actuator,
            quota,
            Sequence(state),
            lambda: self._staging.bytes_per_s,
            lambda: None if upload is None else upload.backlog,
        )
        self._reporting = Reporting(
            board,
            hub.with_token(identity.token),
            reporter,
            state,
            site=identity.site,
            random=random,
            report_s=options.report_s,
        )
        self._acting = Acting(board, journal, actuator, self._staging, models=models, examiner=examiner)
        # What is on the disk is followed before anyone was asked.
        self._listening.say()
        runs = [
            ("acting", self._acting.run),
            ("staging", self._staging.run),
            ("listening", self._listening.run),
            ("reporting", self._reporting.run),
        ]
        if upload is not None:
            runs.append(("samples", upload.run))
        self._threads = [threading.Thread(target=run, name=name, daemon=True) for name, run in runs]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, within a second: a step that is being taken is finished, whoever waits for the hub is left behind."""
        self.board.stop()
        self._staging.stop()
        self._threads[0].join(_JOIN_S)

    def _upload(
        self, options: AgentOptions, spool: Path, identity: Identity, state: StateDirectory, random: Random
    ) -> SampleUpload:
        return SampleUpload(
            SpoolReader(spool),
            SampleHub(identity.hub, identity.token, identity.site, ca=options.ca),
            bucket=TokenBucket(options.samples_rate_bytes_per_s),
            quota=DailyQuota(state, options.samples_quota_bytes, path=state.sample_quota),
            pause=self.board.pause,
            is_stopped=lambda: self.board.stopped,
            is_fetching=lambda: self._staging.is_working,
            random=random,
        )


def edge_agent(options: AgentOptions, identity: Identity, state: StateDirectory) -> SiteAgent:
    """The agent of an edge node.

    Raises: EdgewiseError: its directory cannot be used.
    """
    journal = Journal(state)
    files = VersionFiles(state)
    config = ModelsConfig(state, recovered(files, journal.entries()))
    server = ModelServer(options.model_server, options.local_key)
    gateway = None if options.gateway is None else Gateway(options.gateway, options.local_key)
    divider: Divider = (
        Undivided(config, server) if gateway is None else ByGateway(CanaryFile(state, options.gateway_site), gateway)
    )
    actuator = EdgeActuator(config, divider, server, gateway)
    if options.adopt is not None:
        adopt(options.adopt, files, actuator.load)
    examiner = ModelExaminer(state.models, server)
    return SiteAgent(
        options, identity, state, journal=journal, actuator=actuator, models=config.models, examiner=examiner
    )


def trusted_releases(state: StateDirectory, identity: Identity, ca: Path | None) -> Trust:
    """What this site believes.

    Raises: EdgewiseError: the disk refuses.
    """
    client = HubClient.client(identity.hub, identity.token, ca=ca)
    return TrustedReleases(
        state.tuf, identity.hub, HubSource(client), site=identity.site, root_sha256=identity.root_sha256
    )
