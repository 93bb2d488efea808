"""`edgewise k8s agent`."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgewise.cli.values import label, rate, seconds, size

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

DESCRIPTION = """\
Make a cluster a site of a hub, and match what the hub wants: releases reach the model servers' Deployment pod by pod, compared with
the version that runs. It runs in the cluster, as deploy/k8s/components/rollouts has it.

  edgewise k8s agent --state /state --enrollment /etc/edgewise-enrollment/enrollment
"""
_LISTEN: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]*):(\d{1,5})")
_URL: Final = re.compile(r"https?://[^\s/]+/?")


def add_to(actions: "Commands") -> None:
    """Add the command to the parser."""
    told = actions.add_parser(
        "agent",
        help="make the cluster a site of a hub, and match what the hub wants",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    told.add_argument("--state", type=Path, required=True, metavar="DIR", help="the site's own directory")
    told.add_argument(
        "--enrollment",
        type=Path,
        metavar="FILE",
        help="holds the word that `edgewise sites enroll` printed; for the first start",
    )
    told.add_argument(
        "--label", action="append", type=label, default=[], metavar="NAME=VALUE", help="of the site; may be repeated"
    )
    cluster = told.add_argument_group("the cluster")
    cluster.add_argument("--namespace", metavar="NS", help="of the model servers (default: the pod's own, or edgewise)")
    cluster.add_argument(
        "--deployment", default="model-server", metavar="NAME", help="of the model servers (default model-server)"
    )
    cluster.add_argument("--context", metavar="NAME", help="of the kubeconfig (default: its current one)")
    cluster.add_argument("--kubeconfig", metavar="FILE", help="(default: the pod's own credentials)")
    pods = told.add_argument_group("the pods")
    pods.add_argument(
        "--listen",
        type=_listen,
        default="0.0.0.0:8602",
        metavar="HOST:PORT",
        help="for archives and probes (0.0.0.0:8602)",
    )
    pods.add_argument(
        "--archives",
        type=_url,
        default="http://agent:8602",
        metavar="URL",
        help="where pods reach that (default http://agent:8602, the Service)",
    )
    pods.add_argument(
        "--pods-ca", default="", metavar="FILE", help="the authority (PEM) of the model servers' certificates"
    )
    pods.add_argument("--key-file", metavar="FILE", help="holds the API key that model servers ask for")
    limits = told.add_argument_group("limits of what is fetched")
    limits.add_argument("--rate", type=rate, metavar="RATE", help="such as 20MB/s (default: no limit)")
    limits.add_argument("--quota", type=size, metavar="SIZE", help="for each day (UTC), such as 50GB (default: none)")
    limits.add_argument(
        "--reserve", type=size, default=256 << 20, metavar="SIZE", help="of the volume stays free (default 256MiB)"
    )
    hub = told.add_argument_group("the hub")
    hub.add_argument("--ca", type=Path, metavar="FILE", help="certificates (PEM) to trust (default: the system's)")
    hub.add_argument(
        "--poll-s", type=seconds(zero=False), default=60.0, metavar="S", help="how long one question waits (default 60)"
    )
    told.set_defaults(run=_run)


def _listen(word: str) -> tuple[str, int]:
    found = _LISTEN.fullmatch(word)
    if found is None or int(found[2]) > 65535:
        raise argparse.ArgumentTypeError(f"found {word!r}, expected HOST:PORT, such as 0.0.0.0:8602")
    return found[1].strip("[]"), int(found[2])


def _url(word: str) -> str:
    if not _URL.fullmatch(word):
        raise argparse.ArgumentTypeError(f"found {word!r}, expected a URL such as http://agent:8602")
    return word


def _run(arguments: argparse.Namespace) -> int:
    from edgewise.agent.kubernetes.cluster_agent import ClusterAgentOptions, run_cluster_agent
    from edgewise.agent.kubernetes.namespaces import check_namespace
    from edgewise.agent.site.edge_servers import api_key

    return run_cluster_agent(
        ClusterAgentOptions(
            state=arguments.state,
            enrollment=arguments.enrollment,
            labels=dict(arguments.label),
            namespace=check_namespace(arguments.namespace) if arguments.namespace else None,
            deployment=arguments.deployment,
            listen=arguments.listen,
            archives=arguments.archives,
            pods_ca=arguments.pods_ca,
            pods_key=api_key(arguments.key_file) if arguments.key_file else "",
            kubeconfig=arguments.kubeconfig,
            context=arguments.context,
            hub_ca=arguments.ca,
            rate_bytes_per_s=arguments.rate,
            quota_bytes=arguments.quota,
            reserve_bytes=arguments.reserve,
            poll_s=arguments.poll_s,
        )
    )
