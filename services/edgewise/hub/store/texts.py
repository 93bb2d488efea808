"""Texts from elsewhere, as every database takes them."""


def storable(text: str, *, longest: int | None = None) -> str:
    """A text without what no database keeps: NUL characters and halves of surrogate pairs.

    Args:
        longest: characters that are kept.
    """
    return text[:longest].replace("\x00", "\ufffd").encode(errors="replace").decode()
