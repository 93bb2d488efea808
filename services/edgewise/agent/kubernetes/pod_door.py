"""Asks model servers' pods directly, by their addresses: the agent runs in the cluster too, and network policies let it in.

The API's own proxy to pods is for people at a terminal (`port.Cluster.ask_pod`): where policies are enforced it often cannot reach a pod.
"""

import ssl
from typing import Final, Protocol

import httpx

from edgewise.agent.kubernetes.models import rest_port, speaks_tls
from edgewise.agent.kubernetes.objects import Object, at
from edgewise.agent.kubernetes.port import PodAnswer
from edgewise.core.errors import InvalidArgumentError

TIMEOUT_S: Final = 2.0
MAX_ANSWER_BYTES: Final = 8 << 20
_SERVED_AS: Final = "model-server"
"""What the certificate of every pod is for: the Service."""


class PodDoor(Protocol):
    """How pods are asked; every call ends in bounded time."""

    def get(self, pod: Object, path: str) -> PodAnswer | None:
        """What a pod answers; None when it does not."""
        ...


class PodNetwork:
    """Over HTTP, or over TLS where pods speak that.

    Args:
        ca: the authority (a PEM file) of the pods' certificates; "" where they have none.
        key: the API key that they ask for; "" for none.
    Raises: InvalidArgumentError: the file holds no certificates.
    """

    def __init__(self, ca: str = "", key: str = "") -> None:
        try:
            context = ssl.create_default_context(cafile=ca or None)
        except OSError as error:
            raise InvalidArgumentError(f"{ca} holds no certificates that can be read; expected a PEM file") from error
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # No proxy stands between pods.
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False, verify=context)

    def get(self, pod: Object, path: str) -> PodAnswer | None:
        """See `PodDoor`."""
        address, port = at(pod, "status", "podIP"), rest_port(pod)
        if not address or port is None:
            return None
        host = f"[{address}]" if ":" in address else address
        scheme = "https" if speaks_tls(pod) else "http"
        try:
            with self._client.stream(
                "GET", f"{scheme}://{host}:{port}{path}", extensions={"sni_hostname": _SERVED_AS}
            ) as answer:
                body = bytearray()
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        return None
                return PodAnswer(answer.status_code, bytes(body))
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            return None
