"""Compiles the modules that every request passes through to machine code, with mypyc.

    python hot_path.py            compile what changed, and put it beside the sources
    python hot_path.py --remove   take it away: Python interprets the sources again
    python hot_path.py --ahead    compile what changed, for later

Python prefers a compiled module to the source beside it, so a tree that is worked on should be without. A wheel has them:
`hatch_build.py` compiles them when one is built. Without a C compiler or mypyc everything is interpreted: the answers are the
same, and a request costs half as much again.
"""

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent
PACKAGES = ROOT / "services"
SUFFIX: str = sysconfig.get_config_var("EXT_SUFFIX")
BUILT = ROOT / "build" / f"hot-path{SUFFIX.removesuffix('.so')}"
GROUP = "edgewise.hot_path"
"""What all compiled modules share is one library of this name, with `__mypyc` behind it."""

# Only what is compiled has to be known; the libraries that the modules import need not be installed to compile them.
_MYPY = """[mypy]
explicit_package_bases = True
namespace_packages = True
ignore_missing_imports = True
follow_imports = silent
"""
# An edge node's disk is small: this makes half the size of -O3, and requests take as long.
_SMALL = ["-fvisibility=hidden", "-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables"]
_SMALL_LINKED = ["-s", "-Wl,--gc-sections", "-Wl,-z,noseparate-code", "-Wl,--build-id=none"]
_SETUP = f"""
import sys
from mypyc.build import mypycify
from setuptools import setup

target, *modules = sys.argv[1:]
options = ["--config-file", "mypy.ini"]
extensions = mypycify([*options, *modules], opt_level="s", debug_level="0", group_name={GROUP!r})
for extension in extensions:
    extension.extra_compile_args += {_SMALL!r}
    extension.extra_link_args += {_SMALL_LINKED!r}
setup(name="hot-path", packages=[], ext_modules=extensions, script_args=["-q", "build_ext", "--build-lib", target])
"""


class CompileError(Exception):
    """The modules were not compiled; the message says why."""


class NoCompilerError(CompileError):
    """There is nothing to compile with."""


def modules() -> list[Path]:
    """The sources to compile, relative to services/."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [Path(name) for name in project["tool"]["edgewise"]["hot-path"]["modules"]]


def compiled() -> list[Path]:
    """What `build` has made, relative to services/, once it is up to date.

    Raises:
        NoCompilerError: there is no compiler or no mypyc.
        CompileError: it found a fault.
    """
    digest = _digest()
    noted = BUILT / "digest"
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    with BUILT.with_name("hot-path.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not noted.exists() or noted.read_text() != digest:
            shutil.rmtree(BUILT, ignore_errors=True)
            _compile(BUILT)
            noted.write_text(digest)
    return [path.relative_to(BUILT) for path in BUILT.rglob("*.so")]


def place() -> int:
    """Put what is compiled beside the sources.

    Returns: how many modules there are.
    """
    made = compiled()
    remove()
    for path in made:
        shutil.copy(BUILT / path, PACKAGES / path)
    return len(made) - 1


def remove() -> None:
    """Take away what is compiled beside the sources."""
    for path in _placed():
        path.unlink()


def stale() -> list[Path]:
    """Sources that changed after what is compiled beside them was made."""
    pairs = [(path, path.with_name(path.name.removesuffix(SUFFIX) + ".py")) for path in _placed()]
    return [source for made, source in pairs if source.exists() and source.stat().st_mtime > made.stat().st_mtime]


def _placed() -> list[Path]:
    # By what they load and not by the list, which may have been another one when they were placed: one that stayed
    # behind would want the library that is gone.
    shared = f"{GROUP}__mypyc"
    return [
        path
        for path in sorted((PACKAGES / "edgewise").rglob(f"*{SUFFIX}"))
        if path.name == shared.rpartition(".")[2] + SUFFIX or shared.encode() in path.read_bytes()
    ]


def _digest() -> str:
    """Of every source, since constants and types of others are compiled in; and of how they are compiled."""
    digest = hashlib.sha256(_SETUP.encode() + _MYPY.encode() + repr(modules()).encode())
    for path in sorted((PACKAGES / "edgewise").rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _compile(target: Path) -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        raise NoCompilerError("no C compiler was found")
    if importlib.util.find_spec("mypyc") is None or importlib.util.find_spec("setuptools") is None:
        raise NoCompilerError("mypy[mypyc] is not installed")
    with tempfile.TemporaryDirectory(prefix="hot-path-") as name:
        work = Path(name)
        # A copy: mypyc writes beside what it compiles.
        shutil.copytree(PACKAGES, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        (work / "mypy.ini").write_text(_MYPY)
        command = [sys.executable, "-c", _SETUP, str(target.absolute()), *map(str, modules())]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(f"mypyc failed:\n{(done.stdout + done.stderr)[-4000:]}")


def main() -> int:
    """Do what the command line says."""
    if "--remove" in sys.argv[1:]:
        remove()
        return 0
    try:
        if "--ahead" in sys.argv[1:]:
            compiled()
            return 0
        count = place()
    except CompileError as error:
        remove()
        print(f"edgewise: {error}; the hot path stays interpreted", file=sys.stderr)
        return 0 if isinstance(error, NoCompilerError) else 1
    print(f"{count} modules of the hot path run compiled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
