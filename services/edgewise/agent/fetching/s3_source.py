"""Objects of S3 and of servers that speak its protocol, over the package obstore.

Endpoint, region and credentials come from the environment as for every S3 client: AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, a web identity or the machine's role;
AWS_SKIP_SIGNATURE=true asks without any. Buckets are named in the path, which every server takes.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from edgewise.agent.fetching.http_source import BUSY
from edgewise.agent.fetching.port import Body, Kind, Offer, Piece, TimeLimits, TransferError
from edgewise.agent.fetching.uris import S3Uri
from edgewise.core.errors import (
    EdgewiseError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from edgewise.core.file_names import MAX_FILES

CHUNK_BYTES = 1 << 18
_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket"
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_STATUS = re.compile(r"status code: ([45]\d\d)\b")
Result = TypeVar("Result")


class S3Source:
    """An object, or all objects below a prefix.

    Args:
        ca: certificates (PEM) to trust beside the system's.
        time_limit_s: for one object.

    Raises:
        UnavailableError: the package obstore is not installed.
        InvalidArgumentError: the environment holds values that cannot be used.
    """

    def __init__(self, uri: S3Uri, *, limits: TimeLimits, time_limit_s: float, ca: Path | None = None) -> None:
        try:
            import obstore  # noqa: PLC0415  (only those who fetch from S3 have it)
            from obstore import exceptions, store  # noqa: PLC0415  (as above)
        except ImportError:
            raise UnavailableError(
                "fetching from s3:// needs the package obstore; install it: pip install 'edgewise[fetch]'"
            ) from None
        self._uri = uri
        self._obstore = obstore
        self._exceptions = exceptions
        self._connect_s, self._stall_s = limits.connect_s, limits.stall_s
        self._tags: dict[str, str] = {}
        # What obstore does keeps a thread from hearing of signals; and its futures for asyncio end the process with an abort now and
        # then, when a thread of its own is still at one while the interpreter ends.
        self._thread = ThreadPoolExecutor(1, "s3")
        client: dict[str, Any] = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=limits.connect_s),
            "read_timeout": timedelta(seconds=limits.stall_s),
            "timeout": timedelta(seconds=min(max(time_limit_s, 1.0), 7 * 86400.0)),
        }
        if ca is not None:
            try:
                client["root_certificate"] = ca.read_bytes()
            except OSError as error:
                raise InvalidArgumentError(f"--ca {ca} cannot be read: {error.strerror}") from error
        try:
            self._store = store.S3Store(
                uri.bucket,
                client_options=client,  # type: ignore[arg-type]  # a TypedDict in the stubs
                # `transfer` retries, with its own bounds.
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
                virtual_hosted_style_request=False,
                **_region(os.environ),
            )
        except Exception as error:
            # What obstore raises here says which variable cannot be used; all of its errors derive from Exception only.
            raise InvalidArgumentError(
                f"the AWS_ variables cannot be used for {uri.shown}: {_first_line(error)}"
            ) from error

    def offer(self) -> Offer:
        """See `Source`."""
        key = self._uri.key
        if key and not key.endswith("/"):
            try:
                meta = self._wait(lambda: self._obstore.head(self._store, key))
                return Offer(Kind.FILE, (Piece(key.rpartition("/")[2], key, meta["size"]),))
            except NotFoundError:
                pass
        prefix = key.rstrip("/")
        found: list[Mapping[str, Any]] = []
        listing = self._obstore.list(self._store, prefix or None, chunk_size=1000)
        while objects := self._wait(lambda: next(listing, None)):
            found.extend(objects)
            if len(found) > 2 * MAX_FILES:
                raise FailedPreconditionError(
                    f"{self._uri.shown} holds more than {MAX_FILES} objects; expected one version"
                )
        pieces = _pieces(found, prefix)
        if not pieces:
            raise NotFoundError(
                f"there is no object {self._uri.shown}, and none below it; is the bucket or the key right?"
            )
        return Offer(Kind.DIRECTORY, pieces)

    def open(self, piece: Piece, start_bytes: int) -> Body:
        """See `Source`."""
        options: dict[str, Any] = {}
        tag = self._tags.get(piece.locator)
        if start_bytes and tag:
            options = {"range": {"offset": start_bytes}, "if_match": tag}
        else:
            start_bytes = 0
        answer = self._wait(lambda: self._obstore.get(self._store, piece.locator, options=options or None))
        meta = answer.meta
        if meta["e_tag"] and not meta["e_tag"].startswith("W/"):
            self._tags[piece.locator] = meta["e_tag"]
        return Body(start_bytes, meta["size"], self._chunks(answer))

    def close(self) -> None:
        """See `Source`."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _chunks(self, answer: Any) -> Iterator[memoryview]:
        stream = answer.stream(min_chunk_size=CHUNK_BYTES)
        while (chunk := self._wait(lambda: next(stream, None))) is not None:
            yield memoryview(chunk)

    def _wait(self, call: Callable[[], Result]) -> Result:
        """Have obstore do something.

        Raises:
            EdgewiseError: in place of what obstore raises.
        """
        try:
            # One silence; the client's own limits are the finer ones.
            return self._thread.submit(call).result(2 * self._stall_s + self._connect_s)
        except TimeoutError:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = ThreadPoolExecutor(1, "s3")
            raise TransferError(f"{self._uri.shown}: the server kept silent for too long") from None
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> EdgewiseError:
        shown, kinds = self._uri.shown, self._exceptions
        text = str(error)
        code = _CODE.search(text)
        said = f" ({code[1]})" if code else ""
        if isinstance(error, FileNotFoundError | kinds.NotFoundError):
            return NotFoundError(f"{shown}: the server has no such bucket or object{said}")
        if isinstance(error, kinds.PermissionDeniedError | kinds.UnauthenticatedError):
            return PermissionDeniedError(
                f"{shown}: the server refused the credentials{said}; set {_CREDENTIALS}, and the right to read and list"
            )
        if isinstance(error, kinds.PreconditionError):
            self._tags.clear()
            return TransferError(f"{shown}: the object was changed meanwhile; it is fetched anew")
        return _generic(text, said, shown)


def _generic(text: str, said: str, shown: str) -> EdgewiseError:
    """What an error means to which obstore gives no kind of its own."""
    # Asked for before anything else: the machine's role, where the environment holds nothing.
    if "169.254." in text or "redential" in text:
        return UnavailableError(f"{shown}: no credentials were found; set {_CREDENTIALS}")
    found = _STATUS.search(text)
    status = found[1] if found else ""
    if said == " (NoSuchBucket)":
        return NotFoundError(
            f"{shown}: there is no such bucket on that server; are its name and AWS_ENDPOINT_URL right?"
        )
    if status and int(status) not in BUSY:
        return FailedPreconditionError(
            f"{shown}: the server answered {status}{said}; are AWS_ENDPOINT_URL and AWS_REGION right?"
        )
    if "ertificate" in text:
        return UnavailableError(f"{shown}: the server's certificate is not trusted; name its authority with --ca FILE")
    what = (
        f"the server answered {status}{said}" if status else "the connection could not be made, was cut or kept silent"
    )
    return TransferError(f"{shown}: {what}")


def _region(environment: Mapping[str, str]) -> dict[str, Any]:
    # Servers of one's own have no regions, but signatures do.
    return {} if environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") else {"region": "us-east-1"}


def _pieces(found: list[Mapping[str, Any]], prefix: str) -> tuple[Piece, ...]:
    """The objects below a prefix; those that only stand for a directory left out."""
    skip = len(prefix) + 1 if prefix else 0
    names = {str(meta["path"]) for meta in found}
    parents = {name.rpartition("/")[0] for name in names}
    return tuple(
        Piece(path[skip:], path, meta["size"])
        for meta in sorted(found, key=lambda meta: str(meta["path"]))
        if (path := str(meta["path"])) != prefix and not (meta["size"] == 0 and path in parents)
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
