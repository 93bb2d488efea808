"""What is in container images, by size: against the base, by layer, by directory, by package.

    python deploy/images/sizes.py IMAGE...
    python deploy/images/sizes.py --base python:3.11-slim-bookworm --json IMAGE...

Reads `podman save` (or `docker save`) and needs nothing but Python. Sizes are those of files as they lie in the layers, before
compression; what a later layer hides is counted where it lies, since it is still there to be pulled and stored.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

BASE = "python:3.11-slim-bookworm"
_SITE_PACKAGES = re.compile(r"(?:^|/)(?:site|dist)-packages/([^/]+)")
# What a wheel brings beside its package: metadata, and libraries of its own.
_BESIDE = re.compile(r"(-[^-]+\.dist-info|\.libs)$")
_SHOWN = 8
_SHOWN_BYTES = 50_000


class SizesError(Exception):
    """An image cannot be looked into; the message says why."""


@dataclass(slots=True)
class Contents:
    """What one image holds.

    Attributes:
        added: SHA-256 and bytes of each layer that is not the base's.
        directories: bytes by directory, of what is not the base's.
        packages: bytes by Python package, of what is not the base's.
    """

    image: str
    added: list[tuple[str, int]] = field(default_factory=list)
    base_bytes: int = 0
    directories: Counter[str] = field(default_factory=Counter)
    packages: Counter[str] = field(default_factory=Counter)

    @property
    def total_bytes(self) -> int:
        """Of all layers."""
        return self.base_bytes + self.added_bytes

    @property
    def added_bytes(self) -> int:
        """Of the layers that are not the base's."""
        return sum(size_bytes for _, size_bytes in self.added)


def engine() -> str:
    """The program that has the images.

    Raises: SizesError: there is none.
    """
    for name in ("podman", "docker"):
        if shutil.which(name):
            return name
    raise SizesError("neither podman nor docker was found; install one of them")


def base_layers(base: str) -> frozenset[str]:
    """The layers of the base image, as SHA-256 digests of what they hold."""
    return frozenset(_inspected(base)["RootFS"]["Layers"])


def look_into(image: str, base: frozenset[str]) -> Contents:
    """Read an image's layers.

    Args:
        base: layers that are counted as the base's.
    Raises: SizesError: there is no such image.
    """
    contents = Contents(image)
    digests = _inspected(image)["RootFS"]["Layers"]
    with tempfile.TemporaryDirectory(prefix="image-sizes-") as name:
        saved = Path(name, "image.tar")
        _ran("save", "--output", str(saved), image)
        with tarfile.open(saved) as archive:
            manifest = json.load(_member(archive, "manifest.json"))[0]
            for digest, layer in zip(digests, manifest["Layers"], strict=True):
                with tarfile.open(fileobj=_member(archive, layer)) as files:
                    _add_layer(contents, digest, files, is_base=digest in base)
    return contents


def table(contents: Contents) -> str:
    """The contents as text."""
    lines = [
        contents.image,
        f"  {_megabytes(contents.total_bytes)}  in all",
        f"  {_megabytes(contents.base_bytes)}  base",
        f"  {_megabytes(contents.added_bytes)}  on top of it",
    ]
    layers = Counter(
        {f"layer {digest.removeprefix('sha256:')[:12]}": size_bytes for digest, size_bytes in contents.added}
    )
    for title, sizes in (
        ("by layer", layers),
        ("by directory", contents.directories),
        ("by package", contents.packages),
    ):
        lines.append(f"  {title}")
        shown = [entry for entry in sizes.most_common(_SHOWN) if entry[1] >= _SHOWN_BYTES]
        lines += [f"    {_megabytes(size_bytes)}  {name}" for name, size_bytes in shown]
        rest_bytes = sizes.total() - sum(size_bytes for _, size_bytes in shown)
        if rest_bytes:
            lines.append(f"    {_megabytes(rest_bytes)}  {len(sizes) - len(shown)} others")
    return "\n".join(lines)


def _add_layer(contents: Contents, digest: str, files: tarfile.TarFile, *, is_base: bool) -> None:
    sizes = list(_sizes(files))
    layer_bytes = sum(size_bytes for _, size_bytes in sizes)
    if is_base:
        contents.base_bytes += layer_bytes
        return
    contents.added.append((digest, layer_bytes))
    for path, size_bytes in sizes:
        contents.directories["/" + "/".join(path.parts[:2])] += size_bytes
        found = _SITE_PACKAGES.search(str(path))
        if found:
            contents.packages[_package(found[1])] += size_bytes


def _sizes(files: tarfile.TarFile) -> Iterator[tuple[PurePosixPath, int]]:
    for member in files:
        if member.isfile():
            yield PurePosixPath(member.name.removeprefix("./")), member.size


def _package(entry: str) -> str:
    name = _BESIDE.sub("", entry).removesuffix(".py")
    # Distributions that are called otherwise than what they install.
    return {"pillow": "PIL", "protobuf": "google"}.get(name.lower(), name)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:7.1f} MB"


def _inspected(image: str) -> dict[str, dict[str, list[str]]]:
    found: list[dict[str, dict[str, list[str]]]] = json.loads(_ran("image", "inspect", image))
    return found[0]


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise SizesError(f"the saved image has no file {name}")
    return found


def _ran(*words: str) -> str:
    done = subprocess.run([engine(), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise SizesError(f"{engine()} {words[0]} failed: {said}")
    return done.stdout


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Print what is in container images, by size.")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--base", default=BASE, metavar="IMAGE", help=f"what they stand on (default {BASE})")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(words)
    try:
        base = base_layers(arguments.base)
        found = [look_into(image, base) for image in arguments.images]
    except SizesError as error:
        print(f"sizes.py: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(
            json.dumps(
                [
                    {
                        "image": one.image,
                        "total_bytes": one.total_bytes,
                        "added_bytes": one.added_bytes,
                        "packages": dict(one.packages.most_common()),
                        "directories": dict(one.directories.most_common()),
                    }
                    for one in found
                ],
                indent=2,
            )
        )
    else:
        print("\n\n".join(map(table, found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
