"""What an agent says of its site, as JSON: what is signed with the site's key."""

from typing import Any, Final

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.reports import Inventory, Progress, SampleBacklog, Served, SiteReport
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.toml_table import is_integer
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.documents import Document, check_format, document_bytes, read_document
from edgewise.protocols.gate_values import findings_value, read_findings

FORMAT: Final = "edgewise-report/1"
PAYLOAD_TYPE: Final = "application/vnd.edgewise.report+json"
MAX_REPORT_BYTES: Final = 1 << 20
_MOST_BYTES: Final = 1 << 60
_MOST_ROLLOUTS: Final = 1000
_LONGEST_WHY: Final = 2000


def encode_report(report: SiteReport) -> bytes:
    """The bytes of a report."""
    return document_bytes(
        {
            "format": FORMAT,
            "site": report.site,
            "sequence": report.sequence,
            "generation": report.generation,
            "trusted": dict(report.trusted),
            "inventory": inventory_value(report.inventory),
            "rollouts": [_progress_value(progress) for progress in report.rollouts],
        }
    )


def decode_report(content: bytes) -> SiteReport:
    """Read a report.

    Raises: InvalidArgumentError: it is none; the message says where and what would be right.
    """
    top = read_document(content, "the report", max_bytes=MAX_REPORT_BYTES)
    check_format(top, FORMAT)
    rollouts = top.tables("rollouts", ())
    if len(rollouts) > _MOST_ROLLOUTS:
        raise top.error("rollouts", f"more than {_MOST_ROLLOUTS}")
    trusted = top.names("trusted")
    return SiteReport(
        site=top.text("site"),
        sequence=top.integer("sequence", 1, MAX_VERSION),
        generation=top.integer("generation", 0, MAX_VERSION),
        trusted={role: trusted.integer(role, 0, MAX_VERSION) for role in trusted},
        inventory=read_inventory(top.table("inventory")),
        rollouts=tuple(_progress(progress) for progress in rollouts),
    )


def inventory_value(inventory: Inventory) -> dict[str, Any]:
    """Of an inventory."""
    return {
        "agent": inventory.agent,
        "clock": inventory.clock,
        "disk_free_bytes": inventory.disk_free_bytes,
        "memory_free_bytes": inventory.memory_free_bytes,
        "bandwidth_bytes_per_s": inventory.bandwidth_bytes_per_s,
        "quota_left_bytes": inventory.quota_left_bytes,
        "runtimes": dict(inventory.runtimes),
        "certificate_expires": inventory.certificate_expires,
        "models": {model: list(versions) for model, versions in inventory.models.items()},
        "serving": dict(inventory.serving),
        "cloud": {model: _served_value(served) for model, served in inventory.cloud.items()},
        "edge": {model: _served_value(served) for model, served in inventory.edge.items()},
        "samples": _backlog_value(inventory.samples),
    }


def read_inventory(table: Document) -> Inventory:
    """What `inventory_value` wrote.

    Raises: InvalidArgumentError: it is none.
    """
    runtimes, serving = table.names("runtimes"), table.names("serving")
    return Inventory(
        agent=table.text("agent", "", longest=200),
        clock=table.text("clock", "", longest=40),
        disk_free_bytes=table.optional_integer("disk_free_bytes", _MOST_BYTES),
        memory_free_bytes=table.optional_integer("memory_free_bytes", _MOST_BYTES),
        bandwidth_bytes_per_s=table.optional_number("bandwidth_bytes_per_s", 1e15),
        quota_left_bytes=table.optional_integer("quota_left_bytes", _MOST_BYTES),
        runtimes={name: runtimes.text(name, longest=200) for name in runtimes},
        certificate_expires=table.text("certificate_expires", "", longest=40),
        models={model: _versions(table.names("models"), model) for model in table.names("models")},
        serving={model: serving.integer(model, 0, MAX_VERSION) for model in serving},
        cloud={model: _served(served) for model, served in table.entries("cloud").items()},
        edge={model: _served(served) for model, served in table.entries("edge").items()},
        samples=_backlog(table.optional_table("samples")),
    )


def _progress_value(progress: Progress) -> dict[str, Any]:
    return {
        "rollout": progress.rollout,
        "state": progress.state.value,
        "want": progress.want.value,
        "stage": progress.stage,
        "waiting": progress.waiting,
        "findings": findings_value(progress.findings),
        "why": progress.why[:_LONGEST_WHY],
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
    }


def _progress(table: Document) -> Progress:
    return Progress(
        rollout=table.text("rollout", longest=256),
        state=table.word("state", SiteState),
        want=table.word("want", Want),
        stage=table.integer("stage", 0, 1000, 0),
        waiting=table.flag("waiting", default=False),
        findings=read_findings(table.table("findings")),
        why=table.text("why", "", longest=_LONGEST_WHY),
        bytes_done=table.integer("bytes_done", 0, _MOST_BYTES, 0),
        bytes_total=table.integer("bytes_total", 0, _MOST_BYTES, 0),
    )


def _versions(table: Document, model: str) -> tuple[int, ...]:
    versions = table.items(model, "a list of versions")
    if not all(is_integer(version, 0, MAX_VERSION) for version in versions):
        raise table.wrong(model, versions, "a list of whole numbers")
    return tuple(versions)


def _backlog_value(backlog: SampleBacklog | None) -> dict[str, Any] | None:
    if backlog is None:
        return None
    return {"segments": backlog.segments, "bytes": backlog.size_bytes, "held_up": backlog.held_up}


def _backlog(table: Document | None) -> SampleBacklog | None:
    if table is None:
        return None
    return SampleBacklog(*(table.integer(name, 0, _MOST_BYTES) for name in ("segments", "bytes", "held_up")))


def _served_value(served: Served) -> dict[str, Any]:
    return {
        "requests": served.requests,
        "errors": served.errors,
        "p50_ms": served.p50_ms,
        "p99_ms": served.p99_ms,
    }


def _served(table: Document) -> Served:
    return Served(
        requests=table.integer("requests", 0, _MOST_BYTES),
        errors=table.integer("errors", 0, _MOST_BYTES),
        p50_ms=table.number("p50_ms", 0.0, 1e12),
        p99_ms=table.number("p99_ms", 0.0, 1e12),
    )
