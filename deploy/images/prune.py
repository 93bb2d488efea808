"""Takes away what an image's packages carry and nothing uses.

    python prune.py SITE_PACKAGES [--unused FILE]... [--debug-symbols FILE]...

Each FILE holds patterns relative to SITE_PACKAGES, one a line. What matches in a file of `--unused` is removed; what matches in
one of `--debug-symbols` is stripped. A pattern need not match: images differ in their packages.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def matching(packages: Path, files: list[Path]) -> Iterator[Path]:
    """What the patterns of the files match, and is still there when it is its turn."""
    for file in files:
        for line in file.read_text().splitlines():
            pattern = line.partition("#")[0].strip()
            for path in sorted(packages.glob(pattern)) if pattern else ():
                if path.exists():
                    yield path


def size_bytes(path: Path) -> int:
    """What a file, or everything in a directory, takes."""
    return sum(one.lstat().st_size for one in ([path, *path.rglob("*")] if path.is_dir() else [path]))


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Take away what installed packages carry and nothing uses.")
    parser.add_argument("packages", type=Path, metavar="SITE_PACKAGES")
    parser.add_argument("--unused", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--debug-symbols", type=Path, action="append", default=[], metavar="FILE")
    arguments = parser.parse_args()
    if not arguments.packages.is_dir():
        parser.error(f"{arguments.packages} is no directory; expected one of installed packages")
    before_bytes = size_bytes(arguments.packages)
    for path in matching(arguments.packages, arguments.unused):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for path in matching(arguments.packages, arguments.debug_symbols):
        subprocess.run(["strip", "--strip-unneeded", str(path)], check=True)
    saved_bytes = before_bytes - size_bytes(arguments.packages)
    print(f"{before_bytes / 1e6:.1f} MB of packages, {saved_bytes / 1e6:.1f} MB of them taken away")
    return 0


if __name__ == "__main__":
    sys.exit(main())
