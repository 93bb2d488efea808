"""Chance that repeats: each draw is made of a seed and of what it is for, so no draw depends on how many were made before."""

import hashlib


def fraction(seed: int, *words: str) -> float:
    """A number in [0, 1), the same for the same arguments on every machine."""
    text = "\n".join((str(seed), *words))
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) / (1 << 53)
