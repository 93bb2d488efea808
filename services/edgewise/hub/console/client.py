"""The hub's API over HTTP, as a person's commands ask it."""

import contextlib
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from edgewise import __version__
from edgewise.core.errors import FailedPreconditionError, NotFoundError
from edgewise.hub.console.answers import as_tuple, as_type
from edgewise.hub.console.connection import Connection
from edgewise.hub.console.refusals import IS_IT_RIGHT, refusal, unreachable
from edgewise.hub.control.actors import Role
from edgewise.hub.control.planning import Plan
from edgewise.hub.control.status import (
    BundleSigned,
    HistoryEntry,
    Pruned,
    PrunedBlob,
    ReleaseStatus,
    RolloutStatus,
    RolloutSummary,
    SiteStatus,
    TokenStatus,
)
from edgewise.hub.labelling.shown import LabelCounts, LabelsTaken, SamplePage, Shown

MAX_ANSWER_BYTES: Final = 64 << 20
_LIMITS: Final = httpx.Timeout(connect=10.0, read=60.0, write=60.0, pool=10.0)
_WAIT_GRACE_S: Final = 30.0
_ENTRIES: Final = 1000


class HubClient:
    """A hub, over connections that are kept.

    Every method raises the error that the hub answered, by its code; UnavailableError when it cannot be reached; FailedPreconditionError
    when what answers is no hub.
    """

    def __init__(self, connection: Connection, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = connection.url
        self._http = httpx.Client(
            base_url=connection.url,
            headers={
                "authorization": f"Bearer {connection.token}",
                "user-agent": f"edgewise/{__version__}",
                "accept-encoding": "identity",
            },
            timeout=_LIMITS,
            verify=_trusted(connection),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    # Releases

    def releases(self) -> tuple[ReleaseStatus, ...]:
        """All of them."""
        return as_tuple(ReleaseStatus, self._get("/api/v1/releases"), "releases")

    def release(self, model: str, version: int) -> ReleaseStatus:
        """One of them."""
        return as_type(ReleaseStatus, self._get(f"/api/v1/releases/{quote(model, safe='')}/{version}"), "release")

    def has_blob(self, sha256: str) -> bool:
        """Whether the hub has a blob, whole."""
        try:
            self._request("HEAD", _blob(sha256))
        except NotFoundError:
            return False
        return True

    def put_blob(self, sha256: str, size_bytes: int, content: Iterable[bytes]) -> None:
        """Send a blob; the hub checks it against its digest."""
        self._request("PUT", _blob(sha256), content=content, headers={"content-length": str(size_bytes)})

    def prune_blobs(self, unwanted_for_s: float, *, dry_run: bool) -> Iterator[PrunedBlob]:
        """Have the hub remove blobs that no release and no sample names; each as it goes."""
        after = ""
        while True:
            asked = {"unwanted_for_s": unwanted_for_s, "after": after, "dry_run": dry_run}
            pruned = as_type(Pruned, self._post("/api/v1/blobs/prune", asked), "pruned blobs")
            yield from pruned.blobs
            after = pruned.upto
            if not after:
                return

    def put_target(self, path: str, content: bytes) -> None:
        """Send the content of a target file, before the metadata that names it."""
        self._request("PUT", f"/api/v1/targets/{quote(path)}", content=content)

    def post_targets(self, signed: bytes) -> None:
        """Send a signed targets.json."""
        self._request("POST", "/api/v1/metadata/targets", content=signed, headers=_JSON)

    def post_root(self, signed: bytes) -> None:
        """Send a signed root.json."""
        self._request("POST", "/api/v1/metadata/root", content=signed, headers=_JSON)

    def sign_bundle(self, site: str | None, valid_for_s: float) -> BundleSigned:
        """Have the hub sign what is carried to a site.

        Args:
            site: whose desired state is signed as well; None for none.
        """
        asked = {"site": site, "valid_for_s": valid_for_s}
        return as_type(BundleSigned, self._post("/api/v1/bundles", asked), "signatures of the bundle")

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """The content of a path, which is not longer than that."""
        return b"".join(_bounded(self.stream(path), path, max_bytes))

    def stream(self, path: str, *, start: int = 0) -> Iterator[bytes]:
        """The content of a path, from a byte on, piece by piece."""
        headers = {"range": f"bytes={start}-"} if start else {}
        with self._exchanging(), self._http.stream("GET", path, headers=headers) as response:
            if response.status_code >= 400:
                response.read()
                raise refusal(self.url, response)
            if start and response.status_code != 206:
                raise FailedPreconditionError(f"{self.url}{path} cannot be read from byte {start} on")
            yield from response.iter_raw()

    # Sites

    def sites(self, selector: str = "") -> tuple[SiteStatus, ...]:
        """Those that a selector means."""
        return as_tuple(SiteStatus, self._get("/api/v1/sites", selector=selector), "sites")

    def site(self, name: str) -> SiteStatus:
        """One of them."""
        return as_type(SiteStatus, self._get(_site(name)), "site")

    def label_site(self, name: str, labels: Mapping[str, str], remove: Sequence[str]) -> SiteStatus:
        """Set labels and take others away.

        Returns: how the site is after that.
        """
        asked = {"labels": dict(labels), "remove": list(remove)}
        return as_type(
            SiteStatus, self._value(self._request("PATCH", _site(name), content=_json(asked), headers=_JSON)), "site"
        )

    def enroll(self, site: str, tier: str, labels: Mapping[str, str], expires_s: float) -> str:
        """Make an enrolment: what a person takes to the site."""
        asked = {"site": site, "tier": tier, "labels": dict(labels), "expires_s": expires_s}
        answer = self._post("/api/v1/enrollments", asked)
        return as_type(str, answer.get("enrollment"), "enrollment")

    def retire(self, name: str) -> None:
        """Let a site go for good."""
        self._post(f"{_site(name)}/retire", {})

    # Tokens of people

    def tokens(self) -> tuple[TokenStatus, ...]:
        """All of them, without their secrets."""
        return as_tuple(TokenStatus, self._get("/api/v1/tokens"), "tokens")

    def create_token(self, name: str, role: Role, expires_s: float | None) -> str:
        """Make one; the answer is nowhere else."""
        asked = {"name": name, "role": role.value, "expires_s": expires_s}
        return as_type(str, self._post("/api/v1/tokens", asked).get("token"), "token")

    def revoke_token(self, name: str) -> None:
        """Have one open nothing any more."""
        self._request("DELETE", f"/api/v1/tokens/{quote(name, safe='')}")

    # Rollouts

    def plan(self, text: str, form: str) -> Plan:
        """What a rollout would do."""
        return as_type(Plan, self._post("/api/v1/rollouts/plan", {"specification": text, "format": form}), "plan")

    def create_rollout(self, text: str, form: str, *, name: str | None, start: bool) -> str:
        """Make a rollout.

        Returns: its name.
        """
        asked: dict[str, Any] = {"specification": text, "format": form, "start": start}
        if name is not None:
            asked["name"] = name
        return as_type(str, self._post("/api/v1/rollouts", asked).get("name"), "name")

    def rollouts(self) -> tuple[RolloutSummary, ...]:
        """All of them."""
        return as_tuple(RolloutSummary, self._get("/api/v1/rollouts"), "rollouts")

    def rollout(self, name: str, *, after: int | None = None, wait_s: float = 0.0) -> RolloutStatus:
        """One of them.

        Args:
            after: a revision: wait until it is another one, for at most `wait_s`.
        """
        asked = {} if after is None else {"after": after, "wait_s": wait_s}
        return as_type(RolloutStatus, self._get(_rollout(name), **asked), "rollout")

    def command(self, name: str, verb: str, why: str) -> RolloutStatus:
        """Ask something of a rollout.

        Returns: how it is after that.
        """
        return as_type(RolloutStatus, self._post(f"{_rollout(name)}/{verb}", {"why": why}), "rollout")

    def history(self, name: str, *, after: int = 0) -> tuple[HistoryEntry, ...]:
        """What moved in it, in order.

        Args:
            after: the number of the entry behind which to begin.
        """
        found: list[HistoryEntry] = []
        while True:
            answer = self._get(f"{_rollout(name)}/history", after=after, limit=_ENTRIES)
            entries = [entry for entry in as_tuple(HistoryEntry, answer, "history") if entry.number > after]
            found += entries
            if len(entries) < _ENTRIES:
                return tuple(found)
            after = entries[-1].number

    # Samples

    def samples(self, asked: Mapping[str, str], *, most: int | None = None) -> Iterator[Shown]:
        """Those that are meant, the newest first.

        Args:
            asked: site, model, version, label, labelled, reason, source, since, until, kind: those that are given.
            most: so many at most; None for all.
        """
        after, left = "", most
        while left is None or left > 0:
            limit = _ENTRIES if left is None else min(_ENTRIES, left)
            answer = self._get("/api/v1/samples", **asked, after=after, limit=limit)
            page = as_type(SamplePage, answer, "samples")
            yield from page.samples
            left = None if left is None else left - len(page.samples)
            after = page.after
            if not after:
                return

    def count_samples(self, asked: Mapping[str, str]) -> LabelCounts:
        """How many are meant, by their labels; `asked` as above."""
        return as_type(LabelCounts, self._get("/api/v1/labels", **asked), "labels")

    def sample(self, sample_id: str) -> Shown:
        """One of them."""
        return as_type(Shown, self._get(_sample(sample_id)), "sample")

    def sample_picture(self, sample_id: str) -> bytes:
        """The picture of one; the request of a tensor."""
        return self.read(f"{_sample(sample_id)}/picture", max_bytes=MAX_ANSWER_BYTES)

    def label_sample(self, sample_id: str, label: str) -> Shown:
        """Label one; "" takes the label back.

        Returns: how it is after that.
        """
        path = f"{_sample(sample_id)}/label"
        answer = self._request("PUT", path, content=_json({"label": label}), headers=_JSON)
        return as_type(Shown, self._value(answer), "sample")

    def delete_sample(self, sample_id: str) -> None:
        """Let one go."""
        self._request("DELETE", _sample(sample_id))

    def label_samples(self, labels: Mapping[str, str], seen: Mapping[str, str]) -> LabelsTaken:
        """Label up to 1000.

        Args:
            seen: the label that a sample is thought to have, "" for none: where it has neither that one nor the new one, it is left as it is.
        Raises: NotFoundError: there is one that the hub does not know; none was labelled.
        """
        asked = {"labels": dict(labels), **({"seen": dict(seen)} if seen else {})}
        return as_type(LabelsTaken, self._post("/api/v1/labels", asked), "labels")

    def add_picture(
        self, content: bytes, content_type: str, about: Mapping[str, str], *, seen: str | None = None
    ) -> tuple[Shown, bool]:
        """Bring a picture.

        Args:
            about: label, source, model, site, captured, synthetic: those that are given.
            seen: of a picture that is there, see `label_samples`; None to give the label whatever it has.
        Returns: the sample, and whether it is new.
        """
        params = {name: value for name, value in about.items() if value}
        params |= {} if seen is None else {"seen": seen}
        headers = {"content-type": content_type}
        answer = self._request("POST", "/api/v1/samples", content=content, params=params, headers=headers)
        return as_type(Shown, self._value(answer), "sample"), answer.status_code == 201

    def _get(self, path: str, **asked: Any) -> Any:
        wait_s = float(asked.get("wait_s", 0.0))
        params = {name: str(value) for name, value in asked.items() if value != ""}
        limits = httpx.Timeout(_LIMITS.connect, read=wait_s + _WAIT_GRACE_S) if wait_s else _LIMITS
        return self._value(self._request("GET", path, params=params, timeout=limits))

    def _post(self, path: str, value: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._value(self._request("POST", path, content=_json(value), headers=_JSON))
        if not isinstance(answer, dict):
            raise self._no_hub()
        return answer

    def _request(self, method: str, path: str, **words: Any) -> httpx.Response:
        """One question whose answer is short."""
        with self._exchanging(), self._http.stream(method, path, **words) as response:
            content = b"".join(_bounded(response.iter_raw(), path, MAX_ANSWER_BYTES))
            whole = httpx.Response(response.status_code, headers=response.headers, content=content)
        if whole.status_code >= 400:
            raise refusal(self.url, whole)
        if whole.status_code >= 300:
            raise self._no_hub()
        return whole

    def _value(self, response: httpx.Response) -> Any:
        if not response.content:
            return {}
        try:
            return json.loads(response.content)
        except (ValueError, RecursionError):
            raise self._no_hub() from None

    def _no_hub(self) -> FailedPreconditionError:
        return FailedPreconditionError(f"what answers at {self.url} is no hub of Edgewise; {IS_IT_RIGHT}")

    @contextlib.contextmanager
    def _exchanging(self) -> Iterator[None]:
        """Turn what a connection can end in into an error for people."""
        try:
            yield
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error


_JSON: Final = {"content-type": "application/json"}


def _trusted(connection: Connection) -> ssl.SSLContext | bool:
    if connection.ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(connection.ca))
    except (OSError, ssl.SSLError) as error:
        raise FailedPreconditionError(f"{connection.ca} holds no certificates (PEM) that can be read") from error


def _bounded(pieces: Iterator[bytes], path: str, max_bytes: int) -> Iterator[bytes]:
    count = 0
    for piece in pieces:
        count += len(piece)
        if count > max_bytes:
            raise FailedPreconditionError(
                f"the hub's answer to {path} is longer than {max_bytes} bytes, the most that is read"
            )
        yield piece


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _blob(sha256: str) -> str:
    return f"/blobs/sha256/{sha256}"


def _site(name: str) -> str:
    return f"/api/v1/sites/{quote(name, safe='')}"


def _sample(sample_id: str) -> str:
    return f"/api/v1/samples/{quote(sample_id, safe='')}"


def _rollout(name: str) -> str:
    return f"/api/v1/rollouts/{quote(name, safe='')}"
