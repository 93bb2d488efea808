"""What the model server and the gateway of this machine say of themselves."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from edgewise.agent.site.port import Reading
from edgewise.agent.site.tally import read_counts
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from edgewise.protocols.documents import Document, read_document

_TIMEOUT_S: Final = 2.0
_ASKED_S: Final = 10.0
_MAX_BYTES: Final = 8 << 20
_QUANTILE: Final = re.compile(r"0?\.\d{1,6}|[01]")
_NOT_FOUND: Final = frozenset({400, 404})
_BUSY: Final = frozenset({404, 429, 502, 503, 504})
"""Of a version: it is not there, or has no time for this now."""


class LocalServer:
    """One server over HTTP.

    Args:
        url: such as http://127.0.0.1:8501.
        what: as messages call it.
        key: the API key that it asks for; "" for none.
    """

    def __init__(self, url: str, what: str, key: str = "") -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # No proxy stands between an agent and its own machine.
        self._client = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)
        self._what = f"{what} at {url}"

    def get(self, path: str) -> bytes:
        """What is there.

        Raises:
            NotFoundError: nothing is.
            UnavailableError: no usable answer.
        """
        try:
            answer = self._client.get(path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(f"the {self._what} does not answer ({type(error).__name__})") from error
        if answer.status_code in _NOT_FOUND:
            raise NotFoundError(f"the {self._what} has no {path}")
        if answer.status_code != httpx.codes.OK or len(answer.content) > _MAX_BYTES:
            raise UnavailableError(f"the {self._what} answered {answer.status_code} to {path}")
        return answer.content

    def post(self, path: str, content: bytes, media_type: str) -> httpx.Response:
        """What is answered, whatever that is.

        Raises: UnavailableError: nothing.
        """
        try:
            return self._client.post(path, content=content, headers={"Content-Type": media_type}, timeout=_ASKED_S)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(f"the {self._what} does not answer ({type(error).__name__})") from error

    def unusable(self) -> UnavailableError:
        """The error for an answer that is not what it should be."""
        return UnavailableError(f"the {self._what} gave an answer that cannot be read")


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model on the model server.

    Attributes:
        loaded: versions that are loaded and warm.
        failed: why versions could not be loaded.
        default: the version that the label `default` names there; 0 for none.
    """

    loaded: frozenset[int] = frozenset()
    failed: Mapping[int, str] = field(default_factory=dict)
    default: int = 0


class ModelServer:
    """The model server.

    Source: TensorFlow Serving's REST API, `GET /v1/models/M[/labels/L]`.
    """

    def __init__(self, url: str, key: str = "") -> None:
        self._server = LocalServer(url, "model server", key)

    def status(self, model: str) -> ModelStatus:
        """A model's versions.

        Raises: UnavailableError: no usable answer.
        """
        states = self._versions(f"/v1/models/{model}")
        default = self._versions(f"/v1/models/{model}/labels/default") if states else {}
        return ModelStatus(
            loaded=frozenset(version for version, (state, _) in states.items() if state == "AVAILABLE"),
            failed={version: why for version, (state, why) in states.items() if state == "END" and why},
            default=next(iter(default), 0),
        )

    def answer(self, model: str, version: int, picture: bytes, media_type: str, output: str) -> str:
        """What a version says to a picture; "" when it cannot answer this one.

        Raises:
            UnavailableError: it does not answer at the moment.
            FailedPreconditionError: it has no such output.
        """
        answer = self._server.post(f"/v1/models/{model}/versions/{version}:predict", picture, media_type)
        if answer.status_code in _BUSY:
            raise UnavailableError(f"it answered {answer.status_code}")
        if answer.status_code != httpx.codes.OK:
            return ""
        try:
            found = json.loads(answer.content)["predictions"][0]
        except (ValueError, KeyError, TypeError, IndexError):
            raise self._server.unusable() from None
        if not isinstance(found, dict) or output not in found:
            raise FailedPreconditionError(f"version {version} of {model} has no output {output!r}")
        value = found[output]
        return str(value[0] if isinstance(value, list) and value else value)

    def metrics(self) -> str:
        """In Prometheus' text format.

        Raises: UnavailableError, NotFoundError: no usable answer.
        """
        return self._server.get("/metrics").decode(errors="replace")

    def _versions(self, path: str) -> dict[int, tuple[str, str]]:
        """State and error by version."""
        try:
            found = json.loads(self._server.get(path))["model_version_status"]
            return {int(one["version"]): (one["state"], _why(one["status"])) for one in found}
        except NotFoundError:
            return {}
        except (ValueError, KeyError, TypeError):
            raise self._server.unusable() from None


@dataclass(frozen=True, slots=True)
class GatewayCanaries:
    """What a gateway says of its divisions.

    Attributes:
        generation: of the file, as all its workers follow it.
        readings: what was counted, by key.
    """

    generation: int
    readings: Mapping[str, Reading]


class Gateway:
    """The gateway."""

    def __init__(self, url: str, key: str = "") -> None:
        self._server = LocalServer(url, "gateway", key)

    def canaries(self) -> GatewayCanaries:
        """What is in force, and what was counted.

        Raises: UnavailableError: no usable answer.
        """
        try:
            content = self._server.get("/edgewise/v1/canaries")
            top = read_document(content, "the gateway's answer", max_bytes=_MAX_BYTES)
            if top.integer("silent", 0, 1 << 16, 0):
                # Some of its processes did not say what they have counted: the sums would be too small.
                raise self._server.unusable()
            readings = [_reading(table) for table in top.tables("canaries", ())]
            return GatewayCanaries(top.integer("generation", 0, 1 << 62), {one.key: one for one in readings})
        except (NotFoundError, InvalidArgumentError):
            raise self._server.unusable() from None

    def metrics(self) -> str:
        """In Prometheus' text format.

        Raises: EdgewiseError: no usable answer.
        """
        return self._server.get("/metrics").decode(errors="replace")


def _reading(table: Document) -> Reading:
    timed = table.table("old_ms")
    quantiles = timed.names("quantiles")
    return Reading(
        key=table.text("key"),
        counts=read_counts(table),
        old_timed=timed.integer("count", 0, 1 << 53, 0),
        old_quantiles_ms={
            float(name): value
            for name in quantiles
            if _QUANTILE.fullmatch(name) and (value := quantiles.optional_number(name, 1e12)) is not None
        },
    )


def _why(status: Mapping[str, Any]) -> str:
    if status["error_code"] == "OK":
        return ""
    return str(status["error_message"]) or str(status["error_code"])


def api_key(path: str) -> str:
    """The key in a file.

    Raises: EdgewiseError: it cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  (the word of a command line)
            return file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPreconditionError(f"the key file {path} cannot be read") from error
