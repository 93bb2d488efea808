"""Artifacts of OCI registries, over the package oras.

A layer with a title is a file of that name; a layer that is a tar or tar+gzip of an image is unpacked, as `oras push` makes it of a
directory. Digests of the manifest and of the layers are checked. Credentials come from docker's config.json, its helpers included.
"""

import hashlib
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from edgewise.agent.fetching.http_source import connection_error, status_error, tls_context
from edgewise.agent.fetching.port import Body, Kind, Offer, Piece, TimeLimits, TransferError
from edgewise.agent.fetching.uris import OciUri
from edgewise.core.errors import EdgewiseError, FailedPreconditionError, PermissionDeniedError, UnavailableError
from edgewise.core.file_names import MAX_FILES

CHUNK_BYTES = 1 << 18
MAX_MANIFEST_BYTES = 4 << 20
"""OCI distribution specification, "Pushing Manifests": registries take at least as much."""
TITLE = "org.opencontainers.image.title"
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_ARCHIVES = (
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
_TAR = "application/vnd.oci.image.layer.v1.tar"


class OciSource:
    """One artifact.

    Args:
        insecure: speak HTTP.
        ca: certificates (PEM) to trust in place of the system's.

    Raises:
        UnavailableError: the package oras is not installed.
        InvalidArgumentError: `ca` holds no certificates.
    """

    def __init__(self, uri: OciUri, *, limits: TimeLimits, insecure: bool = False, ca: Path | None = None) -> None:
        try:
            import oras.auth  # noqa: PLC0415  (only those who fetch from registries have it)
            import oras.container  # noqa: PLC0415  (as above)
            import requests  # noqa: PLC0415  (as above)
        except ImportError:
            raise UnavailableError(
                "fetching from oci:// needs the package oras; install it: pip install 'edgewise[fetch]'"
            ) from None
        self._uri = uri
        self._errors = requests.exceptions
        self._timeout = (limits.connect_s, limits.stall_s)
        self._verify = _bundle(ca)
        self._scheme = "http" if insecure else "https"
        self._session = _session(requests, self._timeout)
        self._container = oras.container.Container(uri.repository, registry=uri.registry)
        # Its parser takes a name such as my.models/pets for a host and a name, and a host without a dot for none.
        self._container.registry = uri.registry
        namespace, _, self._container.repository = uri.repository.rpartition("/")
        self._container.namespace = namespace or None
        self._container.tag, self._container.digest = uri.tag, f"sha256:{uri.digest}" if uri.digest else None
        self._access = _Access(
            oras.auth, self._session, insecure=insecure, verify=self._verify, container=self._container
        )

    def offer(self) -> Offer:
        """See `Source`."""
        response = self._ask(self._container.manifest_url(), {"Accept": ", ".join((*_MANIFESTS, *_INDEXES))})
        with response:
            try:
                content: bytes = response.raw.read(MAX_MANIFEST_BYTES + 1, decode_content=True)
            except Exception as error:
                raise self._explained(error) from error
        if len(content) > MAX_MANIFEST_BYTES:
            raise FailedPreconditionError(f"{self._uri.shown}: the manifest is longer than 4 MiB; is it a model's?")
        digest = hashlib.sha256(content).hexdigest()
        if self._uri.digest and digest != self._uri.digest:
            raise FailedPreconditionError(
                f"{self._uri.shown}: the registry sent a manifest with the SHA-256 {digest}; it is not the one that was asked for"
            )
        return Offer(Kind.MANIFEST, self._pieces(content), digest)

    def open(self, piece: Piece, start_bytes: int) -> Body:
        """See `Source`."""
        # What a digest names does not change: resuming needs no validator.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start_bytes}-"} if start_bytes else {})
        response = self._ask(self._container.get_blob_url(piece.locator), headers)
        resumed = response.status_code == HTTPStatus.PARTIAL_CONTENT and response.headers.get(
            "Content-Range", ""
        ).startswith(f"bytes {start_bytes}-")
        if response.status_code == HTTPStatus.PARTIAL_CONTENT and not resumed:
            response.close()
            raise TransferError(f"{self._uri.shown}: the registry sent another part of a layer than was asked for")
        return Body(start_bytes if resumed else 0, piece.size_bytes, self._chunks(response), response.close)

    def close(self) -> None:
        """See `Source`."""
        self._session.close()

    def _ask(self, address: str, headers: Mapping[str, str]) -> Any:
        try:
            response = self._send(address, dict(headers))
            if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                response.close()
                response = self._send(address, self._access.answer_to(response, dict(headers)))
        except EdgewiseError:
            raise
        except Exception as error:
            raise self._explained(error) from error
        status: int = response.status_code
        if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            return response
        response.close()
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise PermissionDeniedError(
                f"{self._uri.shown}: the registry refused the credentials; `docker login {self._uri.registry}` writes them to "
                "~/.docker/config.json, a pod mounts a secret there or where DOCKER_CONFIG says"
            )
        raise status_error(status, self._uri.shown, response.headers.get("Retry-After"))

    def _send(self, address: str, headers: dict[str, str]) -> Any:
        return self._session.get(
            f"{self._scheme}://{address}", headers=self._access.known | headers, stream=True, verify=self._verify
        )

    def _chunks(self, response: Any) -> Iterator[bytes]:
        try:
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
                yield chunk
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> EdgewiseError:
        shown = self._uri.shown
        cause: BaseException = error
        while True:
            reason = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
            if not isinstance(reason, BaseException):
                break
            cause = reason
        if isinstance(cause, ssl.SSLCertVerificationError):
            return connection_error(cause, shown)
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause):
            return UnavailableError(f"{shown}: the registry does not speak TLS; add --insecure if it is one of HTTP")
        if isinstance(error, self._errors.Timeout) or "Timeout" in type(cause).__name__:
            return TransferError(f"{shown}: the registry kept silent for too long")
        if isinstance(error, self._errors.InvalidURL | self._errors.InvalidSchema):
            return FailedPreconditionError(f"{shown}: the registry redirects to what is no http(s) URL")
        if isinstance(cause, OSError) and cause.strerror:
            return TransferError(f"{shown}: {cause.strerror}")
        return TransferError(f"{shown}: the connection could not be made, or was cut")

    def _pieces(self, content: bytes) -> tuple[Piece, ...]:
        shown = self._uri.shown
        try:
            manifest = json.loads(content)
            kind = manifest.get("mediaType", "")
            if kind in _INDEXES or "manifests" in manifest:
                raise FailedPreconditionError(
                    f"{shown} is an index of several manifests; name the one that is meant: NAME@sha256:HEX"
                )
            pieces = tuple(self._piece(layer) for layer in manifest["layers"])
        except EdgewiseError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FailedPreconditionError(f"{shown}: the registry sent a manifest that cannot be read") from error
        if not 0 < len(pieces) <= MAX_FILES:
            raise FailedPreconditionError(f"{shown} has {len(pieces)} layers; expected the files of one model version")
        return pieces

    def _piece(self, layer: Mapping[str, Any]) -> Piece:
        algorithm, _, digest = layer["digest"].partition(":")
        if algorithm != "sha256":
            raise FailedPreconditionError(f"{self._uri.shown}: a layer has a digest of {algorithm!r}; expected sha256")
        media, title, size_bytes = layer["mediaType"], (layer.get("annotations") or {}).get(TITLE, ""), layer["size"]
        if not isinstance(size_bytes, int) or size_bytes < 0 or not isinstance(title, str):
            raise TypeError("a layer's size or title")
        unpack = media in _ARCHIVES or (media == _TAR and not title)
        if not unpack and not title:
            raise FailedPreconditionError(
                f"{self._uri.shown}: a layer of type {media!r} has no title; expected files as `oras push` makes them"
            )
        return Piece(title or digest, f"sha256:{digest}", size_bytes, digest, unpack)


class _Access:
    """Answers a registry that asks who is there.

    Attributes:
        known: headers that it has let in before.
    """

    def __init__(self, auth: Any, session: Any, *, insecure: bool, verify: str | bool, container: Any) -> None:
        self.known: dict[str, str] = {}
        self._backends = {
            scheme: auth.get_auth_backend(name, session, insecure, tls_verify=verify)
            for scheme, name in (("basic", "basic"), ("bearer", "token"))
        }
        self._container = container
        self._loaded = False

    def answer_to(self, response: Any, headers: dict[str, str]) -> dict[str, str]:
        """The headers of the second try.

        Raises:
            PermissionDeniedError: there are no credentials for this registry, or they do not suffice.
        """
        scheme = response.headers.get("Www-Authenticate", "").partition(" ")[0].lower()
        backend = self._backends.get(scheme)
        refused = PermissionDeniedError(
            f"the registry {self._container.registry} wants credentials, and none that suit were found; `docker login` writes "
            "them to ~/.docker/config.json, a pod mounts a secret there or where DOCKER_CONFIG says"
        )
        if backend is None:
            raise refused
        if not self._loaded:
            try:
                for each in self._backends.values():
                    each.load_configs(self._container, configs=_docker_configs())
            except Exception as error:
                # Whatever the package stumbles over in a file that is not as docker writes it.
                raise PermissionDeniedError(
                    f"docker's config.json cannot be read, and the registry {self._container.registry} wants credentials"
                ) from error
            self._loaded = True
        try:
            answer, changed = backend.authenticate_request(response, headers, refresh=bool(self.known))
        except AttributeError as error:
            # What the package's backend for passwords does when it found none.
            raise refused from error
        if not changed:
            raise refused
        self.known = {"Authorization": answer["Authorization"]}
        return dict(answer)


def _docker_configs() -> list[str]:
    """Where else than in the home directory docker's configuration lies."""
    directory = os.environ.get("DOCKER_CONFIG", "")
    path = os.path.join(directory, "config.json")  # noqa: PTH118  (the package takes strings)
    return [path] if directory and os.path.exists(path) else []  # noqa: PTH110  (as above)


def _bundle(ca: Path | None) -> str | bool:
    """What `requests` checks servers against, which brings certificates of its own otherwise."""
    tls_context(ca)
    if ca is not None:
        return str(ca)
    system = ssl.get_default_verify_paths()
    return system.cafile or system.capath or True


def _session(requests: Any, timeout: tuple[float, float]) -> Any:
    """A session that waits for nothing without end, and keeps no cookies."""

    class Adapter(requests.adapters.HTTPAdapter):  # type: ignore[misc]  # the package is imported late
        def send(self, request: Any, **options: Any) -> Any:
            options["timeout"] = timeout
            return super().send(request, **options)

    session = requests.Session()
    session.max_redirects = 10
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())
    return session
