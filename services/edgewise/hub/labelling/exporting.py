"""Writes samples to a directory, in one of the formats: whole, or not at all."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edgewise.core.errors import FailedPreconditionError, NotFoundError
from edgewise.hub.labelling.files import suffix_of
from edgewise.hub.labelling.formats import Format
from edgewise.hub.labelling.shown import PICTURE, SAMPLE_ID, Shown, label_fault


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and what was left out.

    Attributes:
        without_label: have no place in a format of folders.
        without_picture: are tensors, or pictures of a kind that is not known.
        gone: went from the hub while it was asked.
    """

    pictures: int
    without_label: int
    without_picture: int
    gone: int

    @property
    def left_out(self) -> str:
        """For people: how many samples were left out, and why; "" for none."""
        said = (
            (self.without_label, "without a label left out"),
            (self.without_picture, "without a picture left out"),
            (self.gone, "gone meanwhile"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in said if count)


def export(
    samples: Iterable[Shown],
    picture: Callable[[str], bytes],
    form: Format,
    out: Path,
    *,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Exported:
    """Write samples.

    Args:
        picture: gives the picture of an id; NotFoundError where it has gone.
        out: a directory that is not there, or is empty.
        on_bytes: is told how many more bytes of pictures there are.
    Raises: FailedPreconditionError: no sample with a picture is meant, and nothing is written; the directory is there and not empty, or cannot be
        written; or what the hub gives out does not hold.
    """
    _check_free(out)
    try:
        with _directory_of(out) as parent:
            beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=parent))
            try:
                beside.chmod(0o755)
                exported = _write(samples, picture, form, beside, name=out.absolute().name, on_bytes=on_bytes)
                beside.rename(out)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise FailedPreconditionError(f"{out} cannot be written: {error.strerror}") from error
    return exported


@contextmanager
def _directory_of(out: Path) -> Iterator[Path]:
    """The directory in which another is to be: it is made, and does not stay where that fails."""
    parent = out.absolute().parent
    missing = [one for one in (parent, *parent.parents) if not one.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    try:
        yield parent
    except BaseException:
        with suppress(OSError):
            for one in missing:
                one.rmdir()
        raise


def _write(
    samples: Iterable[Shown],
    picture: Callable[[str], bytes],
    form: Format,
    directory: Path,
    *,
    name: str,
    on_bytes: Callable[[int], None],
) -> Exported:
    written: list[tuple[str, Shown]] = []
    without_label = without_picture = gone = 0
    for shown in samples:
        _check(shown)
        if shown.kind != PICTURE or not suffix_of(shown.content_type):
            without_picture += 1
        elif form.needs_label and not shown.label:
            without_label += 1
        else:
            file = form.place(shown)
            try:
                content = picture(shown.id)
            except NotFoundError:
                gone += 1
                continue
            if shown.sha256 and sha256(content).hexdigest() != shown.sha256:
                raise FailedPreconditionError(
                    f"the picture of {shown.id} is not the one whose SHA-256 the hub says; nothing was written"
                )
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            (directory / file).write_bytes(content)
            written.append((file, shown))
            on_bytes(len(content))
    exported = Exported(len(written), without_label, without_picture, gone)
    if not written:
        why = exported.left_out or "no sample matches"
        raise FailedPreconditionError(f"there is no picture to export ({why}); nothing was written")
    for file, content in form.files(written, name).items():
        (directory / file).write_bytes(content)
    return exported


def _check(shown: Shown) -> None:
    """Whatever a hub says becomes no name of a file before it was looked at."""
    if not SAMPLE_ID.fullmatch(shown.id):
        raise FailedPreconditionError(f"the hub names a sample {shown.id[:80]!r}, which is no id of one")
    if shown.label and (fault := label_fault(shown.label)):
        raise FailedPreconditionError(f"the sample {shown.id} cannot be exported: {fault}")


def _check_free(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise FailedPreconditionError(f"{out} is there already and is no directory; choose another name")
    if any(out.iterdir()):
        raise FailedPreconditionError(f"{out} is there already and not empty; choose another name, or remove it")
