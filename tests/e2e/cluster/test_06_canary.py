"""Two versions behind one route, by share."""

import math
from collections import Counter

from e2e.cluster.archives import row_questions
from e2e.cluster.installation import Overlay, source_of
from e2e.cluster.story import phases_between, show_ledger

REQUESTS = 2000
SHARE = 0.1
_SITE = '[[site]]\nname = "{name}"\ntier = "cloud"\nrest = "http://{service}:8501"\ndiscover = "kubernetes"\n\n'
GATEWAY_TOML = (
    _SITE.format(name="stable", service="model-server")
    + _SITE.format(name="canary", service="model-server-canary")
    + f'[route]\nkind = "weights"\nweights = {{stable = {1 - SHARE}, canary = {SHARE}}}\n'
)


def test_a_canary_gets_its_share(installation, published, timeline, apps):
    timeline.section(f"Canary: version 2 gets {SHARE:.0%} of {REQUESTS} requests")
    overlay = Overlay(source_of(published.tiny_1), canary=source_of(published.tiny_2), gateway_toml=GATEWAY_TOML)
    with timeline.timed("edgewise k8s install"):
        installation.install(overlay)
    installation.show()
    load = apps("canary", row_questions(2_000), rest=140, grpc=60)
    load.wait_count(REQUESTS)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["all"], []))
    counted = ledger.records[:REQUESTS]
    answers = Counter((record.site, record.version) for record in counted)
    canary = answers["canary", 2]
    # Four standard deviations: a right share fails once in 16,000 runs.
    most = 4 * math.sqrt(REQUESTS * SHARE * (1 - SHARE))
    timeline.say(
        f"answers by site and version: {dict(answers)}; {REQUESTS * SHARE:.0f} ± {most:.0f} of the canary expected"
    )

    ledger.require_all_right()
    assert set(answers) == {("stable", 1), ("canary", 2)}
    assert abs(canary - REQUESTS * SHARE) <= most
