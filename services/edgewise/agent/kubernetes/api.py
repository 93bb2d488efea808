"""The API of a cluster through the package `kubernetes`: the one place that imports it.

The package gives configuration, credentials and TLS; requests are made by its lowest layer, since typed models would lose
fields that they do not know, and have no server-side apply for kinds that come from elsewhere.
"""

import json
import logging
import os
import ssl
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

from edgewise.agent.kubernetes.answer_watch import AnswerWatch
from edgewise.agent.kubernetes.api_answers import Asked, failure, one_line
from edgewise.agent.kubernetes.objects import Object
from edgewise.agent.kubernetes.port import (
    FIELD_MANAGER,
    Applied,
    ClusterError,
    ClusterLostError,
    CredentialsError,
    PodAnswer,
    RefusedError,
    Resource,
)
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError

T = TypeVar("T")

CONNECT_S: Final = 5.0
READ_S: Final = 15.0
TOTAL_S: Final = 30.0
"""For one call, whatever the server does: one that sends a byte now and then never passes a read timeout."""
PROXY_S: Final = 4.0
CREDENTIALS_S: Final = 60.0
"""For the program that a kubeconfig names to get credentials; it may ask somebody for a password."""
MAX_ANSWER_BYTES: Final = 64 << 20
PAGE: Final = 500
_OWNERS: Final = frozenset({"apps", "batch"})


def connect(kubeconfig: str | None = None, context: str | None = None) -> "KubernetesApi":
    """The cluster that a kubeconfig names; inside a pod without one, the pod's own cluster. Asks nothing yet.

    Args:
        kubeconfig: a file; None takes KUBECONFIG, then ~/.kube/config.
        context: its name; None takes the current one.
    Raises:
        InvalidArgumentError: the file is missing or wrong, or has no such context.
        FailedPreconditionError: the package `kubernetes` is not installed.
        CredentialsError: the program that gets credentials failed or took too long.
    """
    try:
        from kubernetes import client, config  # noqa: PLC0415  (0.8 s, and only where a cluster is asked)
        from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415
    except ImportError:
        raise FailedPreconditionError(
            "the package kubernetes is missing; install it with: pip install 'edgewise[kubernetes]'"
        ) from None
    files = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    there = [file for file in files.split(os.pathsep) if file and Path(file).is_file()]
    in_pod = not there and kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    if not there and not in_pod:
        raise InvalidArgumentError(
            f"no kubeconfig at {files}; name the file with --kubeconfig or the variable KUBECONFIG"
        )
    settings = client.Configuration()
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        if in_pod:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        else:
            _in_time(
                lambda: config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=os.pathsep.join(there), context=context, client_configuration=settings
                ),
                files,
            )
    except ConfigException as error:
        raise InvalidArgumentError(_config_message(files, context, str(error), config, there)) from None
    except (ClusterError, InvalidArgumentError):
        raise
    except Exception as error:  # noqa: BLE001  (the loader meets wrong files with whatever their content leads to)
        raise InvalidArgumentError(
            f"the kubeconfig {files} cannot be used: {one_line(str(error)) or type(error).__name__}"
        ) from None
    finally:
        logging.getLogger().removeHandler(complaints)
    if complaints.texts and not settings.api_key and not settings.cert_file:
        raise CredentialsError(f"the kubeconfig {files} gives no credentials: {one_line(complaints.texts[-1])}")
    # Trying again is decided where it is known what was tried, and told to whoever waits.
    settings.retries = False
    try:
        return KubernetesApi(client.ApiClient(settings))
    except (OSError, ValueError, ssl.SSLError) as error:
        raise InvalidArgumentError(f"the kubeconfig {files} cannot be used: {one_line(str(error))}") from None


class _Complaints(logging.Handler):
    """What the loader logs and goes on from: without the credentials it would ask as nobody."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.texts.append(record.getMessage())


class KubernetesApi:
    """A cluster, asked over HTTP; the port is `port.Cluster`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._known: dict[str, tuple[Resource, ...]] = {}

    @property
    def address(self) -> str:
        """Where the API is."""
        host: str = self._client.configuration.host
        return host

    def version(self) -> str:
        """The server's version."""
        answer = self._json("GET", "/version", Asked("get", "/version"))
        return str(answer.get("gitVersion") or "of unknown version")

    def group_versions(self) -> frozenset[str]:
        """Every apiVersion that is served."""
        core = self._json("GET", "/api", Asked("get", "/api")).get("versions") or []
        groups = self._json("GET", "/apis", Asked("get", "/apis")).get("groups") or []
        return frozenset(core) | {
            version["groupVersion"] for group in groups for version in group.get("versions") or []
        }

    def resources(self, group_version: str) -> tuple[Resource, ...]:
        """Kinds of an apiVersion."""
        if group_version in self._known:
            return self._known[group_version]
        base = _base(group_version)
        answer = self._maybe("GET", base, Asked("get", base))
        group, _, version = group_version.rpartition("/")
        found = tuple(
            Resource(group, version, entry["kind"], entry["name"], bool(entry["namespaced"]))
            for entry in (answer or {}).get("resources") or []
            if "/" not in entry["name"]
        )
        self._known[group_version] = found
        return found

    def read(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """One object."""
        return self._maybe("GET", _path(resource, namespace, name), _asked("get", resource, namespace, name))

    def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[Object]:
        """Objects of a kind."""
        asked = _asked("list", resource, namespace)
        items: list[Object] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        for _ in range(100):
            answer = self._json("GET", _path(resource, namespace), asked, query)
            for item in answer.get("items") or []:
                item["apiVersion"], item["kind"] = resource.group_version, resource.kind
                items.append(item)
            more = (answer.get("metadata") or {}).get("continue")
            if not more:
                return items
            query["continue"] = more
        raise RefusedError(f"there are more than {len(items)} {resource.plural}; that is not one installation", 0)

    def apply(
        self,
        resource: Resource,
        item: Object,
        *,
        dry_run: bool = False,
        force: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Applied:
        """Server-side apply."""
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace") or "", metadata["name"]
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        status, body = self._call(
            "PATCH",
            _path(resource, namespace, name),
            query,
            # JSON is YAML, and what `application/apply-patch+yaml` takes on every version that has server-side apply.
            body=json.dumps(item),
            content_type="application/apply-patch+yaml",
        )
        if status not in (200, 201):
            raise failure(status, body, _asked("patch", resource, namespace, name))
        return Applied(_decoded(body), status == 201)

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> bool:
        """Delete an object and what it owns."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            # Of what owns pods the end is worth waiting for; anything else would wait for the garbage collector only.
            "propagationPolicy": "Foreground" if resource.group in _OWNERS else "Background",
            "preconditions": {"uid": uid},
        }
        status, body = self._call(
            "DELETE", _path(resource, namespace, name), {}, body=options, content_type="application/json"
        )
        if status in (404, 409):
            return False
        if status not in (200, 202):
            raise failure(status, body, _asked("delete", resource, namespace, name))
        return True

    def log(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int) -> str:
        """The last lines of a container's log."""
        path = f"{_base('v1')}/namespaces/{_part(namespace)}/pods/{_part(pod)}/log"
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(64 << 10)}
        if previous:
            query["previous"] = "true"
        status, body = self._call("GET", path, query)
        if status in (400, 404):
            # Not started yet, or gone again.
            return ""
        if status != 200:
            raise failure(status, body, Asked("get", "pods/log", namespace, pod))
        return body.decode(errors="replace")

    def ask_pod(self, namespace: str, pod: str, port: int, path: str, *, tls: bool) -> PodAnswer:
        """GET a path from a pod."""
        target = f"{'https:' if tls else ''}{pod}:{port}"
        where = f"{_base('v1')}/namespaces/{_part(namespace)}/pods/{quote(target, safe=':')}/proxy{quote(path)}"
        status, body = self._call("GET", where, {}, total_s=PROXY_S)
        if status in (401, 403) and b'"kind":"Status"' in body.replace(b" ", b""):
            raise failure(status, body, Asked("get", "pods/proxy", namespace, pod))
        return PodAnswer(status, body)

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _maybe(self, method: str, path: str, asked: Asked) -> Object | None:
        status, body = self._call(method, path, {})
        if status == 404:
            return None
        if status != 200:
            raise failure(status, body, asked)
        return _decoded(body)

    def _json(self, method: str, path: str, asked: Asked, query: Mapping[str, str] | None = None) -> Object:
        status, body = self._call(method, path, query or {})
        if status != 200:
            raise failure(status, body, asked)
        return _decoded(body)

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: str | Object | None = None,
        content_type: str | None = None,
        total_s: float | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of one call."""
        import urllib3  # noqa: PLC0415  (comes with the package)
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415

        from edgewise.agent.kubernetes import transport  # noqa: PLC0415  (imports urllib3)

        headers = {"Accept": "application/json, */*"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        total_s = TOTAL_S if total_s is None else total_s
        watch = AnswerWatch(total_s)
        try:
            prepared = self._client.param_serialize(method, path, header_params=headers, auth_settings=["BearerToken"])
            url = prepared[1] + (f"?{urlencode(query)}" if query else "")
            answer = self._client.rest_client.request(
                method, url, headers=prepared[2], body=body, _request_timeout=(CONNECT_S, min(READ_S, total_s))
            )
            with watch.over(answer.response):
                data = answer.response.read(MAX_ANSWER_BYTES + 1)
                answer.response.release_conn()
        except ApiException as error:
            # With no status: the handshake failed.
            raise transport.tls_error(str(error.reason), self.address) from None
        except urllib3.exceptions.HTTPError as error:
            raise watch.late(self.address) or transport.transport_error(
                error, self.address, connect_s=CONNECT_S, read_s=READ_S
            ) from None
        except (OSError, ValueError) as error:
            raise watch.late(self.address) or ClusterLostError(
                f"the API server at {self.address} cannot be asked: {one_line(str(error))}"
            ) from None
        if watch.fired:
            raise transport.slow(self.address, total_s)
        if len(data) > MAX_ANSWER_BYTES:
            raise RefusedError(f"the API server answers {path} with more than {MAX_ANSWER_BYTES} bytes", answer.status)
        return answer.status, data


def _in_time(load: Callable[[], T], files: str) -> T:
    """Run what may start a program that never ends, for a bounded time."""
    ended: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            ended.append(load())
        except BaseException as error:  # noqa: BLE001  (handed to whoever waits)
            failed.append(error)

    thread = threading.Thread(target=run, name="edgewise-kubeconfig", daemon=True)
    thread.start()
    thread.join(CREDENTIALS_S)
    if failed:
        raise failed[0]
    if not ended:
        raise CredentialsError(
            f"the program that the kubeconfig {files} names for credentials did not end within {CREDENTIALS_S:g} s"
        )
    return ended[0]


def _config_message(files: str, context: str | None, inner: str, config: Any, there: list[str]) -> str:
    if context is not None and f"Expected object with name {context}" in inner:
        try:
            contexts, _ = config.list_kube_config_contexts(config_file=os.pathsep.join(there))
            names = ", ".join(sorted(entry["name"] for entry in contexts))
        except Exception:  # noqa: BLE001  (the file is as wrong as it can be)
            names = ""
        return f"the kubeconfig {files} has no context {context!r}" + (f"; there are: {names}" if names else "")
    return f"the kubeconfig {files} cannot be used: {one_line(inner.removeprefix('Invalid kube-config file. '))}"


def _decoded(body: bytes) -> Object:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise RefusedError("what answers is no Kubernetes API: expected a JSON object", 200)
    return answer


@cache
def _base(group_version: str) -> str:
    return f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"


def _part(word: str) -> str:
    return quote(word, safe="")


def _path(resource: Resource, namespace: str, name: str = "") -> str:
    scope = f"/namespaces/{_part(namespace)}" if resource.namespaced and namespace else ""
    tail = f"/{_part(name)}" if name else ""
    return f"{_base(resource.group_version)}{scope}/{resource.plural}{tail}"


def _asked(verb: str, resource: Resource, namespace: str, name: str = "") -> Asked:
    full = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    return Asked(verb, full, namespace if resource.namespaced else "", name)
