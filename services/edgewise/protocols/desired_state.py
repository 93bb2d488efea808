"""The document that the hub keeps for a site, as JSON: what is signed, and what an agent follows.

{"format": "edgewise-desired/1", "site": "factory-7", "generation": 17, "expires": "2026-11-30T00:00:00Z", "orders": [
    {"rollout": "pets-2-k3f9", "model": "pets", "version": 2, "manifest_sha256": "9f86...", "want": "run",
     "gates": {"errors": {"margin": 0.01, "confidence": 0.99}, "latency": null, "disagreement": null, "golden": true},
     "canary": {"shadow_share": 0.0, "shadow_s": 0.0, "shares": [0.01, 0.1, 0.5], "stage_s": 60.0, "bake_s": 600.0}}]}

One that was signed for a bundle has "carried": true as well.
"""

from typing import Any, Final

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.orders import DesiredState, Order
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.documents import Document, check_format, document_bytes, read_document, time_s
from edgewise.protocols.gate_values import canary_value, gates_value, read_canary, read_gates

FORMAT: Final = "edgewise-desired/1"
PAYLOAD_TYPE: Final = "application/vnd.edgewise.desired+json"
MAX_DESIRED_BYTES: Final = 4 << 20
_MOST_ORDERS: Final = 1000


def encode_desired(desired: DesiredState) -> bytes:
    """The bytes of a desired state."""
    return document_bytes(
        {
            "format": FORMAT,
            "site": desired.site,
            "generation": desired.generation,
            "expires": desired.expires,
            **({"carried": True} if desired.carried else {}),
            "orders": [order_value(order) for order in desired.orders],
        }
    )


def decode_desired(content: bytes) -> DesiredState:
    """Read a desired state.

    Raises: InvalidArgumentError: it is none; the message says where and what would be right.
    """
    top = read_document(content, "the desired state", max_bytes=MAX_DESIRED_BYTES)
    check_format(top, FORMAT)
    orders = top.tables("orders", ())
    if len(orders) > _MOST_ORDERS:
        raise top.error("orders", f"more than {_MOST_ORDERS}")
    expires = top.text("expires")
    time_s(expires)
    return DesiredState(
        site=top.text("site"),
        generation=top.integer("generation", 1, MAX_VERSION),
        expires=expires,
        orders=tuple(read_order(order) for order in orders),
        carried=top.flag("carried", default=False),
    )


def order_value(order: Order) -> dict[str, Any]:
    """Of one order."""
    return {
        "rollout": order.rollout,
        "model": order.model,
        "version": order.version,
        "manifest_sha256": order.manifest_sha256,
        "want": order.want.value,
        "gates": gates_value(order.gates),
        "canary": canary_value(order.canary),
    }


def read_order(table: Document) -> Order:
    """What `order_value` wrote.

    Raises: InvalidArgumentError: it is none.
    """
    return Order(
        rollout=table.text("rollout", longest=256),
        model=table.model("model"),
        version=table.integer("version", 1, MAX_VERSION),
        manifest_sha256=table.sha256("manifest_sha256"),
        want=table.word("want", Want),
        gates=read_gates(table.table("gates")),
        canary=read_canary(table.table("canary")),
    )
