"""Another model version reaches the pods while apps ask: none of them notices."""

import time

from e2e.cluster.archives import row_questions
from e2e.cluster.installation import Overlay, source_of
from e2e.cluster.story import phases_between, show_ledger, show_seconds


def test_a_rolling_update_fails_no_request(tiny, published, timeline, apps):
    timeline.section("Rolling update to version 2 under 100 requests/s (70 REST, 30 gRPC)")
    load = apps("rolling-update", row_questions(2_000, 1, 2), rest=70, grpc=30)
    load.wait_count(400)
    begun_s = time.monotonic()
    command = tiny.begin_install(Overlay(source_of(published.tiny_1)), published.tiny_2)
    load.wait(lambda records: records[-1].version == 2, timeout_s=60)
    timeline.say("version 2 answers for the first time")
    tiny.show()
    code = command.wait()
    ended_s = time.monotonic()
    timeline.say(f"edgewise k8s install: exit code {code} after {ended_s - begun_s:.1f} s")
    assert not code
    tiny.show()
    timeline.wait("only the new pods are there", lambda: len(tiny.namespace.pods("model-server")) == 3, timeout_s=60)
    load.wait_count(300)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["before", "during", "after"], [begun_s, ended_s]))
    show_seconds(timeline, ledger, begun_s, "version")

    ledger.require_all_right()
    assert {record.version for record in ledger.records} == {1, 2}
    assert {record.version for record in ledger.records[-100:]} == {2}
