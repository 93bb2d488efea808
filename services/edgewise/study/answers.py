"""What an answer says, in whichever protocol it came: the verdict that accuracy and agreement are counted by."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols import oip_grpc, tfs_grpc
from edgewise.protocols.oip_binary import decode_binary_tensor
from edgewise.protocols.oip_dtypes import OIP_TO_DTYPE
from edgewise.study.cells import PROTOCOLS
from edgewise.study.engine.job import OTHER_ANSWER, Question, Recording, State

VERDICT: Final = "verdict"
LABELS: Final = "labels"

_CACHED_ANSWERS: Final = 8_192


@lru_cache(maxsize=_CACHED_ANSWERS)
def verdict(protocol: str, body: bytes) -> str:
    """What an answer says of the first example.

    Returns: the output `verdict` where the model has one; else the first of `labels`; else the first text; else the place of
        the greatest number of the first output, from "0", or the number itself where there is only one.
    Raises: InvalidArgumentError: it is no answer of this protocol.
    """
    try:
        outputs = _outputs(protocol, body)
        for name in (VERDICT, LABELS):
            if name in outputs:
                return _first_text(outputs[name])
        for values in outputs.values():
            if values.dtype.kind in "OSU":
                return _first_text(values)
        numbers = next(iter(outputs.values())).ravel()
        return f"{numbers[0]:.6g}" if numbers.size == 1 else str(int(np.argmax(numbers)))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, StopIteration, RecursionError):
        raise _unreadable(protocol) from None
    except InvalidArgumentError:
        raise _unreadable(protocol) from None


def judge(protocol: str, questions: Sequence[Question]) -> Callable[[int, bytes], bool | None]:
    """A function that says whether the answer to a question is right; None where nobody knows.

    An answer that cannot be read is wrong.
    """
    if protocol not in PROTOCOLS:
        raise InvalidArgumentError(f"there is no protocol {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    labels = [question.label for question in questions]

    def right(question: int, body: bytes) -> bool | None:
        label = labels[question]
        if not label:
            return None
        try:
            return verdict(protocol, body) == label
        except InvalidArgumentError:
            return False

    return right


def verdicts(protocol: str, recording: Recording) -> dict[int, str]:
    """What each question was answered, by its index; the most frequent where answers differ.

    Answers that found no room in the recording, or cannot be read, are left out.
    """
    kept = (recording.state == State.OK) & (recording.answer != OTHER_ANSWER)
    pairs = Counter(zip(recording.question[kept].tolist(), recording.answer[kept].tolist(), strict=True))
    found: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for (question, answer), count in sorted(pairs.items()):
        try:
            said = verdict(protocol, recording.answers[answer])
        except InvalidArgumentError:
            continue
        found[question][said] += count
    return {question: counts.most_common(1)[0][0] for question, counts in found.items()}


def _outputs(protocol: str, body: bytes) -> dict[str, Any]:
    """Arrays by name, of the first example at least."""
    if protocol in ("rest-json", "rest-image"):
        return _tensorflow_outputs(body)
    if protocol == "rest-binary":
        return _binary_outputs(body)
    if protocol == "tfs-grpc":
        return _first_examples(tfs_grpc.decode_predict_response(body).outputs)
    if protocol == "oip-grpc":
        return _first_examples(oip_grpc.decode_infer_response(body).outputs)
    raise InvalidArgumentError(f"there is no protocol {protocol!r}")


def _first_examples(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(values)[:1] for name, values in outputs.items()}


def _tensorflow_outputs(body: bytes) -> dict[str, Any]:
    first = json.loads(body)["predictions"][0]
    # An output alone goes without its name, and text that is not UTF-8 as an object of its own.
    named = first if isinstance(first, dict) and "b64" not in first else {"": first}
    return {name: np.asarray(values) for name, values in named.items()}


def _binary_outputs(body: bytes) -> dict[str, Any]:
    """An answer without its headers: the JSON ends where it ends, and the binary begins there."""
    _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    document = json.loads(body[:end])
    outputs: dict[str, Any] = {}
    rest = memoryview(body)[end:]
    for tensor in document["outputs"]:
        shape = [int(size) for size in tensor["shape"]]
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.asarray(tensor["data"])
        else:
            dtype = OIP_TO_DTYPE[tensor["datatype"]]
            values = decode_binary_tensor(rest[:size], dtype, int(np.prod(shape)), tensor["name"])
            rest = rest[size:]
        outputs[tensor["name"]] = values.reshape(shape)[:1]
    return outputs


def _first_text(values: Any) -> str:
    first = values.ravel()[0]
    return first.decode() if isinstance(first, bytes) else str(first)


def _unreadable(protocol: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"the answer is none of the protocol {protocol}; is it a model server that was asked?")
