"""`edgewise k8s install`, `edgewise k8s status`, `edgewise k8s uninstall` and `edgewise k8s agent`."""

import argparse
import time
from typing import TYPE_CHECKING

from edgewise.cli import k8s_agent
from edgewise.cli.values import seconds, whole
from edgewise.core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from edgewise.agent.kubernetes.model_source import ModelVersion
    from edgewise.agent.kubernetes.readiness import Surroundings
    from edgewise.cli.commands import Commands

DESCRIPTION = """\
Install Edgewise in a Kubernetes cluster, look at it, take it away, and make it a site of a hub.

  edgewise k8s install --overlay cloud --image-registry registry.example/edgewise
  edgewise k8s status
  edgewise k8s install --overlay cloud --model-uri s3://models/pets/2 --model-sha256 HEX --model-version 2
  edgewise k8s uninstall

The cluster is the one of the kubeconfig's current context unless --kubeconfig and --context say otherwise.
"""
INSTALL = """\
Render an overlay (kubectl or kustomize) or take rendered manifests, have the API check all of them, apply them in order by
server-side apply, wait until everything is ready and say which object is why it waits. Run again, it changes what differs and
takes away what the last installation made and this one does not hold.

Exit codes: 0 ready; 1 not applied, or not ready in time, with the reason; 2 wrong arguments.
"""
STATUS = """\
Show workloads, pods, what they serve, and why something is not ready.

Exit codes: 0 all well; 1 something is not, nothing is installed, or the cluster cannot be asked; 2 wrong arguments.
"""
UNINSTALL = """\
Delete what `edgewise k8s install` made in a namespace, wait until it is gone, and say what still holds it. Objects of others,
volume claims and the namespace itself stay.

Exit codes: 0 gone; 1 not gone in time, with the reason; 2 wrong arguments.
"""
WATCH_S = 2.0


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "k8s",
        help="install in a Kubernetes cluster, look at it, take it away, make it a site of a hub",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = command.add_subparsers(dest="action", metavar="{install,status,uninstall,agent}", required=True)
    _add_install(actions)
    _add_status(actions)
    _add_uninstall(actions)
    k8s_agent.add_to(actions)


def _add_install(actions: "Commands") -> None:
    told = _action(actions, "install", "apply manifests and wait until they are ready", INSTALL)
    what = told.add_mutually_exclusive_group(required=True)
    what.add_argument("--overlay", metavar="DIR|NAME", help="a directory, or a name under deploy/k8s/overlays")
    what.add_argument("--file", metavar="FILE|-", help="rendered manifests")
    _add_cluster(told, "the one that the manifests name")
    told.add_argument(
        "--timeout-s", type=seconds(zero=True), default=300.0, metavar="S", help="for readiness (300); 0 does not wait"
    )
    told.add_argument("--dry-run", action="store_true", help="have the API check everything, and change nothing")
    told.add_argument(
        "--force-conflicts", action="store_true", help="take over fields that another manager has set otherwise"
    )
    images = told.add_argument_group("images")
    images.add_argument(
        "--image-registry", metavar="HOST[/PATH]", help="where Edgewise's images are, such as registry.example/edgewise"
    )
    images.add_argument("--image-tag", metavar="TAG", help="of Edgewise's images")
    images.add_argument(
        "--set-image",
        action="append",
        default=[],
        type=_named_reference,
        metavar="NAME=REF",
        help="the whole reference of an image, such as edgewise-gateway=registry.example/gateway@sha256:HEX; may be repeated",
    )
    model = told.add_argument_group(
        "model", "another version than the manifests name: the first three together; the pods are replaced one by one"
    )
    model.add_argument(
        "--model-uri", metavar="URI", help="as `edgewise fetch` takes it: http(s)://, s3://, oci://, a path"
    )
    model.add_argument("--model-sha256", metavar="HEX", help="its checksum, as `edgewise fetch --help` defines it")
    model.add_argument("--model-version", type=whole(1), metavar="N", help="the version that it is served as")
    model.add_argument("--model-name", metavar="NAME", help="the model that it is served as (unchanged)")
    model.add_argument(
        "--model-source",
        default="model-source",
        metavar="CONFIGMAP",
        help="the ConfigMap that names it (model-source), such as model-source-canary",
    )
    told.set_defaults(run=_install)


def _add_status(actions: "Commands") -> None:
    asked = _action(actions, "status", "show what runs, and why something is not ready", STATUS)
    _add_cluster(asked, "edgewise")
    asked.add_argument("--watch", action="store_true", help="print again whenever something has changed, until Ctrl-C")
    asked.add_argument("--output", choices=("text", "json"), default="text", help="json: one object a line")
    asked.set_defaults(run=_status)


def _add_uninstall(actions: "Commands") -> None:
    told = _action(actions, "uninstall", "delete what install made", UNINSTALL)
    _add_cluster(told, "edgewise")
    told.add_argument(
        "--delete-namespace", action="store_true", help="the namespace too, when nothing of anybody else is in it"
    )
    told.add_argument(
        "--timeout-s",
        type=seconds(zero=True),
        default=120.0,
        metavar="S",
        help="until it is gone (120); 0 does not wait",
    )
    told.set_defaults(run=_uninstall)


def _action(actions: "Commands", name: str, summary: str, description: str) -> argparse.ArgumentParser:
    return actions.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _add_cluster(command: argparse.ArgumentParser, namespace: str) -> None:
    command.add_argument("--namespace", metavar="NS", help=f"(default: {namespace})")
    command.add_argument("--context", metavar="NAME", help="of the kubeconfig (default: its current one)")
    command.add_argument("--kubeconfig", metavar="FILE", help="(default: $KUBECONFIG, then ~/.kube/config)")


def _install(arguments: argparse.Namespace) -> int:
    from edgewise.agent.kubernetes.api import connect
    from edgewise.agent.kubernetes.installation import InstallOptions, install
    from edgewise.agent.kubernetes.manifests import parse_manifests
    from edgewise.agent.kubernetes.rendering import read_file, render

    model = _model(arguments)
    text, source = render(arguments.overlay) if arguments.overlay is not None else read_file(arguments.file)
    objects = parse_manifests(text, source)
    options = InstallOptions(
        source=source,
        namespace=arguments.namespace,
        timeout_s=arguments.timeout_s,
        force_conflicts=arguments.force_conflicts,
        dry_run=arguments.dry_run,
        image_registry=arguments.image_registry,
        image_tag=arguments.image_tag,
        images=dict(arguments.set_image),
        model=model,
        model_source=arguments.model_source,
    )
    return install(connect(arguments.kubeconfig, arguments.context), objects, options, _surroundings())


def _status(arguments: argparse.Namespace) -> int:
    from edgewise.agent.kubernetes.api import connect
    from edgewise.agent.kubernetes.looking import show, watch
    from edgewise.agent.kubernetes.namespaces import DEFAULT, check_namespace

    namespace = check_namespace(arguments.namespace or DEFAULT)
    cluster = connect(arguments.kubeconfig, arguments.context)
    as_json = arguments.output == "json"
    if arguments.watch:
        return watch(cluster, namespace, _surroundings(), as_json=as_json, every_s=WATCH_S)
    return show(cluster, namespace, _surroundings(), as_json=as_json)


def _uninstall(arguments: argparse.Namespace) -> int:
    from edgewise.agent.kubernetes.api import connect
    from edgewise.agent.kubernetes.namespaces import DEFAULT, check_namespace
    from edgewise.agent.kubernetes.removal import UninstallOptions, uninstall

    options = UninstallOptions(
        namespace=check_namespace(arguments.namespace or DEFAULT),
        delete_namespace=arguments.delete_namespace,
        timeout_s=arguments.timeout_s,
    )
    return uninstall(connect(arguments.kubeconfig, arguments.context), options, _surroundings())


def _model(arguments: argparse.Namespace) -> "ModelVersion | None":
    from edgewise.agent.kubernetes.model_source import ModelVersion

    said = {
        "--model-uri": arguments.model_uri,
        "--model-sha256": arguments.model_sha256,
        "--model-version": arguments.model_version,
    }
    missing = [name for name, value in said.items() if value is None]
    if len(missing) == len(said) and arguments.model_name is None:
        return None
    if missing:
        # Other content under the same number would be two models that answer as one version.
        raise InvalidArgumentError(
            f"{', '.join(missing)} missing: another model version takes --model-uri, --model-sha256 and --model-version"
        )
    return ModelVersion(arguments.model_uri, arguments.model_sha256, arguments.model_version, arguments.model_name)


def _named_reference(word: str) -> tuple[str, str]:
    name, equals, reference = word.partition("=")
    if not (name and equals and reference):
        raise argparse.ArgumentTypeError(
            f"found {word!r}, expected NAME=REFERENCE, such as edgewise-gateway=registry.example/gateway:0.1.0"
        )
    return name, reference


def _surroundings() -> "Surroundings":
    from edgewise.agent.kubernetes.readiness import Surroundings

    return Surroundings(say=lambda line: print(line, flush=True), now_s=time.monotonic, sleep=time.sleep)
