"""The REST API described as OpenAPI 3.1; `docs_page.html` shows it to people.

The description is built, not written out, since both protocols repeat every path with and without a version. Its
examples are requests to `tiny`, the example model.
"""

import json
from typing import Any

from edgewise import __version__
from edgewise.model_server.doors.openapi_schemas import EXAMPLES_EXAMPLE, INFER_EXAMPLE, PREDICT_EXAMPLE, SCHEMAS

_NAME = r"^[A-Za-z0-9_.\-]{1,128}$"
_Json = dict[str, Any]


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json_body(schema: _Json, text: str) -> _Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


_ERRORS: dict[str, str] = {
    "400": "The request is malformed or does not fit the model's signature; the message says how.",
    "401": "API keys are asked for, and none or an unknown one was given.",
    "404": "No such model or version.",
    "408": "The body did not arrive in time.",
    "405": "This path takes other methods; `Allow` says which.",
    "413": "The body is larger than this server takes.",
    "414": "The path is longer than this server takes.",
    "429": "The queue is full; `Retry-After` says when to try again.",
    "431": "The headers are larger than this server takes.",
    "500": "A fault of the server; its log has the details.",
    "501": "The request asks for what this server does not offer, such as shared memory.",
    "503": "Not ready, or shutting down; `Retry-After` says when to try again.",
    "504": "The deadline passed before there was an answer.",
}

_PATH_PARAMETERS: _Json = {
    "model": {
        "name": "model",
        "in": "path",
        "required": True,
        "description": "The model's name.",
        "schema": {"type": "string", "pattern": _NAME},
        "example": "tiny",
    },
    "version": {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "A version's number.",
        "schema": {"type": "integer", "format": "int64", "minimum": 0},
        "example": 1,
    },
    "label": {
        "name": "label",
        "in": "path",
        "required": True,
        "description": "A label that points at a version.",
        "schema": {"type": "string", "pattern": _NAME},
        "example": "stable",
    },
}
_REQUEST_HEADERS: list[_Json] = [
    {
        "name": "x-edgewise-deadline-ms",
        "in": "header",
        "description": "Remaining budget in milliseconds; the request is dropped once it is spent.",
        "schema": {"type": "number", "minimum": 0, "maximum": 86_400_000},
        "example": 1000,
    },
    {
        "name": "x-request-id",
        "in": "header",
        "description": "The caller's id of the request; its first 128 bytes come back with the answer.",
        "schema": {"type": "string"},
        "example": "camera-7:42",
    },
]
_BINARY_BODY = (
    "JSON; or JSON and then tensors in binary, its length given as `Inference-Header-Content-Length`; or, where that is 0, "
    "one input as raw little-endian bytes."
)
_RESPONSE_HEADERS: _Json = {
    "x-edgewise-site": {"description": "The site that answered.", "schema": {"type": "string"}},
    "x-edgewise-tier": {"description": "cloud or edge.", "schema": {"type": "string", "enum": ["cloud", "edge"]}},
    "x-edgewise-model-version": {"description": "The version that ran.", "schema": {"type": "integer"}},
    "x-edgewise-queue-depth": {
        "description": "Other requests that wait for this version or are being run.",
        "schema": {"type": "integer"},
    },
    "x-edgewise-confidence": {
        "description": "The least sure example's greatest probability, where the model declares one.",
        "schema": {"type": "number", "minimum": 0, "maximum": 1},
    },
}

_COMMON_ERRORS = ("400", "401", "404", "408", "414", "431", "500")
_PREDICTION_ERRORS = (*_COMMON_ERRORS, "413", "429", "501", "503", "504")
_ERROR_HEADERS: dict[str, _Json] = {
    "401": {"www-authenticate": {"description": "The scheme: Bearer.", "schema": {"type": "string"}}},
    "405": {"allow": {"description": "The methods of the path.", "schema": {"type": "string"}}},
    "429": {"retry-after": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}},
    "503": {"retry-after": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}},
}
# Whoever watches over the process has no key.
_OPEN: _Json = {"security": []}


def _error(code: str) -> _Json:
    return _json_body(_ref("Error"), _ERRORS[code]) | (
        {"headers": _ERROR_HEADERS[code]} if code in _ERROR_HEADERS else {}
    )


def _operation(
    operation_id: str,
    summary: str,
    tag: str,
    response: _Json,
    *,
    parameters: list[_Json] | None = None,
    errors: tuple[str, ...] = _COMMON_ERRORS,
) -> _Json:
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": [tag],
        "parameters": parameters or [],
        "responses": {"200": response} | {code: _error(code) for code in errors},
    }


def _prediction(
    operation_id: str, summary: str, tag: str, response: _Json, *, parameters: list[_Json], content: _Json
) -> _Json:
    operation = _operation(
        operation_id,
        summary,
        tag,
        {**response, "headers": _RESPONSE_HEADERS},
        parameters=[*parameters, *_REQUEST_HEADERS],
        errors=_PREDICTION_ERRORS,
    )
    operation["requestBody"] = {"required": True, "content": content}
    return operation


def _places(root: str, *extra: str) -> list[tuple[str, str, list[_Json]]]:
    """The ways to name a model: path, suffix of the operation ids, parameters."""
    model = _PATH_PARAMETERS["model"]
    places = [(f"{root}/models/{{model}}", "", [model])]
    for kind in extra:
        path = f"{root}/models/{{model}}/{kind}s/{{{kind}}}"
        places.append((path, kind.capitalize(), [model, _PATH_PARAMETERS[kind]]))
    return places


def _tensorflow_paths() -> _Json:
    paths: _Json = {}
    images = {
        kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/jpeg", "image/png", "image/webp")
    }
    predict = {"application/json": {"schema": _ref("PredictRequest"), "example": PREDICT_EXAMPLE}} | images
    examples = {"application/json": {"schema": _ref("ExamplesRequest"), "example": EXAMPLES_EXAMPLE}}
    tag = "TensorFlow Serving"
    for place, suffix, parameters in _places("/v1", "version", "label"):
        status = _json_body(_ref("ModelStatus"), "The versions and their states.")
        paths[place] = {
            "get": _operation(f"status{suffix}", "State of the versions", tag, status, parameters=parameters)
        }
        metadata = _json_body(_ref("ModelMetadata"), "The signatures.")
        paths[f"{place}/metadata"] = {
            "get": _operation(f"metadata{suffix}", "Signatures of the model", tag, metadata, parameters=parameters)
        }
        for verb, summary, content, name in (
            ("predict", "Predict from tensors, or from an image as it is", predict, "PredictResponse"),
            ("classify", "Classify examples", examples, "ResultsResponse"),
            ("regress", "Regress examples", examples, "ResultsResponse"),
        ):
            answer = _json_body(_ref(name), "The answer, in the order of the request.")
            paths[f"{place}:{verb}"] = {
                "post": _prediction(f"{verb}{suffix}", summary, tag, answer, parameters=parameters, content=content)
            }
    return paths


def _oip_paths() -> _Json:
    tag = "Open Inference Protocol"
    not_ready = {"503": _json_body(_ref("Ready"), "Not ready.")}
    ready = _json_body(_ref("Ready"), "Ready.")
    live = _json_body(_ref("Live"), "The server is up.")
    about = _json_body(_ref("ServerMetadata"), "Name, version, extensions.")
    open_errors = ("400", "408", "431", "500")
    health = _OPEN | _operation("ready", "Whether every model is loaded and warm", tag, ready, errors=open_errors)
    health["responses"] |= not_ready
    paths: _Json = {
        "/v2": {"get": _operation("server", "About the server", tag, about, errors=("401", *open_errors))},
        "/v2/health/live": {
            "get": _OPEN | _operation("live", "Whether the server is up", tag, live, errors=open_errors)
        },
        "/v2/health/ready": {"get": health},
    }
    infer = {
        "application/json": {"schema": _ref("InferRequest"), "example": INFER_EXAMPLE},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    for place, suffix, parameters in _places("/v2", "version"):
        metadata = _json_body(_ref("OipModelMetadata"), "Inputs, outputs, versions.")
        paths[place] = {"get": _operation(f"model{suffix}", "About the model", tag, metadata, parameters=parameters)}
        model_ready = _operation(f"modelReady{suffix}", "Whether the model is ready", tag, ready, parameters=parameters)
        model_ready["responses"] |= not_ready
        paths[f"{place}/ready"] = {"get": model_ready}
        answer = _json_body(_ref("InferResponse"), "The outputs; binary after the JSON when that was asked for.")
        answer["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
        operation = _prediction(
            f"infer{suffix}", "Infer from tensors", tag, answer, parameters=parameters, content=infer
        )
        operation["requestBody"]["description"] = _BINARY_BODY
        paths[f"{place}/infer"] = {"post": operation}
    return paths


def _pages() -> _Json:
    tag = "Operation"
    errors = ("405", "408", "431")
    text = {"schema": {"type": "string"}}
    metrics = {"description": "Metrics.", "content": {"text/plain": text}}
    page = {"description": "The page.", "content": {"text/html": text}}
    this = _json_body({"type": "object"}, "The description.")
    return {
        "/metrics": {"get": _operation("metrics", "Prometheus metrics", tag, metrics, errors=("401", *errors))},
        "/openapi.json": {"get": _OPEN | _operation("openapi", "This description", tag, this, errors=errors)},
        "/docs": {"get": _OPEN | _operation("docs", "A page for people", tag, page, errors=errors)},
    }


def document(*, with_keys: bool = False) -> bytes:
    """The OpenAPI document as JSON.

    Args:
        with_keys: whether the server asks for API keys.
    """
    schemes: _Json = {}
    security: _Json = {}
    if with_keys:
        schemes["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
        security["security"] = [{"bearer": []}, {"apiKey": []}]
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Edgewise model server",
                "version": __version__,
                "description": "TensorFlow Serving's REST API and the Open Inference Protocol v2 over the same models.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "paths": _tensorflow_paths() | _oip_paths() | _pages(),
            "components": {"schemas": SCHEMAS, **schemes},
            **security,
        },
        separators=(",", ":"),
    ).encode()
