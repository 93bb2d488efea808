"""What the URI of a model version names."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from edgewise.core.errors import InvalidArgumentError

DIGEST_ALGORITHM = "sha256"
_KINDS = "a path, file:///PATH, http(s)://, s3://BUCKET/KEY or oci://HOST[:PORT]/NAME[:TAG|@sha256:HEX]"
# What Kubernetes leaves in an argument when the variable is not there, and what a shell would have taken.
_UNFILLED = re.compile(r"\$\(([^()]*)\)|\$\{([^{}]*)\}")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# OCI distribution specification, "Pulling manifests".
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileUri:
    """A file or a directory of this machine."""

    path: Path

    @property
    def shown(self) -> str:
        """For logs and messages."""
        return str(self.path)


@dataclass(frozen=True, slots=True)
class HttpUri:
    """A file of a web server.

    Attributes:
        url: as it was given, user and password included.
    """

    url: str

    @property
    def shown(self) -> str:
        """For logs and messages: without password, and without the query, where signed URLs carry theirs."""
        parts = urlsplit(self.url)
        query = "…" if parts.query else ""
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


@dataclass(frozen=True, slots=True)
class S3Uri:
    """An object, or all objects below a prefix.

    Attributes:
        key: "" is the whole bucket; one with "/" at its end can only be a prefix.
    """

    bucket: str
    key: str

    @property
    def shown(self) -> str:
        """For logs and messages."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class OciUri:
    """An artifact in a registry.

    Attributes:
        registry: HOST[:PORT].
        digest: of its manifest, hexadecimal; "" when the URI does not pin one.
    """

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def shown(self) -> str:
        """For logs and messages."""
        which = f"@{DIGEST_ALGORITHM}:{self.digest}" if self.digest else f":{self.tag}"
        return f"oci://{self.registry}/{self.repository}{which}"


Uri = FileUri | HttpUri | S3Uri | OciUri


def check_filled(text: str, *, what: str, key: str) -> None:
    """Refuse an argument that a manifest left empty.

    Args:
        what: the argument, for the message.
        key: the key of the ConfigMap that fills it in Edgewise's manifests.

    Raises:
        InvalidArgumentError: it is empty or holds `$(NAME)` still.
    """
    unfilled = _UNFILLED.search(text)
    if unfilled:
        name = unfilled[1] or unfilled[2] or key
        raise InvalidArgumentError(
            f"{what} is {text!r}: nothing was put in place of {unfilled[0]}; "
            f"is the key {name} missing in the ConfigMap model-source, or in the container's env?"
        )
    if not text.strip():
        raise InvalidArgumentError(
            f"{what} is empty; is the key {key} empty in the ConfigMap model-source, or in the unit's environment file?"
        )


def parse_uri(text: str) -> Uri:
    """Read a URI.

    Raises:
        InvalidArgumentError: it is empty, was not filled in, or is none of those that can be fetched.
    """
    check_filled(text, what="the URI", key="MODEL_URI")
    scheme, colon, rest = text.partition("://")
    if not colon:
        return FileUri(Path(text))
    try:
        match scheme.lower():
            case "file":
                return _file(text)
            case "http" | "https":
                return _http(text)
            case "s3":
                return _s3(rest)
            case "oci":
                return _oci(text, rest)
    except ValueError:
        raise InvalidArgumentError(f"the URI {text!r} cannot be read; expected {_KINDS}") from None
    raise InvalidArgumentError(f"the URI begins with {scheme + '://'!r}; expected {_KINDS}")


def parse_sha256(text: str) -> str:
    """Read a digest.

    Returns: 64 hexadecimal digits in lower case.
    Raises:
        InvalidArgumentError: it is empty, was not filled in, or is no SHA-256.
    """
    check_filled(text, what="--sha256", key="MODEL_SHA256")
    hexadecimal = text.strip().lower().removeprefix(f"{DIGEST_ALGORITHM}:")
    if _HEX.fullmatch(hexadecimal):
        return hexadecimal
    lengths = {32: " (MD5 has that many)", 40: " (SHA-1 has that many)", 128: " (SHA-512 has that many)"}
    raise InvalidArgumentError(
        f"--sha256 is {text!r}, {len(hexadecimal)} characters{lengths.get(len(hexadecimal), '')}; expected the 64 "
        "hexadecimal digits that `edgewise fetch --digest PATH` prints"
    )


def _file(text: str) -> FileUri:
    parts = urlsplit(text)
    if parts.netloc not in {"", "localhost"} or not parts.path:
        raise InvalidArgumentError(
            f"{text!r} names the host {parts.netloc!r}; expected file:///PATH with three slashes, for a file of this machine"
        )
    return FileUri(Path(unquote(parts.path)))


def _http(text: str) -> HttpUri:
    if not text.isascii() or any(ord(character) <= 32 for character in text):
        raise InvalidArgumentError(f"the URI {text!r} holds characters that a URL writes as %XX")
    parts = urlsplit(text)
    if not parts.hostname or parts.port == 0:
        raise InvalidArgumentError(
            f"the URI {HttpUri(text).shown!r} names no host; expected http(s)://HOST[:PORT]/PATH"
        )
    return HttpUri(urlunsplit(parts._replace(fragment="")))


def _s3(rest: str) -> S3Uri:
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidArgumentError(f"found the bucket {bucket!r}; expected s3://BUCKET/KEY or s3://BUCKET/PREFIX/")
    return S3Uri(bucket, key)


def _oci(text: str, rest: str) -> OciUri:
    named, at, pinned = rest.partition("@")
    registry, _, path = named.partition("/")
    repository, colon, tag = path.partition(":")
    if (
        not _REGISTRY.fullmatch(registry)
        or not _REPOSITORY.fullmatch(repository)
        or (colon and not _TAG.fullmatch(tag))
    ):
        raise InvalidArgumentError(
            f"found {text!r}; expected oci://HOST[:PORT]/NAME[:TAG|@sha256:HEX], the name in lower case"
        )
    algorithm, _, digest = pinned.partition(":")
    if at and (algorithm != DIGEST_ALGORITHM or not _HEX.fullmatch(digest)):
        raise InvalidArgumentError(f"found the digest {pinned!r}; expected sha256: and 64 hexadecimal digits")
    return OciUri(registry, repository, tag or "latest", digest)


def checked_digest(uri: Uri, sha256: str | None, *, unverified: bool) -> str:
    """The digest that a version must have.

    Args:
        sha256: as it was given; None when it was not.
        unverified: whether nothing is to be checked.

    Returns: "" when the URI pins it, or nobody checks.
    Raises:
        InvalidArgumentError: there is none and nobody said that none is wanted; or there are two.
    """
    pinned = uri.digest if isinstance(uri, OciUri) else ""
    if sha256 is None:
        if not pinned and not unverified:
            raise InvalidArgumentError(
                "--sha256 HEX is missing; `edgewise fetch --digest PATH` prints it where the version was made, "
                "and --unverified takes what comes"
            )
        return ""
    given = parse_sha256(sha256)
    if unverified:
        raise InvalidArgumentError("--sha256 and --unverified contradict each other; expected one of them")
    if pinned and pinned != given:
        raise InvalidArgumentError(
            f"the URI pins sha256:{pinned} and --sha256 is {given}; expected one of them, or twice the same"
        )
    return given
