"""Who asks for something, and what he may ask for."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a token opens. Each role may do what the one before it may."""

    VIEWER = "viewer"  # looks
    OPERATOR = "operator"  # releases, labels, rollouts
    ADMIN = "admin"  # sites, tokens, roots of trust

    def includes(self, needed: "Role") -> bool:
        """Whether somebody in this role may do what another role may."""
        return _RANK[self] >= _RANK[needed]


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, for the audit log.

    Attributes:
        name: of the token that was used, of the site, or of what acts by itself.
        address: where the call came from; "" when it came from inside.
    """

    name: str
    address: str = ""


HUB: Final = Actor("hub")
"""Nobody asked: time passed, or a site reported."""
