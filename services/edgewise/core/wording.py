"""Numbers of things as people read them."""


def counted(number: int, one: str, many: str = "") -> str:
    """1 site, 3 sites."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
