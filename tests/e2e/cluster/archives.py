"""Model versions as they are published: one archive each, with its checksum."""

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from edgewise.model_server.building import pets, tiny
from support.app_questions import Question

IMAGES = Path(__file__).resolve().parents[3] / "examples" / "images"
PHOTOGRAPHS = {
    "kitten.jpg": ["Egyptian cat", "cat"],
    "duck.jpg": ["goose", "other"],
    "scarlet_macaw.jpg": ["macaw", "other"],
    "baseball.jpg": ["baseball", "other"],
    "bucket.jpg": ["bucket", "other"],
}
ROW = [0.25] * 8


@dataclass(frozen=True)
class Archive:
    """One version, packed.

    Attributes:
        model, version: what the pods call it.
        name: of the file in the store.
    """

    model: str
    version: int
    name: str
    path: Path

    @property
    def sha256(self) -> str:
        """Of its bytes, in hex."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Published:
    """What the suite serves, and the directory that an edge node serves it from."""

    repository: Path
    pets_1: Archive
    pets_2: Archive
    tiny_1: Archive
    tiny_2: Archive
    truncated: Archive


def publish(directory: Path) -> Published:
    """Build and pack them."""
    repository = directory / "models"
    pets.build(repository, variant="edge", report=lambda _: None)
    tiny.build(repository, version=1)
    first, row = repository / "pets" / "1", repository / "tiny" / "1"

    def pack(source: Path, version: int, name: str, model_bytes: int | None = None) -> Archive:
        archive = Archive(source.parent.name, version, name, directory / name)
        return _pack(source, archive, model_bytes=model_bytes)

    packed = Published(
        repository,
        pets_1=pack(first, 1, "pets-1.tar.gz"),
        pets_2=pack(first, 2, "pets-2.tar.gz"),
        tiny_1=pack(row, 1, "tiny-1.tar.gz"),
        tiny_2=pack(row, 2, "tiny-2.tar.gz"),
        truncated=pack(row, 3, "tiny-truncated.tar.gz", model_bytes=200),
    )
    # The container's user is nobody here.
    for path in (repository, *repository.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    directory.chmod(0o755)
    return packed


def _pack(source: Path, archive: Archive, *, model_bytes: int | None = None) -> Archive:
    """Archive a version directory, reproducibly.

    Args:
        model_bytes: cut the network's file off there, as an export that was interrupted leaves it.
    """
    with tarfile.open(archive.path, "w:gz", compresslevel=1) as file:
        for path in sorted(source.iterdir()):
            data = path.read_bytes()
            if path.name == "model.toml":
                # The archives of two versions are not the same bytes.
                data += f"# version {archive.version}\n".encode()
            if path.name == "model.onnx":
                data = data[:model_bytes]
            info = tarfile.TarInfo(path.name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return archive


def photograph_questions(*versions: int) -> list[Question]:
    """Photographs of about 20 kB, and what pets says of them."""
    return [
        Question("pets", expected, photograph=str(IMAGES / name), versions=list(versions))
        for name, expected in PHOTOGRAPHS.items()
    ]


def row_questions(body_bytes: int, *versions: int) -> list[Question]:
    """A row in a body of that size, and what tiny makes of it."""
    import numpy as np

    answer = tiny.answer(np.array([ROW], dtype=np.float32))[0]
    return [
        Question("tiny", [float(value) for value in answer], row=ROW, body_bytes=body_bytes, versions=list(versions))
    ]
