"""How a study was measured, for people: versions, commit, machine, date."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edgewise import __version__

PACKAGES: Final = ("numpy", "onnxruntime", "uvloop", "pyarrow", "matplotlib")
_PACKAGE_ROOT: Final = Path(__file__).parents[1]


def described() -> dict[str, str]:
    """What was the same for all runs, in the order in which it is shown."""
    commit = git_commit(_PACKAGE_ROOT)
    found = {
        "edgewise": __version__ + (f", commit {commit}" if commit else ""),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version}" for name in PACKAGES if (version := package_version(name))),
        "processor": processor(),
        "cores": cores(),
        "memory": memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "load average": f"{load_average()} when it began, of what else ran",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return {name: value for name, value in found.items() if value}


def git_commit(directory: Path) -> str:
    """The commit of the source tree that holds `directory`, "+" behind it when files were changed since; "" where there is none."""
    command = ["git", "-C", str(directory), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def package_version(name: str) -> str:
    """Of an installed package, without importing it; "" when there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name.strip() in {"model name", "Model", "cpu model"}:
            return value.strip()
    return platform.machine()


def cores() -> str:
    """How many this process may use, of how many."""
    usable, there = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    return str(usable) if usable == there else f"{usable} of {there}"


def memory() -> str:
    """Of the machine."""
    size_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{size_bytes / 2**30:.1f} GiB"


def load_average() -> str:
    """Processes that ran or wanted to, in the mean of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"
