"""Reads a dashboard into Grafana's own types and writes it again; prints as JSON what did not survive.

Run in a virtual environment of its own, which has grafana-foundation-sdk.
"""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(before, after, place=""):
    """Where the second value says less or something else than the first."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{place}/{key}")
            else:
                yield f"{place}/{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from lost(*pair, f"{place}/{number}")
    elif before != after:
        yield place


if __name__ == "__main__":
    plugins.register_default_plugins()
    text = Path(sys.argv[1]).read_text()
    read = Dashboard.from_json(json.loads(text))
    print(json.dumps(list(lost(json.loads(text), json.loads(JSONEncoder().encode(read))))))
