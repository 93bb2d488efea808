"""Answers of the Kubernetes API that are failures, put into words."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from edgewise.agent.kubernetes.objects import at, listed
from edgewise.agent.kubernetes.port import (
    ClusterError,
    CredentialsError,
    FieldConflict,
    FieldConflictError,
    ForbiddenError,
    RefusedError,
)

_MAX_MESSAGE: Final = 600
_USER: Final = re.compile(r'User "((?:[^"\\]|\\.)*)"')
_MANAGER: Final = re.compile(r'conflict with "((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call wanted, for messages.

    Attributes:
        verb: of the API's authorization, such as "patch".
        resource: with its group, such as "deployments.apps" or "pods/log".
        namespace: "" for the whole cluster.
        name: "" for many.
    """

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""

    @property
    def thing(self) -> str:
        """Resource and name."""
        return f"{self.resource} {self.name}" if self.name else self.resource


def status_of(body: bytes) -> dict[str, Any]:
    """The API's Status object in an answer; empty when the answer is something else."""
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def failure(code: int, body: bytes, asked: Asked) -> ClusterError:
    """The error for an answer that is not a success.

    Args:
        code: of HTTP.
        body: of the answer.
        asked: what the call wanted.
    """
    status = status_of(body)
    message = one_line(str(status.get("message") or "")) or _plain(body) or f"HTTP status {code}"
    conflicts = _conflicts(status) if code == 409 else []
    if code == 403 and "is forbidden: User" in message:
        return ForbiddenError(_forbidden(message, asked))
    if conflicts:
        fields = listed(f"{conflict.field} is managed by {conflict.manager!r}" for conflict in conflicts)
        return FieldConflictError(f"{asked.thing}: {fields}", conflicts)
    if code == 401:
        return CredentialsError(
            "the API server does not accept these credentials (401): the token or certificate in the kubeconfig is expired or "
            "from another cluster; get a new one from whoever runs the cluster"
        )
    if code == 429:
        message = "it has too much to do; try again later"
    if code in (415, 405) and asked.verb == "patch":
        message = "it knows no server-side apply; expected Kubernetes 1.18 or newer (1.22 or newer is recommended)"
    # 403 without a user is a quota or an admission check, not a missing Role.
    return RefusedError(f"the API server refuses {asked.verb} {asked.thing} ({code}): {message}", code)


def one_line(text: str, most: int = _MAX_MESSAGE) -> str:
    """Text on one line, without control characters, cut where it gets too long."""
    flat = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def _plain(body: bytes) -> str:
    """The text of an answer that is no Status, such as a proxy's; empty for a page or something longer than a sentence."""
    text = one_line(body[:400].decode(errors="replace"))
    return text if len(text) < 200 and "<" not in text and not text.startswith("{") else ""


def _forbidden(message: str, asked: Asked) -> str:
    found = _USER.search(message)
    who = found[1] if found else "this user"
    where = f"in namespace {asked.namespace}" if asked.namespace else "in the whole cluster"
    role, binding = ("Role", "RoleBinding") if asked.namespace else ("ClusterRole", "ClusterRoleBinding")
    return (
        f"not allowed (403): {who} may not {asked.verb} {asked.resource} {where}; "
        f"a {role} that allows it and a {binding} for {who} are missing"
    )


def _conflicts(status: dict[str, Any]) -> list[FieldConflict]:
    causes = at(status, "details", "causes") or []
    found = []
    for cause in causes:
        if isinstance(cause, dict) and cause.get("reason") == "FieldManagerConflict":
            manager = _MANAGER.search(str(cause.get("message")))
            found.append(FieldConflict(manager[1] if manager else "another manager", str(cause.get("field"))))
    return sorted(found)
