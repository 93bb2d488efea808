"""The table at the end."""

import csv

from swarm import comparison
from swarm.figures import CLOSED, OPEN, Figures


def figures_of(closed_ms, open_ms):
    figures = Figures()
    for engine, latencies_ms in ((CLOSED, closed_ms), (OPEN, open_ms)):
        for one in latencies_ms:
            figures.add((engine, "REST", "rest-json tiny"), one, failed=False)
    return figures


def test_open_and_closed_stand_side_by_side_with_their_ratio(tmp_path):
    figures = figures_of([1.234] * 100, [1.0] * 50 + [617.0] * 50)
    shown = {(CLOSED, "REST", "rest-json tiny"): (1.0, 1.0)}
    table = comparison.lines(figures, shown)
    assert [line.row[0] for line in table] == [CLOSED, OPEN]
    text = comparison.rendered(table, figures)
    assert "p99 is 617 ms in the open loop" in text
    assert "1.23 ms in the closed one" in text
    assert "(500 times)" in text

    comparison.write_csv(tmp_path / "engines.csv", table)
    with (tmp_path / "engines.csv").open(newline="") as file:
        closed, opened = csv.DictReader(file)
    assert closed["p99_ms"] == "1.23"
    assert closed["locust_p99_ms"] == "1"
    assert opened["requests"] == "100"
    assert opened["locust_p99_ms"] == ""


def test_an_engine_that_lagged_is_told():
    figures = figures_of([], [2.0])
    figures.lag.add(0.2, failed=False)
    calm = comparison.rendered(comparison.lines(figures, {}), figures)
    assert "0.20 ms late at p99." in calm
    assert "void" not in calm
    figures.lag.add(40.0, failed=False)
    assert "are void" in comparison.rendered(comparison.lines(figures, {}), figures)


def test_nothing_measured_is_said_so():
    assert comparison.rendered([], Figures()) == "No request was made."
