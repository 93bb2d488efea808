"""Releases as people read them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from edgewise.core.wording import counted
from edgewise.hub.console.exporting import Exported
from edgewise.hub.console.publishing import Published
from edgewise.hub.console.text_tables import columns, printable
from edgewise.hub.console.verifying import Verified
from edgewise.hub.control.status import ReleaseStatus
from edgewise.hub.pages.words import moment, size


def releases_text(releases: Iterable[ReleaseStatus]) -> str:
    """A table of releases."""
    rows = [("RELEASE", "VARIANTS", "CREATED", "BY", "NOTES")]
    for release in releases:
        variants = ", ".join(f"{tier} {size(count)}" for tier, count in sorted(release.sizes_bytes.items()))
        notes = release.notes.partition("\n")[0]
        rows.append((f"{release.model}/{release.version}", variants, release.created, release.added_by, notes))
    if len(rows) == 1:
        return "no releases; make one with: edgewise release create MODEL VERSION --all DIR"
    return "\n".join(columns(rows))


def release_text(release: ReleaseStatus) -> str:
    """All that is known of one release."""
    return "\n".join(f"{name + ':':16}{printable(value)}" for name, value in _facts(release) if value)


def published_text(done: Published) -> str:
    """What a `create` has done."""
    there = f", {size(done.there_bytes)} were there" if done.there_bytes else ""
    signed = "had been signed before" if done.was_there else "signed"
    return f"{done.release.name}: {size(done.sent_bytes)} sent{there}; {signed}, in version {done.targets_version} of targets.json"


def verified_text(found: Verified) -> str:
    """What a `verify` has found."""
    chain = f"root {found.root_version} and targets {found.targets_version} vouch for its manifest"
    if found.faults:
        return "\n".join(
            [f"{found.release.name}: NOT WHOLE; {chain}", *(f"  {printable(fault)}" for fault in found.faults)]
        )
    return f"{found.release.name}: {chain}, and all of {counted(found.blobs, 'file')} ({size(found.size_bytes)}) are what was signed"


def exported_text(out: Path, done: Exported) -> str:
    """What an `export` has done."""
    return f"{out}: {size(done.size_bytes)}, with {counted(done.blobs, 'file')}; good until {done.until}"


def _facts(release: ReleaseStatus) -> Iterator[tuple[str, str]]:
    yield "release", f"{release.model}/{release.version}"
    yield "created", release.created
    yield "added", f"{moment(release.added_s)} by {release.added_by}"
    for tier, count in sorted(release.sizes_bytes.items()):
        yield f"variant {tier}", size(count)
    yield "manifest", f"sha256 {release.manifest_sha256}"
    yield from sorted(release.lineage.items())
    yield "notes", release.notes.replace("\n", " ")
