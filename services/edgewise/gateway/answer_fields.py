"""What the gateway adds to answers, alike as HTTP header fields and as gRPC trailers."""

from edgewise.net.exchange import Header


def attempt_fields(attempts: int, degraded: str) -> tuple[Header, ...]:
    """How the answer came to be.

    Args:
        attempts: how many were made.
        degraded: why the answer is not what the route prefers; "" says nothing.
    """
    fields: tuple[Header, ...] = ((b"x-edgewise-attempts", b"%d" % attempts),)
    if degraded:
        fields = (*fields, (b"x-edgewise-degraded", degraded.encode("ascii")))
    return fields


def parse_queue_depth(value: bytes | None) -> int | None:
    """What a site says in `x-edgewise-queue-depth`; None where that is no count."""
    return int(value) if value is not None and value.isdigit() and len(value) <= 9 else None


def parse_confidence(value: bytes | None) -> float | None:
    """What a site says in `x-edgewise-confidence`; None where that is no number from 0 to 1."""
    if value is None or len(value) > 32:
        return None
    try:
        confidence = float(value)
    except ValueError:
        return None
    return confidence if 0.0 <= confidence <= 1.0 else None


def parse_version(value: bytes | None) -> int:
    """What a site says in `x-edgewise-model-version`; 0 where that is no version."""
    return int(value) if value is not None and value.isdigit() and len(value) <= 19 else 0


def parse_retry_after_s(value: bytes | None) -> float | None:
    """What a site says in Retry-After, where it says it in seconds; dates are not followed."""
    return float(value) if value is not None and value.isdigit() and len(value) <= 5 else None
