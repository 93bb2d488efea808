"""Which signature of a model is asked, from what its server says or from what the scenario's kind of model promises."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.requests import DEFAULT_SIGNATURE
from edgewise.core.tensors import DType, Signature, TensorSpec
from edgewise.protocols.oip_dtypes import OIP_TO_DTYPE
from edgewise.protocols.tfs_rest_status import decode_signatures
from edgewise.study.scenario import ModelSpec

IMAGE: Final = "image"

_IMAGE_SIGNATURE: Final = Signature(IMAGE, (TensorSpec("image", DType.STRING, (-1,)),), ())


def metadata_paths(served_as: str) -> tuple[str, ...]:
    """Where a server says which signatures a model has, the more telling one first.

    TensorFlow Serving names all signatures; the Open Inference Protocol the default one.
    """
    name = quote(served_as, safe="")
    return f"/v1/models/{name}/metadata", f"/v2/models/{name}"


def asked_signature(model: ModelSpec, described: Mapping[str, Any] | bytes | None) -> Signature:
    """The signature that questions to a model go to.

    The one that takes encoded images where there is one (`image` among several); else the default one. `pets` and the zoo
    have theirs by their kind, whatever the server says.

    Args:
        described: a server's answer at one of `metadata_paths`; None when it was not asked.
    Raises: InvalidArgumentError: it is none, or no signature can be chosen.
    """
    if model.kind in ("pets", "zoo"):
        return _IMAGE_SIGNATURE
    if described is None:
        raise InvalidArgumentError(f"the model {model.name!r} has to be described by its server; expected its metadata")
    found = read_metadata(described)
    takes_images = [one for one in found if [spec.dtype for spec in one.inputs] == [DType.STRING]]
    named = [one for one in takes_images if one.name == IMAGE]
    if named or len(takes_images) == 1:
        return (named or takes_images)[0]
    numeric = [one for one in found if one.inputs and all(spec.dtype is not DType.STRING for spec in one.inputs)]
    default = [one for one in numeric if one.name == DEFAULT_SIGNATURE]
    if default or len(numeric) == 1:
        return (default or numeric)[0]
    raise InvalidArgumentError(
        f"the model {model.name!r} has the signatures {', '.join(one.name for one in found) or 'none'}; expected one that takes "
        f"encoded images, called {IMAGE!r} among several, or one of numbers, called {DEFAULT_SIGNATURE!r} among several"
    )


def takes_images(signature: Signature) -> bool:
    """Whether its one input is an encoded image."""
    return [spec.dtype for spec in signature.inputs] == [DType.STRING]


def read_metadata(described: Mapping[str, Any] | bytes) -> tuple[Signature, ...]:
    """The signatures in a server's answer at one of `metadata_paths`.

    Args:
        described: the body, or what its JSON holds.
    Raises: InvalidArgumentError: it is no such answer.
    """
    try:
        document = json.loads(described) if isinstance(described, bytes) else described
        if "metadata" in document:
            return tuple(decode_signatures(document).values())
        return (Signature(DEFAULT_SIGNATURE, _oip_specs(document["inputs"]), _oip_specs(document["outputs"])),)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise InvalidArgumentError(
            "the server describes the model in an unknown way; expected TensorFlow Serving's metadata or the Open Inference "
            "Protocol's"
        ) from None


def _oip_specs(tensors: Any) -> tuple[TensorSpec, ...]:
    specs = []
    for said in tensors:
        sizes = tuple(int(size) for size in said["shape"])
        specs.append(TensorSpec(str(said["name"]), OIP_TO_DTYPE[said["datatype"]], sizes, sizes[:1] == (-1,)))
    return tuple(specs)
