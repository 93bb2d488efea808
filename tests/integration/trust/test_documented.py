"""The lines of docs/trust.md are run as an operator would, in their order, and a hub takes in what they sign."""

import contextlib
import re
from pathlib import Path

from edgewise.trust.keys import SigningKey
from edgewise.trust.offline import OfflineTrust

DOCUMENT = Path(__file__).parents[3] / "docs" / "trust.md"


def test_every_rotation_as_it_is_written(world, tmp_path):
    (tmp_path / "trust").symlink_to(tmp_path / "operator", target_is_directory=True)
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(blocks) == 7
    names = {"old_hex": world.desired_key.public_hex, "new_hex": SigningKey.generated().public_hex}
    site = world.site()
    site.refresh()
    handed_in = []
    with contextlib.chdir(tmp_path):
        for block in blocks:
            for name in ("root.json", "targets.json"):
                Path(name).unlink(missing_ok=True)
            exec(block, names)
            names["trust"] = OfflineTrust.opened(Path("trust"), clock=world.clock)
            if Path("online.key").exists() and len(world.hub._keys) == 1:
                world.reopen_hub(world.online, SigningKey.read(Path("online.key")))
            if Path("targets.json").exists():
                for path in ("policy.json", "desired-keys.json"):
                    world.hub.put_target(path, names["trust"].content(path))
                world.hub.accept_targets(Path("targets.json").read_bytes())
                handed_in.append("targets")
            if Path("root.json").exists():
                assert world.hub.accept_root(Path("root.json").read_bytes()) == ""
                handed_in.append("root")
            site.refresh()
            assert site.may_install() == ""
    assert handed_in == ["targets", "root", "root", "targets", "root", "root", "targets", "targets"]
    assert site.floor("pets") == 2
    assert site.open_desired(world.desired()).generation == 1
