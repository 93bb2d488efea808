"""Compiles the modules that a start imports, and no others.

    python precompile.py [--root DIR] MODULE...

Imports each MODULE and writes the byte code of everything that this loaded beside its source, or under DIR as if that were the
root, unless it is beside its source already. A root file system that is read-only keeps Python from doing so itself, and
each start would compile anew. The byte code is not checked against its source: neither changes in an image.
"""

import argparse
import importlib
import py_compile
import sys
from pathlib import Path


def compile_loaded(root: Path) -> int:
    """Compile whatever is loaded from sources.

    Args:
        root: where byte code goes, in the place that Python has for it below /.

    Returns: how many modules were compiled.
    """
    count = 0
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        source = getattr(spec, "origin", None)
        cached = getattr(spec, "cached", None)
        if not source or not cached or not source.endswith(".py") or Path(cached).exists():
            continue
        py_compile.compile(
            source,
            cfile=str(root / Path(cached).relative_to("/")),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        count += 1
    return count


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Compile the modules that a start imports.")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="where byte code goes (default /)")
    parser.add_argument("modules", nargs="+", metavar="MODULE")
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    for name in arguments.modules:
        importlib.import_module(name)
    print(f"compiled {compile_loaded(arguments.root)} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
