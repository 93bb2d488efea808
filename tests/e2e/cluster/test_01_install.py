"""From nothing to predictions: REST and gRPC through the gateway, spread over all pods."""

from e2e.cluster.archives import photograph_questions
from e2e.cluster.story import phases_between, show_ledger
from e2e.cluster.timeline import table


def test_what_is_installed_predicts_and_spreads(installation, timeline, apps):
    timeline.section("Predict over REST and gRPC through the gateway's NodePort")
    before = installation.received()
    assert len(before) == 3
    load = apps("predict", photograph_questions(1), rest=30, grpc=30)
    load.wait_count(240)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["all"], []))
    one = next(record for record in ledger.records if record.door == "grpc")
    timeline.say(f"an answer over gRPC says: site {one.site}, version {one.version}, attempts {one.attempts}")
    after = installation.received()
    got = {pod: after[pod] - before[pod] for pod in before}
    timeline.show(table(["pod", "requests by its own metrics"], [[pod, int(count)] for pod, count in got.items()]))

    ledger.require_all_right()
    assert {record.door for record in ledger.records} == {"rest", "grpc"}
    assert {(record.site, record.version) for record in ledger.records} == {("cloud", 1)}
    assert sum(got.values()) >= ledger.scheduled
    # A fair share is a third; by two choices each pod gets a good part of it.
    assert min(got.values()) > 0.1 * ledger.scheduled, got
