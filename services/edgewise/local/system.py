"""Starts, shows and stops the system on this machine: a hub, a cloud site behind an emulated network, two edge sites, a gateway."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from edgewise.core.errors import FailedPreconditionError, NotFoundError
from edgewise.core.releases import TIERS
from edgewise.local.commands import edgewise
from edgewise.local.demonstration import demonstrate
from edgewise.local.gateway_file import write_gateway_file
from edgewise.local.parts import (
    AGENTS,
    CONTROL_PORT,
    GRPC_PORT,
    HOST,
    PARTS,
    REST_PORT,
    SERVERS,
    Part,
    check_ports,
    is_ready,
    running,
    start,
    stop,
)
from edgewise.local.rollouts import HUB_URL, enroll_sites, prepare_hub, publish_first, token_file

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def up(state: Path, images: Path, *, keep: bool = False) -> int:
    """Build what is missing, start what does not run, and predict through the gateway while its link is whole, cut and healed.

    Args:
        state: directory for models, logs and pid files.
        images: directory of photographs.
        keep: leave it running afterwards, until Ctrl-C or SIGTERM; otherwise what was started is stopped at the end.
    Returns: the exit code; 0 when every prediction was answered.
    Raises:
        BrokenPipeError: whoever read standard output has gone; what was started has been stopped.
        NotFoundError: no photographs.
        FailedPreconditionError: a port is taken by something else, or a step failed.
        UnavailableError: a part did not become ready.
    """
    photographs = sorted(path for path in images.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not photographs:
        raise NotFoundError(f"no photographs (.jpg, .png, .webp) in {images}; name a directory with --images")
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPreconditionError(
            f"{state} cannot hold models and logs: {error.strerror}; name a directory with --state"
        ) from error
    for tier in TIERS:
        _step(f"model pets, variant {tier}")
        _build(tier, state / "models" / tier)
    # All ports before the first start, so that a taken one does not leave half of the system running.
    waiting = [part for part in PARTS if not _works(part, state)]
    for part in waiting:
        check_ports(part)
    prepare_hub(state)
    write_gateway_file(state)
    with _terminable() as terminated:
        try:
            for part in waiting:
                if part == AGENTS[0]:
                    _step("enrolling the sites")
                    enroll_sites(state)
                _step(f"{part.name}: {part.what}")
                print(f"ready after {start(part, state):.2f} s", flush=True)
            _step("the release that runs: pets/1")
            publish_first(state)
            _step("predictions through the gateway")
            failures = demonstrate(photographs)
            _step("predictions through the gateway, over gRPC")
            failures += edgewise("predict", str(photographs[0]), "--url", f"grpc://{HOST}:{GRPC_PORT}")
            if keep:
                _tell(photographs[0], state)
                terminated.wait()
        except KeyboardInterrupt:
            print(flush=True)
            return 0 if keep else 130
        finally:
            _stop_all(waiting, state)
    return 1 if failures else 0


def down(state: Path) -> int:
    """Stop what `up` left running.

    Returns: the exit code; 0 when nothing runs any more.
    """
    return _stop_all(PARTS, state)


def _stop_all(parts: "tuple[Part, ...] | list[Part]", state: Path) -> int:
    failed = False
    for part in reversed(parts):
        what = stop(part, state)
        failed = failed or what.startswith("cannot")
        # Whoever read what is printed may have gone; the parts are stopped all the same.
        print(f"{part.name}: {what}", file=sys.stderr, flush=True)
    return 1 if failed else 0


@contextmanager
def _terminable() -> Iterator[threading.Event]:
    """SIGTERM ends what runs inside as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal calls it
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield threading.Event()
    finally:
        signal.signal(signal.SIGTERM, before)


def _works(part: Part, state: Path) -> bool:
    pid = running(part, state)
    if pid is None or not is_ready(part):
        return False
    _step(f"{part.name}: already running as process {pid}")
    return True


def _tell(photograph: Path, state: Path) -> None:
    url = f"http://{HOST}:{REST_PORT}"
    _step("running until Ctrl-C; try")
    print(f"  curl -s -i --data-binary @{photograph} -H 'Content-Type: image/jpeg' {url}/v1/models/pets:predict")
    print(f"  the links, live, in a browser: {url}/")
    print(f"  cut and heal: edgewise link set --control {HOST}:{CONTROL_PORT} blackhole    (or: heal)")
    print(f"  the sites: {', '.join(f'{part.name} http://{HOST}:{part.ports[0]}' for part in SERVERS)}")
    print(
        f"  roll out: export EDGEWISE_HUB={HUB_URL} EDGEWISE_HUB_TOKEN=$(cat {token_file(state)}); edgewise sites list"
    )
    print(f"  the hub, in a browser: {HUB_URL}/    (the token is in {token_file(state)})")
    print(f"  gRPC: {HOST}:{GRPC_PORT}   logs: {state}/*.log", flush=True)


def _build(variant: str, repository: Path) -> None:
    words = ("models", "build", "pets", str(repository), "--variant", variant)
    # The state is ours: a model that an earlier Edgewise wrote there gives way. What else is wrong shows up again.
    if edgewise(*words, quiet=True):
        failed = edgewise(*words, "--force")
        if failed:
            raise FailedPreconditionError(f"`edgewise {' '.join(words[:3])} ...` failed with exit code {failed}")


def _step(text: str) -> None:
    print(f"\n{text}", flush=True)
