"""Whether two versions of a model gave the same answer to the same request, as far as anybody would notice.

Outputs are compared by name. The first dimension is the batch, as both protocols have it; what is in it for one example is

- a text: the same text. A list of texts: the same first one, the label that was most likely;
- a list of numbers: the greatest is at the same place;
- one number: within 1 % or 0.001, for whole numbers (a class, a count) the same.

Other names or shapes, or texts in place of numbers, are another answer. What cannot be read is no answer at all.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import EdgewiseError, InvalidArgumentError
from edgewise.core.tensors import DType
from edgewise.protocols.answers import Answered, Form
from edgewise.protocols.oip_binary import decode_binary_tensor
from edgewise.protocols.oip_dtypes import OIP_TO_DTYPE
from edgewise.protocols.oip_grpc import decode_infer_response
from edgewise.protocols.shapes import element_count
from edgewise.protocols.tfs_grpc import decode_predict_response

_RELATIVE: Final = 0.01
_ABSOLUTE: Final = 1e-3
# What comes of JSON that has something else where an object, a list or a number belongs.
_UNREADABLE: Final = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
_NUMBERS: Final = "biuf"
_FLOAT: Final = "f"

Outputs = Mapping[str, NDArray[Any]]


def agree(form: Form, old: Answered, new: Answered) -> bool | None:
    """Compare the answer of one version with that of another.

    Returns: None where one of them cannot be read, so that nothing can be said.
    """
    read = _READERS[form]
    try:
        before, after = read(old), read(new)
    except (EdgewiseError, *_UNREADABLE):
        return None
    return before.keys() == after.keys() and all(_same(before[name], after[name]) for name in before)


# --- comparing


def _same(old: NDArray[Any], new: NDArray[Any]) -> bool:
    if old.shape != new.shape or (old.dtype.kind in _NUMBERS) != (new.dtype.kind in _NUMBERS):
        return False
    rows = old.ndim > 1 and old.shape[-1] > 1
    if old.dtype.kind not in _NUMBERS:
        return bool(np.array_equal(old[..., 0], new[..., 0]) if rows else np.array_equal(old, new))
    if old.size == 0:
        return True
    return _same_places(old, new) if rows else _same_numbers(old, new)


def _same_places(old: NDArray[Any], new: NDArray[Any]) -> bool:
    """Whether each row has its greatest number at the same place. What is no number anywhere in a row is so in the other one too."""
    if not np.array_equal(np.isnan(old).any(axis=-1), np.isnan(new).any(axis=-1)):
        return False
    return bool(np.array_equal(np.argmax(old, axis=-1), np.argmax(new, axis=-1)))


def _same_numbers(old: NDArray[Any], new: NDArray[Any]) -> bool:
    if _FLOAT not in old.dtype.kind + new.dtype.kind:
        return bool(np.array_equal(old, new))
    before, after = old.astype(np.float64), new.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(after - before) <= np.maximum(np.abs(before) * _RELATIVE, _ABSOLUTE)
    # Infinity is as near to itself as it is to everything else, by that rule.
    finite = np.isfinite(before) & np.isfinite(after)
    equal = (before == after) | (np.isnan(before) & np.isnan(after))
    return bool(np.all(np.where(finite, near, equal)))


# --- reading


def _read_tfs_rest(answer: Answered) -> Outputs:
    document = json.loads(bytes(answer.body))
    if "outputs" in document:
        found = document["outputs"]
        return _arrays(found) if isinstance(found, dict) and not _is_bytes(found) else {"": _array(found)}
    rows = document["predictions"]
    first = rows[0] if rows else None
    if isinstance(first, dict) and not _is_bytes(first):
        names = first.keys()
        if any(row.keys() != names for row in rows):
            raise InvalidArgumentError("the examples of an answer have different outputs")
        return {name: _array([row[name] for row in rows]) for name in names}
    return {"": _array(rows)}


def _read_oip_rest(answer: Answered) -> Outputs:
    body = memoryview(answer.body)
    end = len(body) if answer.json_bytes is None else answer.json_bytes
    document = json.loads(bytes(body[:end]))
    found: dict[str, NDArray[Any]] = {}
    for tensor in document["outputs"]:
        dtype = OIP_TO_DTYPE[tensor["datatype"]]
        shape = tuple(tensor["shape"])
        count = element_count(shape, "an output")
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = _array(tensor["data"])
        else:
            values = decode_binary_tensor(body[end : end + size], dtype, count, "an output")
            end += size
        if (values.dtype.kind in _NUMBERS) == (dtype is DType.STRING) and values.size:
            raise InvalidArgumentError("an output is not of its datatype")
        found[tensor["name"]] = values.reshape(shape)
    return found


def _read_tfs_grpc(answer: Answered) -> Outputs:
    return decode_predict_response(bytes(answer.body)).outputs  # type: ignore[return-value]  # numpy carries tensors


def _read_oip_grpc(answer: Answered) -> Outputs:
    return decode_infer_response(bytes(answer.body)).outputs  # type: ignore[return-value]  # numpy carries tensors


_READERS: Final[Mapping[Form, Callable[[Answered], Outputs]]] = {
    Form.TFS_REST: _read_tfs_rest,
    Form.OIP_REST: _read_oip_rest,
    Form.TFS_GRPC: _read_tfs_grpc,
    Form.OIP_GRPC: _read_oip_grpc,
}


def _arrays(values: Mapping[str, Any]) -> Outputs:
    return {name: _array(value) for name, value in values.items()}


def _array(value: Any) -> NDArray[Any]:
    """Nested lists as an array: numbers of numpy's own kinds, texts (and bytes in base64, as they are written) as objects.

    Raises: ValueError: lists of different lengths, or neither numbers nor texts.
    """
    leaf = value
    while isinstance(leaf, Sequence) and not isinstance(leaf, str):
        if not leaf:
            break
        leaf = leaf[0]
    if isinstance(leaf, str) or _is_bytes(leaf):
        texts: NDArray[Any] = np.array(value, np.object_)
        if not all(isinstance(one, str) or _is_bytes(one) for one in texts.ravel().tolist()):
            raise ValueError("texts among other things")
        return texts
    numbers = np.array(value)
    if numbers.dtype.kind not in _NUMBERS:
        raise ValueError("neither numbers nor texts")
    return numbers


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}
