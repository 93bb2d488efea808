"""What suites install for themselves: virtual environments with pinned packages, and Debian's packages.

`python -m support.environments` installs all of them ahead (CI does it while other suites run); a suite that finds its own
missing installs it then. Whoever comes second waits for whoever came first.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
INSTALL_TIMEOUT_S: Final = 600
ENVIRONMENTS: Final = {
    "fetching-s3": "tests/e2e/fetching/requirements.txt",
    "clients-kserve": "tests/conformance/clients/kserve.txt",
    "clients-ovmsclient": "tests/conformance/clients/ovmsclient.txt",
    "clients-tritonclient": "tests/conformance/clients/tritonclient.txt",
    "grafana": "tests/e2e/observability/grafana-foundation-sdk.txt",
}
"""Name, behind `.venv-`, to the file of pins; in the order in which suites want them."""
PROGRAMS: Final = {
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "docker-registry": "docker-registry",
    "systemd-analyze": "systemd",
}
"""Program to Debian's package."""


class InstallError(Exception):
    """Something is missing and cannot be installed here; the message says what to do."""


def environment(name: str) -> Path:
    """The interpreter of an environment, which is made when its pins changed or it is not there."""
    pins = ROOT / ENVIRONMENTS[name]
    home = ROOT / f".venv-{name}"
    mark = home / ".installed"
    python = home / "bin" / "python"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()
    with alone(f"venv-{name}"):
        if not mark.exists() or mark.read_text() != digest:
            print(f"installing {pins.name} into {home.name}", flush=True)
            _run(sys.executable, "-m", "venv", "--clear", str(home))
            words = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--requirement", str(pins))
            _run(str(python), *words)
            mark.write_text(digest)
    return python


def programs(names: Sequence[str]) -> None:
    """See to it that these programs are there, from Debian's packages where they are not and root may install.

    Raises: InstallError: they are not there and do not install.
    """
    with alone("debian"):
        missing = sorted({PROGRAMS[name] for name in names if shutil.which(name) is None})
        if not missing:
            return
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise InstallError(f"missing, and only root can install them: apt-get install {' '.join(missing)}")
        _run("apt-get", "-qq", "update")
        _run("apt-get", "-qq", "install", "--yes", "--no-install-recommends", *missing)


def _run(*words: str) -> None:
    told = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(words, env=told, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    if done.returncode:
        raise InstallError(f"{' '.join(words)} failed:\n{(done.stdout + done.stderr)[-2000:]}")


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """No other process is in here under this name meanwhile."""
    locks = ROOT / "build" / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Install everything; what fails is left to the suite that needs it, which says so."""
    from support import prometheus

    for name in ENVIRONMENTS:
        with contextlib.suppress(InstallError):
            environment(name)
    with contextlib.suppress(InstallError):
        programs(list(PROGRAMS))
    prometheus.program("promtool")


if __name__ == "__main__":
    main()
