"""The picture of a link's states in ARCHITECTURE.md is the table that the router follows."""

import re
from pathlib import Path

from edgewise.core.routing.link_state import TRANSITIONS, LinkState, diagram

ARCHITECTURE = Path(__file__).parents[3] / "ARCHITECTURE.md"


def test_the_picture_in_the_architecture_is_drawn_from_the_table():
    blocks = re.findall(r"^```mermaid\n(.*?)\n```$", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    states = [block for block in blocks if block.startswith("stateDiagram")]

    assert states == [diagram()], f"the block has to be:\n```mermaid\n{diagram()}\n```"


def test_the_picture_has_every_state_and_every_transition():
    arrows = re.findall(r"^    (\w+) --> (\w+): (\w+)$", diagram(), re.MULTILINE)

    assert sorted(arrows) == sorted((before, after, event) for (before, event), after in TRANSITIONS.items())
    assert {before for before, _, _ in arrows} == set(LinkState)
