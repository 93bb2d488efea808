"""What a hub gives out, looked at with a site's eyes: nothing of it is believed that the chain of signatures from the root does not hold."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Targets
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from edgewise.core.errors import (
    EdgewiseError,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from edgewise.core.releases import Release, unknown_release
from edgewise.hub.console.client import HubClient
from edgewise.protocols.release_manifest import decode_release
from edgewise.trust.tuf_files import (
    MAX_ROOT_BYTES,
    MAX_TARGETS_BYTES,
    TIMESTAMP_FILE,
    check_not_carried,
    read,
    release_of,
    release_path,
)

METADATA_PATH: Final = "/tuf/metadata/"
TARGETS_PATH: Final = "/tuf/targets/"
_ROLES: Final = ("timestamp", "snapshot", "targets")


class TrustedHub:
    """Metadata and target files of a hub, verified.

    Args:
        root: the first root, which is trusted.
        directory: empty; for what was verified.
        timestamp: that the hub signed for a bundle, in place of the one that it gives out.
    Raises:
        PermissionDeniedError, FailedPreconditionError: what the hub gives out does not hold; the message says what.
        UnavailableError, NotFoundError: it cannot be asked, or gives out nothing.
    """

    def __init__(self, client: HubClient, root: bytes, directory: Path, *, timestamp: bytes | None = None) -> None:
        self._directory = directory
        fetcher = _Fetcher(client, timestamp)
        with _verdicts(fetcher):
            self._updater = Updater(
                str(directory), METADATA_PATH, str(directory), TARGETS_PATH, fetcher, bootstrap=root
            )
            self._updater.refresh()
        if timestamp is None:
            check_not_carried((directory / TIMESTAMP_FILE).read_bytes())
        self._fetcher = fetcher

    def roots(self) -> dict[int, bytes]:
        """All roots by version."""
        paths = (self._directory / "root_history").glob("*.root.json")
        return dict(sorted((int(path.name.partition(".")[0]), path.read_bytes()) for path in paths))

    def root_version(self) -> int:
        """Of the newest root."""
        return max(self.roots())

    def targets(self) -> Targets:
        """What targets.json says."""
        return read(
            (self._directory / "targets.json").read_bytes(), Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES
        ).signed

    def metadata(self) -> dict[str, bytes]:
        """All metadata, by the names under which a hub gives them out."""
        found = {f"{version}.root.json": content for version, content in self.roots().items()}
        for role in _ROLES:
            content = (self._directory / f"{role}.json").read_bytes()
            version = "" if role == "timestamp" else f"{Metadata.from_bytes(content).signed.version}."
            found[f"{version}{role}.json"] = content
        return found

    def target(self, path: str) -> bytes:
        """The content of a target file.

        Raises: as the class, and NotFoundError: targets.json names none of that path.
        """
        with _verdicts(self._fetcher):
            target = self._updater.get_targetinfo(path)
            if target is None:
                raise NotFoundError(f"the hub's targets.json names no {path}")
            place = self._directory / "content" / quote(path, "")
            self._updater.download_target(target, str(place))
            return place.read_bytes()

    def release(self, model: str, version: int) -> tuple[Release, bytes]:
        """A release, and its manifest.

        Raises: as the class, and NotFoundError: there is none; the message says which there are.
        """
        known = self.targets().targets
        if release_path(model, version) not in known:
            raise unknown_release(model, version, filter(None, map(release_of, known)))
        content = self.target(release_path(model, version))
        release = decode_release(content)
        if (release.model, release.version) != (model, version):
            raise FailedPreconditionError(f"the manifest of {model}/{version} is that of {release.name}")
        return release, content


def first_root(client: HubClient) -> bytes:
    """The first root as the hub gives it out: trusted by whoever takes it, and by no site."""
    content = client.read(f"{METADATA_PATH}1.root.json", max_bytes=MAX_ROOT_BYTES)
    read(content, Root, what="the hub's first root", max_bytes=MAX_ROOT_BYTES)
    return content


class _Fetcher(FetcherInterface):
    """Lets python-tuf read through the client.

    Attributes:
        failed: why the hub could not be asked, when it could not.
    """

    def __init__(self, client: HubClient, timestamp: bytes | None) -> None:
        self._client = client
        self._timestamp = timestamp
        self.failed: EdgewiseError | None = None

    def _fetch(self, url: str) -> Iterator[bytes]:
        if self._timestamp is not None and url == f"{METADATA_PATH}{TIMESTAMP_FILE}":
            yield self._timestamp
            return
        try:
            yield from self._client.stream(url)
        except NotFoundError as error:
            raise DownloadHTTPError(error.message, 404) from error
        except EdgewiseError as error:
            self.failed = error
            raise DownloadError(error.message) from error


@contextlib.contextmanager
def _verdicts(fetcher: _Fetcher) -> Iterator[None]:
    """Say in our words what python-tuf refused."""
    try:
        yield
    except ExpiredMetadataError as error:
        raise FailedPreconditionError(f"the hub's metadata has expired: {error}") from error
    except UnsignedMetadataError as error:
        raise PermissionDeniedError("the hub's metadata is not signed by those who may sign it") from error
    except BadVersionNumberError as error:
        raise FailedPreconditionError(f"the versions of the hub's metadata do not fit together: {error}") from error
    except LengthOrHashMismatchError as error:
        raise FailedPreconditionError("a file of the hub is not what its metadata says it is") from error
    except DownloadHTTPError as error:
        raise NotFoundError("the hub lacks a file that its metadata names, or it gives out no metadata") from error
    except DownloadError as error:
        raise fetcher.failed or UnavailableError("the hub gave out more than its metadata says") from error
    except RepositoryError as error:
        raise FailedPreconditionError("the hub gives out metadata that cannot be read") from error
