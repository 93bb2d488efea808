"""A site without a link, and what a hub wants of it."""

import hashlib
import io
import tarfile
import time

from edgewise.agent.bundles import BASE_URL, import_bundle
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.trust.releases import TrustedReleases
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.orders import DesiredState, Order
from edgewise.protocols.desired_state import PAYLOAD_TYPE, encode_desired
from edgewise.protocols.documents import document_bytes, time_text
from edgewise.trust.envelopes import seal
from edgewise.trust.keys import SigningKey

SITE = "factory-7"


class Site:
    """A site that was enrolled on a machine with a link, and has none."""

    def __init__(self, directory, root, *, clock=time.time):
        self.clock = clock
        self.state = StateDirectory(directory)
        self.root_sha256 = hashlib.sha256(root).hexdigest()
        self.state.write(
            self.state.site,
            document_bytes(
                {
                    "format": "edgewise-site/1",
                    "hub": "https://hub.example",
                    "site": SITE,
                    "tier": "edge",
                    "root_sha256": self.root_sha256,
                }
            ),
        )
        self.state.write(self.state.token, b"token", mode=0o600)
        SigningKey.generated().write(self.state.key)

    def trusted(self, source):
        return TrustedReleases(
            self.state.tuf, BASE_URL, source, site=SITE, root_sha256=self.root_sha256, clock=self.clock
        )

    def take(self, bundle):
        with self.state.locked():
            return import_bundle(bundle, self.state, self.trusted, site=SITE, tier="edge")

    def files(self):
        """What is there of metadata, orders and blobs."""
        return sorted(
            path.relative_to(self.state.root).as_posix()
            for path in self.state.root.rglob("*")
            if path.is_file() and path.name not in {"lock", ".ballast", "site.json", "site.key", "site.token"}
        )


def rewritten(bundle, changes=None, *, extra=(), drop=()):
    """The bundle with other contents, with members more or fewer."""
    with tarfile.open(bundle) as before:
        members = [(member, before.extractfile(member).read()) for member in before]
    with tarfile.open(bundle, "w", format=tarfile.PAX_FORMAT) as after:
        for member, old in members:
            if not any(part in member.name for part in drop):
                content = next((new for part, new in (changes or {}).items() if part in member.name), old)
                member.size = len(content)
                after.addfile(member, io.BytesIO(content))
        for member, content in extra:
            member.size = len(content)
            after.addfile(member, io.BytesIO(content))
    return bundle


def desired(hub, generation=17, site=SITE, key=None, *, until_s=None):
    """As a hub signs it for a bundle that is good until then."""
    digest = hub.repository.targets().targets["releases/pets/2.json"].hashes["sha256"]
    order = Order("pets-2-k3f9", "pets", 2, digest, Want.RUN)
    expires = "2099-01-01T00:00:00Z" if until_s is None else time_text(until_s)
    state = DesiredState(site, generation, expires, (order,), carried=True)
    return seal(encode_desired(state), PAYLOAD_TYPE, key or hub.desired_key)
