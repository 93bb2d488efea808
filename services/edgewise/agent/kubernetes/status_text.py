"""A status as text for a terminal."""

from collections.abc import Sequence
from typing import Final

from edgewise.agent.kubernetes.site_status import PodReport, SiteReport, WorkloadReport

_SHOWN_DIGEST: Final = 12


def status_text(report: SiteReport) -> str:
    """The lines of a status."""
    lines = [_title(report)]
    for workload in report.workloads:
        table = _table(workload)
        # What a pod's own line says is not said above as well.
        said = (
            workload.count
            if any(pod.state in workload.trouble for pod in workload.pods if not pod.ready)
            else workload.state
        )
        lines.append(f"{workload.kind} {workload.name}: {said}")
        lines += table
    for service in report.services:
        lines.append(f"Service {service.name}: {service.trouble or 'answers'}")
        lines += [f"  {line}" for line in service.reach]
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(lines)


def _title(report: SiteReport) -> str:
    if not report.workloads:
        return f"namespace {report.namespace}: nothing of Edgewise is installed here (edgewise k8s install)"
    how = report.installed or "not by edgewise k8s install"
    well = "all well" if report.well else "NOT WELL"
    return f"namespace {report.namespace}: {well} (installed: {how}; Kubernetes {report.server})"


def _table(workload: WorkloadReport) -> list[str]:
    rows: list[tuple[str, ...]] = [("POD", "NODE", "READY", "RESTARTS", "MODEL", "IMAGE")]
    notes: list[str] = [""]
    for pod in workload.pods:
        ready = "leaving" if pod.leaving else "yes" if pod.ready else "no"
        rows.append(
            (
                pod.name,
                pod.node or "-",
                f"{ready}, old" if pod.old else ready,
                str(pod.restarts),
                _model(pod),
                _image(pod),
            )
        )
        notes.append("" if pod.ready else pod.state)
    if len(rows) == 1:
        return []
    if all(row[4] == "-" for row in rows[1:]):
        rows = [(*row[:4], *row[5:]) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row, note in zip(rows, notes, strict=True):
        lines.append("  " + _row(row, widths))
        if note:
            lines.append(f"    {note}")
    return lines


def _row(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()


def _model(pod: PodReport) -> str:
    if not pod.model:
        return "-"
    if pod.serves is None:
        return f"{pod.model} {pod.version} (told)"
    return f"{pod.model} {' '.join(pod.serves) or 'none'}"


def _image(pod: PodReport) -> str:
    parts = []
    for container, image in pod.images.items():
        name = image.partition("@")[0]
        digest = (pod.digests.get(container) or image.rpartition("@")[2]).removeprefix("sha256:")
        known = digest != image and bool(digest)
        parts.append(f"{name}@{digest[:_SHOWN_DIGEST]}" if known else name)
    return " ".join(parts)
