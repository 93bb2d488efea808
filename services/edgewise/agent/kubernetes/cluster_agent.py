"""The agent of a cluster as a process: the loop of every site, the actuator of clusters, and the archives that pods fetch."""

import logging
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgewise.agent.fetching.disk import disk_errors
from edgewise.agent.fetching.stops import Stopped, stoppable
from edgewise.agent.kubernetes.api import connect
from edgewise.agent.kubernetes.archive_server import ArchiveServer
from edgewise.agent.kubernetes.cluster_site import ClusterActuator
from edgewise.agent.kubernetes.namespaces import DEFAULT
from edgewise.agent.kubernetes.pod_door import PodNetwork
from edgewise.agent.site.agent import AgentOptions, SiteAgent
from edgewise.agent.site.hub_client import HubClient
from edgewise.agent.site.identity import Identity, enroll, parse_enrollment, read_identity
from edgewise.agent.site.journal import Journal
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import FailedPreconditionError

TIER: Final = "cloud"
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_MAX_ENROLLMENT_BYTES: Final = 65536
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClusterAgentOptions:
    """What `edgewise k8s agent` is told.

    Attributes:
        enrollment: a file that holds the word of an enrolment, for the first start; None when the directory is a site's already.
        labels: of the site, for the enrolment.
        namespace: None takes the pod's own, or else the one that installing takes.
        deployment: of the model servers.
        listen: host and port for archives and probes.
        archives: the URL under which pods reach that.
        pods_ca, pods_key: the authority of the model servers' certificates, and the API key that they ask for; "" for none.
        kubeconfig, context: None in a pod.
        hub_ca: certificates (PEM) of the hub to trust in place of the system's.
        rate_bytes_per_s, quota_bytes, reserve_bytes, poll_s: as for an edge node.
    """

    state: Path
    enrollment: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str | None = None
    deployment: str = "model-server"
    listen: tuple[str, int] = ("0.0.0.0", 8602)  # noqa: S104  (pods ask from other nodes)
    archives: str = "http://agent:8602"
    pods_ca: str = ""
    pods_key: str = ""
    kubeconfig: str | None = None
    context: str | None = None
    hub_ca: Path | None = None
    rate_bytes_per_s: float | None = None
    quota_bytes: int | None = None
    reserve_bytes: int = 256 << 20
    poll_s: float = 60.0


def run_cluster_agent(options: ClusterAgentOptions) -> int:
    """Run the agent of a cluster until SIGTERM or SIGINT.

    Returns: 0, when it was asked to end.
    Raises: EdgewiseError: the cluster cannot be asked at all, the directory is no site's and cannot become one, or the disk refuses.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It would tell each question of each second.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    state = StateDirectory(options.state)
    ready = threading.Event()
    archives = ArchiveServer(state.models, ready.is_set)
    agent = None
    try:
        with stoppable(), state.locked():
            # Pods that start again need their version, whether or not there is a hub.
            port = archives.start(*options.listen)
            identity = _identity(state, options)
            agent = cluster_agent(options, identity, state)
            agent.start()
            ready.set()
            print(f"edgewise: ready agent={identity.site} hub={identity.hub} archives={port}", flush=True)  # noqa: T201
            threading.Event().wait()
    except Stopped as stopped:
        _LOG.info("%s: ending; what runs in this cluster goes on", stopped.signal.name)
        if agent is not None:
            agent.stop()
        sys.stdout.flush()
        sys.stderr.flush()
        # At once: threads that wait for the hub would be waited for.
        os._exit(0)
    return 0


def cluster_agent(options: ClusterAgentOptions, identity: Identity, state: StateDirectory) -> SiteAgent:
    """The parts of a cluster's agent, put together.

    Raises: EdgewiseError: the kubeconfig or a certificate cannot be used.
    """
    actuator = ClusterActuator(
        connect(options.kubeconfig, options.context),
        options.namespace or _own_namespace(),
        PodNetwork(options.pods_ca, options.pods_key),
        archives=options.archives,
        models=state.models,
        deployment=options.deployment,
    )
    site_options = AgentOptions(
        state=options.state,
        # What is here is a cluster: nothing listens on this machine.
        model_server="",
        gateway=None,
        rate_bytes_per_s=options.rate_bytes_per_s,
        quota_bytes=options.quota_bytes,
        reserve_bytes=options.reserve_bytes,
        ca=options.hub_ca,
        poll_s=options.poll_s,
    )
    return SiteAgent(site_options, identity, state, journal=Journal(state), actuator=actuator, models=actuator.models)


def _identity(state: StateDirectory, options: ClusterAgentOptions) -> Identity:
    """Who this site is; on the first start it becomes one."""
    if state.site.exists() or options.enrollment is None:
        return read_identity(state)
    with disk_errors(options.enrollment):
        try:
            with options.enrollment.open(encoding="ascii") as file:
                word = file.read(_MAX_ENROLLMENT_BYTES)
        except (FileNotFoundError, UnicodeDecodeError):
            raise FailedPreconditionError(
                f"{state.root} is no site's, and there is no enrolment in {options.enrollment}; "
                "put the word that `edgewise sites enroll` prints there"
            ) from None
    enrollment = parse_enrollment(word)
    identity = enroll(state, enrollment, HubClient(enrollment.hub, ca=options.hub_ca), tier=TIER, labels=options.labels)
    _LOG.info("this cluster is the site %s of %s now", identity.site, identity.hub)
    return identity


def _own_namespace() -> str:
    try:
        return _POD_NAMESPACE.read_text(encoding="ascii").strip() or DEFAULT
    except OSError:
        return DEFAULT
