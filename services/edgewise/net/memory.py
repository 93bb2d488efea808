"""How the process treats memory that it has freed."""

import ctypes
from typing import Final

# Source: glibc, `malloc.h`.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 64 << 20
_MAPPED_BYTES: Final = 4 << 20


def keep_freed_memory() -> bool:
    """Keep up to 64 MiB of freed memory for the next bodies instead of handing it back at once.

    glibc gives the end of its heap back as soon as 128 KiB are free there. Bodies of tens of kilobytes come and go many
    thousand times a second, and each time the kernel would fill the pages with zeros anew: a third of what such a
    request costs.

    Returns: whether the C library knows of it; others keep their own ways.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)) and bool(mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES))
