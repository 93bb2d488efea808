"""How many bytes a request and its answer are on the wire."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from edgewise.study.engine.job import OTHER_ANSWER, Asking, Recording

# A frame's header, twice (HEADERS, DATA), and the prefix of a message; what HPACK leaves of a head that was sent before.
_GRPC_REQUEST: Final = 9 + 9 + 5 + 16
# HEADERS, DATA, trailers.
_GRPC_RESPONSE: Final = 9 + 9 + 9 + 5 + 30
# Status line, content type and length, date, and the headers that say which version of which site answered.
_HTTP_RESPONSE: Final = 240


def request_bytes(asking: Asking) -> tuple[int, float]:
    """Mean size of the questions, and the squared coefficient of variation of their sizes."""
    bodies = np.array([len(question.body) for question in asking.questions], dtype=np.float64)
    if asking.transport == "grpc":
        head = _GRPC_REQUEST + sum(len(name) + len(value) + 2 for name, value in asking.headers) // 4
    else:
        fields = [("host", f"{asking.host}:{asking.port}"), ("content-length", f"{bodies.mean():.0f}"), *asking.headers]
        if asking.content_type:
            fields.append(("content-type", asking.content_type))
        head = len(f"POST {asking.path} HTTP/1.1\r\n\r\n") + sum(len(name) + len(value) + 4 for name, value in fields)
    sizes = bodies + head
    return round(float(sizes.mean())), float(sizes.var() / sizes.mean() ** 2)


def response_bytes(asking: Asking, recordings: Sequence[Recording]) -> int:
    """Mean size of the answers that were predictions."""
    sizes = [
        len(recording.answers[index])
        for recording in recordings
        for index in recording.answer.tolist()
        if index != OTHER_ANSWER and index < len(recording.answers)
    ]
    head = _GRPC_RESPONSE if asking.transport == "grpc" else _HTTP_RESPONSE
    return head + round(float(np.mean(sizes))) if sizes else head
