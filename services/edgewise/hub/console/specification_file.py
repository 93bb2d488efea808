"""Which rollout a person means: the file that he wrote, or a few words on the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.selectors import parse_selector
from edgewise.core.rollout.specification import Canary, Specification
from edgewise.core.rollout.waves import Wave
from edgewise.protocols.lined_documents import MAX_BYTES, Form
from edgewise.protocols.rollout_specification import read_specification
from edgewise.protocols.rollout_specification_text import specification_text

FORMS: Final = {".toml": Form.TOML, ".yaml": Form.YAML, ".yml": Form.YAML}


@dataclass(frozen=True, slots=True)
class Asked:
    """A specification that was checked, as it goes to the hub."""

    specification: Specification
    text: str
    form: Form


def read_specification_file(path: Path) -> Asked:
    """Read a specification.

    Raises: InvalidArgumentError: it cannot be read, or is none; the message names file and line, and says what would be right.
    """
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise InvalidArgumentError(f"{path}: expected a file that ends in {', '.join(FORMS)}")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is not UTF-8 (byte {error.start})") from None
    return Asked(read_specification(text, form, file=str(path)), text, form)


def short_specification(
    model: str, version: int, waves: Sequence[Wave], *, stage_s: float | None = None, bake_s: float | None = None
) -> Asked:
    """A specification with what was said, and everything else as it is by default.

    Args:
        waves: one of all sites when there is none.
        stage_s: for how long each share is kept.
    Raises: InvalidArgumentError: it is none.
    """
    canary = Canary()
    if stage_s is not None:
        canary = replace(canary, stage_s=stage_s)
    if bake_s is not None:
        canary = replace(canary, bake_s=bake_s)
    specification = Specification(model, version, tuple(waves) or (Wave("all"),), canary=canary)
    text = specification_text(specification)
    return Asked(read_specification(text, Form.TOML), text, Form.TOML)


def parse_wave(word: str) -> Wave:
    """Understand NAME or NAME:SELECTOR.

    Raises: InvalidArgumentError: it is neither.
    """
    name, _, selector = word.partition(":")
    if not name.strip():
        raise InvalidArgumentError(f"found {word!r}, expected NAME:SELECTOR, such as canary:tier=edge,region=eu")
    return Wave(name.strip(), parse_selector(selector))
