"""Names of files as sources and archives give them: none is believed before it was looked at."""

from edgewise.core.errors import FailedPreconditionError

MAX_FILES = 10_000
MAX_DEPTH = 16
MAX_NAME_BYTES = 1024
_MAX_PART_BYTES = 255


def checked_name(name: str, *, what: str) -> str:
    """A path that stays below the directory to which it is joined.

    Args:
        name: relative, parts separated by "/"; "." parts are left out.
        what: where it was found, for the message.

    Returns: the path without "." and empty parts; "" for the directory itself.
    Raises:
        FailedPreconditionError: it leads elsewhere, or no file can have it.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    fault = _fault(name, parts)
    if fault:
        raise FailedPreconditionError(f"{what} holds the name {_shown(name)}, which {fault}")
    return "/".join(parts)


def _fault(name: str, parts: list[str]) -> str:
    if name.startswith("/"):
        return "is absolute; expected names relative to the model version"
    if ".." in parts:
        return 'leads out of the directory with ".."'
    if "\\" in name or any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "holds a backslash or a control character; expected names with / between their parts"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "is not UTF-8"
    sizes_bytes = [len(part.encode()) for part in parts]
    if sum(sizes_bytes) + len(parts) > MAX_NAME_BYTES or max(sizes_bytes, default=0) > _MAX_PART_BYTES:
        return f"is too long; {MAX_NAME_BYTES} bytes is the most, {_MAX_PART_BYTES} between two /"
    return f"is {len(parts)} directories deep; {MAX_DEPTH} is the most" if len(parts) > MAX_DEPTH else ""


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:77] + "...")
