"""What answers say beside their bodies, alike as HTTP headers and as gRPC trailers."""

from typing import TYPE_CHECKING, Final

from edgewise.core.requests import PredictResponse

if TYPE_CHECKING:
    from edgewise.model_server.options import ServeOptions

Field = tuple[bytes, bytes]

MAX_REQUEST_ID_BYTES: Final = 128


def site_fields(options: "ServeOptions") -> tuple[Field, ...]:
    """Which site answers."""
    return ((b"x-edgewise-site", options.site.encode()), (b"x-edgewise-tier", options.tier.encode()))


def prediction_fields(response: PredictResponse, queue_depth: int | None) -> list[Field]:
    """Which version answered, how much else it has to do, and how sure it is where the model declares that.

    Args:
        queue_depth: other requests that wait for this version or are being run, those of the same batch that have not
            been answered yet among them; None where that is not known.
    """
    fields = [(b"x-edgewise-model-version", b"%d" % response.version)]
    if queue_depth is not None:
        fields.append((b"x-edgewise-queue-depth", b"%d" % queue_depth))
    if response.confidence is not None:
        fields.append((b"x-edgewise-confidence", b"%.4f" % response.confidence))
    return fields
