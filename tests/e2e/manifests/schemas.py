"""Whether an object is what Kubernetes' own schemas say; strict: unknown fields are mistakes."""

from typing import Any

import jsonschema
import kubernetes_validate

from e2e.manifests.rendering import Object


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"}
_METADATA = _closed({"name": _TEXT, "namespace": _TEXT, "labels": _TEXTS}, "name", "namespace", "labels")
_KEY_OF = _closed({"name": _TEXT, "key": _TEXT}, "name", "key")

# Kinds of the Prometheus Operator, which Kubernetes' schemas do not have: the fields that we use, by hand, as the operator's
# API reference has them (monitoring.coreos.com/v1).
_OPERATOR = {
    "PodMonitor": _closed(
        {
            "selector": _closed({"matchLabels": _TEXTS}, "matchLabels"),
            "podTargetLabels": {"type": "array", "items": _TEXT},
            "podMetricsEndpoints": {
                "type": "array",
                "minItems": 1,
                "items": _closed(
                    {
                        "port": _TEXT,
                        "path": {"type": "string", "pattern": "^/"},
                        "interval": _DURATION,
                        "scrapeTimeout": _DURATION,
                        "relabelings": {
                            "type": "array",
                            "items": _closed(
                                {
                                    "targetLabel": _TEXT,
                                    "replacement": _TEXT,
                                    "sourceLabels": {"type": "array", "items": _TEXT},
                                },
                                "targetLabel",
                            ),
                        },
                        "scheme": {"enum": ["http", "https"]},
                        "tlsConfig": _closed(
                            {"ca": _closed({"secret": _KEY_OF}, "secret"), "serverName": _TEXT}, "ca", "serverName"
                        ),
                    },
                    "port",
                ),
            },
        },
        "selector",
        "podMetricsEndpoints",
    ),
    "PrometheusRule": _closed(
        {
            "groups": {
                "type": "array",
                "minItems": 1,
                "items": _closed(
                    {
                        "name": _TEXT,
                        "interval": _DURATION,
                        "rules": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                **_closed(
                                    {
                                        "alert": _TEXT,
                                        "record": _TEXT,
                                        "expr": {"type": ["string", "integer"]},
                                        "for": _DURATION,
                                        "keep_firing_for": _DURATION,
                                        "labels": _TEXTS,
                                        "annotations": _TEXTS,
                                    },
                                    "expr",
                                ),
                                "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
                            },
                        },
                    },
                    "name",
                    "rules",
                ),
            }
        },
        "groups",
    ),
}
BY_HAND = {
    kind: _closed(
        {
            "apiVersion": {"const": "monitoring.coreos.com/v1"},
            "kind": {"const": kind},
            "metadata": _METADATA,
            "spec": spec,
        }
    )
    for kind, spec in _OPERATOR.items()
}
"""Schemas written here, by kind."""


def mistakes_in(item: Object) -> str:
    """What is wrong with an object, "" for nothing.

    Raises: AssertionError: there is no schema for its kind, neither Kubernetes' nor ours.
    """
    schema = BY_HAND.get(item["kind"])
    try:
        if schema is not None:
            jsonschema.validate(item, schema)
        else:
            kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        raise AssertionError(f"{error.message}, and none of ours") from None
    except jsonschema.ValidationError as mistake:
        where = ".".join(str(part) for part in mistake.absolute_path)
        return f"{item['kind']}/{item['metadata']['name']}: {where}: {mistake.message}"
    return ""
