"""The hub of the local system: made, its sites enrolled, what they run published, by the commands that a user types."""

import os
from pathlib import Path
from typing import Final

from edgewise.local.commands import edgewise, printed_by
from edgewise.local.parts import HOST, HUB_PORT, SHOP_LINK_PORT

HUB_URL: Final = f"http://{HOST}:{HUB_PORT}"
SITES: Final = (
    ("cloud", "cloud", HUB_URL),
    ("edge", "edge", HUB_URL),
    ("shop", "edge", f"http://{HOST}:{SHOP_LINK_PORT}"),
)
"""Name, tier, and under which URL the site reaches the hub."""


def token_file(state: Path) -> Path:
    """Where the token of the hub's administrator is."""
    return state / "hub.token"


def prepare_hub(state: Path) -> None:
    """Have a hub and a token for it. Nothing happens where they are.

    Raises: FailedPreconditionError: it cannot be made.
    """
    token = token_file(state)
    if token.exists():
        return
    hub = state / "hub"
    if not (hub / "tuf" / "metadata" / "timestamp.json").exists():
        printed_by("hub", "init", "--state", str(hub), "--with-offline-keys", str(state / "trust"), "--url", HUB_URL)
    secret = printed_by("hub", "token", "create", "local", "--role", "admin", "--state", str(hub))
    beside = token.with_suffix(".new")
    beside.touch(mode=0o600)
    beside.write_text(secret)
    beside.replace(token)


def enroll_sites(state: Path) -> None:
    """Make three sites of three directories. Nothing happens to those that are.

    Raises: FailedPreconditionError: one cannot be enrolled.
    """
    for name, tier, url in SITES:
        directory = state / "agents" / name
        if (directory / "site.json").exists():
            print(f"{name}: a site already", flush=True)
            continue
        word = printed_by("sites", "enroll", name, "--tier", tier, *_connection(state)).split()[0]
        print(
            printed_by("agent", "enroll", word, "--state", str(directory), "--tier", tier, "--hub", url),
            end="",
            flush=True,
        )


def publish_first(state: Path) -> None:
    """Make a release of what the sites run. Nothing happens when the hub has it.

    Raises: FailedPreconditionError: it cannot be made.
    """
    if edgewise("release", "show", "pets/1", *_connection(state), quiet=True) == os.EX_OK:
        return
    variants = [
        word for tier in ("cloud", "edge") for word in (f"--{tier}", str(state / "models" / tier / "pets" / "1"))
    ]
    words = ("release", "create", "pets", "1", *variants, "--trust", str(state / "trust"), *_connection(state))
    print(printed_by(*words), end="", flush=True)


def _connection(state: Path) -> tuple[str, ...]:
    return ("--hub", HUB_URL, "--token-file", str(token_file(state)))
