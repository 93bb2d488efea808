"""Brings a version to its directory: what is there already, the source, the checks, the rename, in this order."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.agent.fetching.archives import max_unpacked_bytes, packing_of, unpack
from edgewise.agent.fetching.digests import digest_of_tree
from edgewise.agent.fetching.disk import check_room, disk_errors
from edgewise.agent.fetching.files_source import FilesSource
from edgewise.agent.fetching.model_files import look_for_model, looks_like_page, model_file_name, version_root
from edgewise.agent.fetching.place import Place, Record
from edgewise.agent.fetching.port import Kind, Offer, Piece, Source, TimeLimits, TransferError
from edgewise.agent.fetching.progress import Progress
from edgewise.agent.fetching.retries import RetryPolicy
from edgewise.agent.fetching.transfer import Retries, Terms, receive
from edgewise.agent.fetching.tree import MAX_BYTES, Tree
from edgewise.agent.fetching.uris import FileUri, HttpUri, OciUri, S3Uri, Uri
from edgewise.core.errors import FailedPreconditionError

DEFAULT_TIMEOUT_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch.

    Attributes:
        directory: the version's, absolute.
        sha256: what its digest must be, hexadecimal; "" when the URI pins it, or nobody checks.
        insecure: speak HTTP to registries.
        ca: certificates (PEM) that servers are checked against.
        timeout_s: for all of it.
        max_bytes: the greatest version that is taken, packed or not.
    """

    uri: Uri
    directory: Path
    sha256: str = ""
    insecure: bool = False
    ca: Path | None = None
    limits: TimeLimits = field(default_factory=TimeLimits)
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_s: float = DEFAULT_TIMEOUT_S
    max_bytes: int = MAX_BYTES

    @property
    def wanted(self) -> str:
        """The digest to check; "" for none."""
        return self.sha256 or (self.uri.digest if isinstance(self.uri, OciUri) else "")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is there now.

    Attributes:
        digest: what `--sha256` takes for it.
        size_bytes: of its files together.
        already: whether it was there before.
    """

    digest: str
    size_bytes: int
    files: int
    already: bool


def fetch(request: FetchRequest, say: Callable[[str], None]) -> Fetched:
    """Bring a version to its directory, whole and checked, or leave the directory as it was.

    Args:
        say: is called with lines about how it goes.

    Raises:
        EdgewiseError: it is not there; the message says why and what would be right.
    """
    place, shown = Place(request.directory), request.uri.shown
    terms = Terms(request.policy, time.monotonic() + request.timeout_s, request.max_bytes)
    with disk_errors(request.directory):
        # Before anything is written: a version that is baked in may lie on a disk that cannot be written to.
        record = place.present(request.wanted, shown)
        if record is not None:
            place.tidy()
            return _already(record)
        with place.locked(say, terms.check_deadline):
            record = place.present(request.wanted, shown)
            if record is not None:
                return _already(record)
            with contextlib.closing(source_of(request)) as source:
                return _Staging(request, source, place, terms, Progress(say)).fill()


def source_of(request: FetchRequest) -> Source:
    """Where a URI is fetched from; packages that it needs are imported here.

    Raises:
        UnavailableError: a package is not installed.
        InvalidArgumentError: an option or a variable of the environment cannot be used.
    """
    match request.uri:
        case FileUri(path):
            return FilesSource(path, request.directory)
        case HttpUri():
            from edgewise.agent.fetching.http_source import HttpSource  # noqa: PLC0415  (imported when used)

            return HttpSource(request.uri, limits=request.limits, ca=request.ca)
        case S3Uri():
            from edgewise.agent.fetching.s3_source import S3Source  # noqa: PLC0415  (as above)

            return S3Source(request.uri, limits=request.limits, time_limit_s=request.timeout_s, ca=request.ca)
        case OciUri():
            from edgewise.agent.fetching.oci_source import OciSource  # noqa: PLC0415  (as above)

            return OciSource(request.uri, limits=request.limits, insecure=request.insecure, ca=request.ca)


class _Staging:
    """One version on its way, below the place's staging directory."""

    def __init__(self, request: FetchRequest, source: Source, place: Place, terms: Terms, progress: Progress) -> None:
        self._request = request
        self._shown = request.uri.shown
        self._source = source
        self._place = place
        self._terms = terms
        self._progress = progress

    def fill(self) -> Fetched:
        offer = self._offer()
        if offer.digest:
            self._check(offer.digest, offer.kind)
        sizes = [piece.size_bytes for piece in offer.pieces]
        if None not in sizes:
            self._progress.total_bytes = sum(size for size in sizes if size is not None)
            check_room(self._place.staging, self._progress.total_bytes)
        alone = len(offer.pieces) == 1 and not offer.pieces[0].unpack and offer.kind is not Kind.DIRECTORY
        digest, tree = self._one_file(offer) if alone else self._several_files(offer)
        # Who packs a directory often packs its name as well; a directory that is named is taken as it is.
        root, files = version_root(tree.files) if offer.kind is not Kind.DIRECTORY else ("", tree.files)
        look_for_model(files, tree.root / root, self._shown)
        tree.sync()
        self._place.publish(tree.root / root, uri=self._shown, digest=digest, kind=offer.kind, files=files)
        return Fetched(digest, sum(file.size_bytes for file in files.values()), len(files), already=False)

    def _offer(self) -> Offer:
        retries = Retries(self._terms, self._progress.say)
        while True:
            try:
                return self._source.offer()
            except TransferError as error:
                retries.wait(error)

    def _one_file(self, offer: Offer) -> tuple[str, Tree]:
        """A model, or an archive with all of a version."""
        piece = offer.pieces[0]
        path = self._place.staging / "file"
        written = receive(self._source, piece, path, terms=self._terms, progress=self._progress)
        digest = offer.digest or written.sha256
        self._check(digest, offer.kind, path)
        packing = packing_of(path, self._shown)
        if packing is None:
            tree = self._tree(self._request.max_bytes)
            name, target = tree.claim(model_file_name(path, piece.name, self._shown))
            path.rename(target)
            tree.written(name, written)
        else:
            tree = self._tree(max_unpacked_bytes(written.size_bytes, self._request.max_bytes))
            unpack(path, packing, tree, self._shown)
            path.unlink()
        return digest, tree

    def _several_files(self, offer: Offer) -> tuple[str, Tree]:
        tree = self._tree(self._request.max_bytes)
        for piece in offer.pieces:
            if piece.unpack:
                self._unpack_layer(piece, tree)
            else:
                name, target = tree.claim(piece.name)
                tree.written(name, receive(self._source, piece, target, terms=self._terms, progress=self._progress))
        digest = offer.digest or digest_of_tree((name, file.sha256) for name, file in tree.files.items())
        self._check(digest, offer.kind)
        return digest, tree

    def _unpack_layer(self, piece: Piece, tree: Tree) -> None:
        path = self._place.staging / "layer"
        written = receive(self._source, piece, path, terms=self._terms, progress=self._progress)
        packing = packing_of(path, self._shown)
        if packing is None:
            raise FailedPreconditionError(
                f"{self._shown}: the layer {piece.name} is no archive, as its type says it is"
            )
        tree.bound(max_unpacked_bytes(written.size_bytes, self._request.max_bytes))
        unpack(path, packing, tree, self._shown)
        tree.bound(self._request.max_bytes)
        path.unlink()

    def _tree(self, max_bytes: int) -> Tree:
        root = self._place.staging / "version"
        root.mkdir()
        return Tree(root, self._shown, max_bytes=max_bytes)

    def _check(self, digest: str, kind: Kind, path: Path | None = None) -> None:
        wanted = self._request.wanted
        if not wanted or digest == wanted:
            return
        what = {
            Kind.FILE: "has the SHA-256",
            Kind.DIRECTORY: "has, as a list of its files with their digests, the SHA-256",
            Kind.MANIFEST: "has a manifest with the SHA-256",
        }[kind]
        page = ""
        if path is not None:
            with path.open("rb") as file:
                page = (
                    " It looks like a web page: does the server want a login?"
                    if looks_like_page(file.read(512))
                    else ""
                )
        how = "" if kind is Kind.MANIFEST else "; `edgewise fetch --digest PATH` computes it where the version was made"
        raise FailedPreconditionError(
            f"wrong checksum: {self._shown} {what} {digest}, expected {wanted}. "
            f"Either it is another version or it was changed, or --sha256 is another's{how}.{page}"
        )


def _already(record: Record) -> Fetched:
    sizes = [size_bytes for size_bytes, _, _ in record.files.values()]
    return Fetched(record.digest, sum(sizes), len(sizes), already=True)
