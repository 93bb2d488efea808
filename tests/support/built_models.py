"""Models that take long to build, built once for all test processes and all suites of this tree.

They lie in `build/tests`, under the digest of all that they are made of.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Final

from support.environments import ROOT, alone

_MADE_OF: Final = ("services/edgewise/model_server", "examples/images", "constraints.txt")
_SUFFIXES: Final = frozenset({".py", ".txt", ".jpg"})


def pets(directory: Path, variant: str = "edge") -> Path:
    """A repository with `pets`, of the caller's own: a copy of the one that was built.

    Args:
        directory: where it goes; it exists.
    """
    from edgewise.model_server.building import pets as building

    kept = ROOT / "build" / "tests" / f"pets-{variant}-{_digest()}"
    with alone(kept.name):
        if not kept.exists():
            making = kept.with_name(f"{kept.name}.making")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            building.build(making, variant=variant, report=print)
            making.rename(kept)
    return shutil.copytree(kept, directory, dirs_exist_ok=True)


def _digest() -> str:
    found = hashlib.sha256()
    for name in _MADE_OF:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.suffix in _SUFFIXES:
                found.update(f"{path.relative_to(ROOT)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]
