"""Endpoints of a site from the Kubernetes API; the one module of the gateway that imports the package `kubernetes`.

A daemon thread lists the Service's EndpointSlices and watches them from there on: v1 where the cluster has it, else v1beta1,
else the older Endpoints, found out by asking. What it finds goes to the loop with `call_soon_threadsafe`.

    list ──► watch ──events──► watch ... each from the version that was seen last
      ▲        │ 410: list anew, after a pause
      └────────┘ anything else: the same, after a pause that doubles, with jitter

What the API says is obeyed, also when nothing is left: a Service that is scaled to 0 is to get no request. When endpoints are left of
which none is ready, see `Found.taken_after`. While the API cannot be asked, what it said last stays. Before it ever answered, and after it has been away for a while, the name's addresses in DNS are used.
"""

import asyncio
import importlib.util
import logging
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

from edgewise.core.errors import FailedPreconditionError
from edgewise.gateway.api_answers import ApiAnswerError, document_of, told_in, why_of
from edgewise.gateway.endpoint_sources import EndpointListener, EndpointSource
from edgewise.gateway.endpoints import Endpoint, Found, found_in_endpoints, found_in_slices
from edgewise.gateway.source_fallback import NewsWithFallback

_LOG: Final = logging.getLogger(__name__)

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_CONNECT_S: Final = 5.0
_LIST_S: Final = 15.0
_MAX_LIST_BYTES: Final = 64 << 20
_MAX_EVENT_BYTES: Final = 8 << 20
_MAX_OBJECTS: Final = 10_000
_PIECE_BYTES: Final = 1 << 16
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_SLICES: Final = "endpointslices.discovery.k8s.io"

_Objects = dict[str, Mapping[str, Any]]
_Lister = Callable[..., Any]


class KubernetesApi:
    """The two questions that are asked of the API, about one Service.

    Args:
        service: its name.
        namespace: None for the gateway's own.

    Attributes:
        namespace: the one that is asked about.
        kind: of the objects that `list` found.
        read: makes endpoints of such objects.

    Raises: Exception: of the package, or OSError: there is no configuration that could be used.
    """

    def __init__(self, service: str, namespace: str | None) -> None:
        import kubernetes  # noqa: PLC0415 - takes most of a second and 40 MB

        # Each part of it is imported when it is touched, and `CoreV1Api` costs 70 MB more.
        client: Any = kubernetes.client
        config: Any = kubernetes.config
        configuration = client.Configuration()
        kubeconfig = os.environ.get("KUBECONFIG")
        if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=configuration)
            own = _NAMESPACE_FILE.read_text(encoding="utf-8").strip() if namespace is None else ""
        else:
            where = {"config_file": kubeconfig} if kubeconfig else {}
            config.load_kube_config(client_configuration=configuration, **where)
            own = config.list_kube_config_contexts(**where)[1].get("context", {}).get("namespace") or "default"
        # We pause by ourselves.
        configuration.retries = False
        self.namespace = namespace if namespace is not None else own
        self._service = service
        self._selector = f"kubernetes.io/service-name={service}"
        self._parts = client
        self._client = client.ApiClient(configuration)
        self._lister: _Lister = self._endpoints
        self._answer: Any = None
        self._interrupted = False
        self.read: Callable[[Iterable[Mapping[str, Any]], str], Found] = found_in_endpoints
        self.kind = ""

    def list(self) -> tuple[_Objects, str]:
        """What there is, of the first kind that the cluster has and lets us see.

        Returns: objects by name, and the version to watch from.
        Raises: ApiAnswerError: it answers with an error. Exception: of urllib3, it does not answer.
        """
        refused: list[ApiAnswerError] = []
        for kind, lister, read in (
            (f"{_SLICES} v1", self._slices, found_in_slices),
            (f"{_SLICES} v1beta1", self._older_slices, found_in_slices),
            ("endpoints", self._endpoints, found_in_endpoints),
        ):
            try:
                document = _read_list(lister)
            except ApiAnswerError as error:
                # Who may not see a kind is refused before it is looked whether the cluster has it.
                if error.status == 403:
                    refused.append(error)
                elif error.status != 404:
                    raise
                continue
            self.kind, self._lister, self.read = kind, lister, read
            items = document.get("items") or ()
            if len(items) > _MAX_OBJECTS:
                raise ApiAnswerError(0, f"{len(items)} objects are more than can be followed")
            version = str((document.get("metadata") or {}).get("resourceVersion") or "")
            return {_name(item): item for item in items}, version
        if refused:
            raise ApiAnswerError(
                403,
                f"{refused[0]}; the service account takes a Role in namespace {self.namespace} with the verbs get, list and "
                "watch on endpointslices (discovery.k8s.io) and endpoints",
            )
        raise ApiAnswerError(404, "it has neither EndpointSlices nor Endpoints; is that a Kubernetes API?")

    def watch(self, version: str, *, lasts_s: int, silent_s: float) -> Iterator[Mapping[str, Any]]:
        """Changes since a version, until the API ends the watch.

        Args:
            lasts_s: when it is asked to end it.
            silent_s: a watch that says nothing for so long is given up.
        Raises: as `list`.
        """
        self._answer = answer = _ask(
            self._lister,
            silent_s,
            watch=True,
            resource_version=version,
            timeout_seconds=lasts_s,
            allow_watch_bookmarks=True,
        )
        try:
            rest = b""
            # Set before the answer is looked for there, and looked at after the answer is there.
            if self._interrupted:
                return
            for piece in answer.stream(_PIECE_BYTES):
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > _MAX_EVENT_BYTES:
                    raise ApiAnswerError(0, f"an event is larger than {_MAX_EVENT_BYTES} bytes")
                for line in lines:
                    if line.strip():
                        yield document_of(line)
        finally:
            answer.close()

    def interrupt(self) -> None:
        """From another thread: end the watch that is under way, and begin no other."""
        self._interrupted = True
        answer = self._answer
        if answer is not None and hasattr(answer, "shutdown"):
            try:
                answer.shutdown()
            except (OSError, ValueError, RuntimeError):
                return  # it has just ended by itself

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _slices(self, **how: Any) -> Any:
        return self._parts.DiscoveryV1Api(self._client).list_namespaced_endpoint_slice(
            self.namespace, label_selector=self._selector, **how
        )

    def _older_slices(self, **how: Any) -> Any:
        return self._parts.CustomObjectsApi(self._client).list_namespaced_custom_object(
            "discovery.k8s.io", "v1beta1", self.namespace, "endpointslices", label_selector=self._selector, **how
        )

    def _endpoints(self, **how: Any) -> Any:
        return self._parts.CoreV1Api(self._client).list_namespaced_endpoints(
            self.namespace, field_selector=f"metadata.name={self._service}", **how
        )


class KubernetesSource:
    """The ready endpoints of a Service.

    Args:
        service, namespace: as `service_of` gives them.
        port_name: of the endpoints' ports.
        fallback: asked while the API cannot be.
        api: makes the way to the API; replaced in tests.
        watch_s: a watch is begun anew after so long.
        silence_s: a watch that ends so much later than that is given up.
        fallback_after_s: the API has to be away for so long until the fallback may change what the API said.
        first_pause_s: before the API is asked again.
    """

    def __init__(
        self,
        service: str,
        namespace: str | None,
        port_name: str,
        *,
        fallback: EndpointSource | None = None,
        api: Callable[[str, str | None], KubernetesApi] = KubernetesApi,
        watch_s: int = 45,
        silence_s: float = 10.0,
        fallback_after_s: float = 30.0,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._service = service
        self._namespace = namespace
        self._port_name = port_name
        self._make_api = api
        self._watch_s = watch_s
        self._silence_s = silence_s
        self._first_pause_s = first_pause_s
        self._ended = threading.Event()
        self._api: KubernetesApi | None = None
        self._thread: threading.Thread | None = None
        self._told: Found | None = None
        self._endpoints: tuple[Endpoint, ...] = ()
        self._well = False
        self._news: NewsWithFallback | None = None
        self._fallback = fallback
        self._fallback_after_s = fallback_after_s

    def start(self, listener: EndpointListener) -> None:
        """See `EndpointSource`.

        Raises: FailedPreconditionError: the package is not installed.
        """
        check_package()
        self._news = NewsWithFallback(listener, self._fallback, self._fallback_after_s)
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._run, args=(loop, self._news), name=f"follow {self._service}", daemon=True
        )
        self._thread.start()

    def hint(self) -> None:
        """See `EndpointSource`; a watch knows by itself."""
        if self._fallback is not None:
            self._fallback.hint()

    def close(self) -> None:
        """See `EndpointSource`."""
        self._ended.set()
        if self._news is not None:
            self._news.close()
        api = self._api
        if api is not None:
            api.interrupt()

    # --- in the thread ---

    def _run(self, loop: asyncio.AbstractEventLoop, news: NewsWithFallback) -> None:
        pause_s = self._first_pause_s
        while not self._ended.is_set():
            self._well = False
            why = ""
            try:
                api = self._api = self._make_api(self._service, self._namespace)
                if self._ended.is_set():
                    api.interrupt()
                try:
                    self._follow(api, lambda objects, api=api: self._tell(loop, news, objects, api))  # type: ignore[misc]
                finally:
                    api.close()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is asked again
                why = why_of(error)
            if self._ended.is_set():
                return
            if why:
                self._told = None
                _on(loop, news.failed, f"the Kubernetes API cannot be asked about Service {self._service}: {why}")
            if self._well:
                pause_s = self._first_pause_s
            self._pause(pause_s)
            pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)

    def _pause(self, pause_s: float) -> None:
        self._ended.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads, keeps no secret

    def _follow(self, api: KubernetesApi, tell: Callable[[_Objects], None]) -> None:
        """List, and watch until it has to be listed anew."""
        objects, version = api.list()
        tell(objects)
        while not self._ended.is_set():
            begun_s = monotonic()
            try:
                for event in api.watch(version, lasts_s=self._watch_s, silent_s=self._watch_s + self._silence_s):
                    kind, one = str(event.get("type")), event.get("object") or {}
                    if kind == "ERROR":
                        raise ApiAnswerError(int(one.get("code") or 0), str(one.get("message") or "a watch failed"))
                    # A list alone proves little where each watch breaks at once.
                    self._well = True
                    version = str((one.get("metadata") or {}).get("resourceVersion") or version)
                    if kind == "DELETED":
                        objects.pop(_name(one), None)
                    elif kind in {"ADDED", "MODIFIED"} and len(objects) < _MAX_OBJECTS:
                        objects[_name(one)] = one
                    if self._ended.is_set():
                        return
                    tell(objects)
            except ApiAnswerError as error:
                if error.status == 410:
                    return  # Gone: what was to be watched from is too old. That is ordinary.
                raise
            if monotonic() - begun_s < 1.0:
                self._pause(self._first_pause_s)
            else:
                self._well = True

    def _tell(
        self, loop: asyncio.AbstractEventLoop, news: NewsWithFallback, objects: _Objects, api: KubernetesApi
    ) -> None:
        found = api.read(objects.values(), self._port_name)
        if found == self._told:
            return
        self._told = found
        if not objects:
            _LOG.warning(
                "there is nothing of Service %s in namespace %s (%s); is there such a Service, with a selector?",
                *(self._service, api.namespace, api.kind),
            )
        elif found.no_port:
            _LOG.warning(
                "Service %s has no port named %r and several others (%s); set port_name",
                *(self._service, self._port_name, ", ".join(found.no_port)),
            )
        self._endpoints = found.taken_after(self._endpoints)
        if self._endpoints and not found.endpoints:
            _LOG.warning(
                "no endpoint of Service %s is ready any more; the %d that are still there go on as far as they answer",
                *(self._service, len(self._endpoints)),
            )
        _on(loop, news.found, self._endpoints)


def check_package() -> None:
    """Refuse where the package is not there.

    Raises: FailedPreconditionError: it is not.
    """
    if importlib.util.find_spec("kubernetes") is None:
        raise FailedPreconditionError(
            'discover = "kubernetes" takes the package kubernetes; install edgewise[kubernetes], or use discover = "dns"'
        )


def import_package() -> None:
    """Import the package, which processes that are forked from this one then share.

    Raises: FailedPreconditionError: it is not installed.
    """
    check_package()
    import kubernetes  # noqa: F401, PLC0415 - as above


def _on(loop: asyncio.AbstractEventLoop, tell: Callable[..., None], *what: object) -> None:
    try:
        loop.call_soon_threadsafe(tell, *what)
    except RuntimeError:
        return  # the loop is closed


def _ask(lister: _Lister, read_timeout_s: float, **how: Any) -> Any:
    """The answer, of which only the head has been read."""
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - as above

    try:
        answer = lister(_preload_content=False, _request_timeout=(_CONNECT_S, read_timeout_s), **how)
    except ApiException as error:
        raise ApiAnswerError(error.status or 0, told_in(error.body) or str(error.reason)) from error
    if not 200 <= answer.status <= 299:
        body = answer.read(_PIECE_BYTES)
        answer.close()
        raise ApiAnswerError(answer.status, told_in(body) or str(answer.reason))
    return answer


def _read_list(lister: _Lister) -> Mapping[str, Any]:
    answer = _ask(lister, _LIST_S)
    try:
        content = bytearray()
        for piece in answer.stream(_PIECE_BYTES):
            content += piece
            if len(content) > _MAX_LIST_BYTES:
                raise ApiAnswerError(0, f"a list is larger than {_MAX_LIST_BYTES} bytes")
    finally:
        answer.close()
    return document_of(bytes(content))


def _name(one: Mapping[str, Any]) -> str:
    return str((one.get("metadata") or {}).get("name") or "")
