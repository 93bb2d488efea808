"""The gateway's file: what it may keep of the requests that pass. Nothing, until whoever runs the system says otherwise."""

from pathlib import Path
from typing import Final

_CONTENT: Final = """\
# What the gateway keeps of the requests that pass, for the agent of the site edge to bring to the hub. To begin:
# enabled = true, and then kill -HUP $(cat .edgewise/gateway.pid)
[capture]
enabled = false
directory = "samples"
site = "edge"
models = ["pets"]
all = true
all_per_second = 100
"""


def write_gateway_file(state: Path) -> None:
    """Write the file and make the directory of the spool; a file that is there stays as it is.

    Args:
        state: of the system.
    """
    (state / "samples").mkdir(exist_ok=True)
    path = state / "gateway.toml"
    if not path.exists():
        path.write_text(_CONTENT)
