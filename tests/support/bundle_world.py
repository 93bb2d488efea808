"""A site without a link, and what a hub wants of it."""

import hashlib

from edgewise.agent.bundles import BASE_URL, import_bundle
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.trust.releases import TrustedReleases
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.orders import DesiredState, Order
from edgewise.protocols.desired_state import PAYLOAD_TYPE, encode_desired
from edgewise.protocols.documents import document_bytes
from edgewise.trust.envelopes import seal
from edgewise.trust.keys import SigningKey

SITE = "factory-7"


class Site:
    """A site that was enrolled on a machine with a link, and has none."""

    def __init__(self, directory, root):
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
        return TrustedReleases(self.state.tuf, BASE_URL, source, site=SITE, root_sha256=self.root_sha256)

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


def desired(hub, generation=17, site=SITE, key=None):
    digest = hub.repository.targets().targets["releases/pets/2.json"].hashes["sha256"]
    order = Order("pets-2-k3f9", "pets", 2, digest, Want.RUN)
    state = DesiredState(site, generation, "2099-01-01T00:00:00Z", (order,))
    return seal(encode_desired(state), PAYLOAD_TYPE, key or hub.desired_key)
