"""Whether applying an object changed it."""

from typing import Final

from edgewise.agent.kubernetes.objects import Object

_BOOKKEEPING: Final = frozenset({"managedFields", "resourceVersion", "generation", "selfLink"})


def same(before: Object, after: Object) -> bool:
    """Whether two states of an object differ in nothing but bookkeeping and status.

    A server may write its bookkeeping anew although nothing changed, so the resourceVersion alone does not tell.
    """
    return _content(before) == _content(after)


def _content(item: Object) -> Object:
    content = {key: value for key, value in item.items() if key not in ("status", "apiVersion", "kind", "metadata")}
    metadata = {key: value for key, value in item["metadata"].items() if key not in _BOOKKEEPING}
    # A Deployment's own controller counts its revisions here.
    notes = {key: value for key, value in (metadata.pop("annotations", None) or {}).items() if "/revision" not in key}
    return {**content, "metadata": metadata, "annotations": notes}
