"""Takes away what an image's packages carry and nothing imports.

    python prune.py SITE_PACKAGES FILE...

Each FILE holds patterns relative to SITE_PACKAGES, one a line. A pattern need not match: images differ in their packages.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path


def patterns(file: Path) -> Iterator[str]:
    """The patterns of one file."""
    for line in file.read_text().splitlines():
        pattern = line.partition("#")[0].strip()
        if pattern:
            yield pattern


def size_bytes(path: Path) -> int:
    """What a file, or everything in a directory, takes."""
    return sum(one.lstat().st_size for one in ([path, *path.rglob("*")] if path.is_dir() else [path]))


def prune(packages: Path, files: list[Path]) -> int:
    """Take away what the files name.

    Returns: bytes that this saved.
    """
    saved_bytes = 0
    for file in files:
        for pattern in patterns(file):
            for path in sorted(packages.glob(pattern)):
                # An earlier match may have held this one.
                if not path.exists():
                    continue
                saved_bytes += size_bytes(path)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
    return saved_bytes


def main(words: list[str]) -> int:
    """Do what the command line says."""
    if len(words) < 2:
        print("usage: prune.py SITE_PACKAGES FILE...", file=sys.stderr)
        return 2
    packages = Path(words[0])
    if not packages.is_dir():
        print(f"prune.py: {packages} is no directory; expected one of installed packages", file=sys.stderr)
        return 1
    print(f"pruned {prune(packages, [Path(word) for word in words[1:]]) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
