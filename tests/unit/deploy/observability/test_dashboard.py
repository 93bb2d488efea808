"""The dashboard's file: what Grafana would trip over, and what people would."""

import importlib.util
import itertools
import re

import pytest

from support import promql

PANELS = [panel for panel in promql.dashboard()["panels"] if panel["type"] != "row"]
IDS = [panel["title"] for panel in PANELS]
# Grafana's names of units, of those that are used here.
UNITS = {"reqps", "s", "percentunit", "short", "bytes", "Bps"}
KINDS = {"timeseries", "stat", "table", "state-timeline", "heatmap"}
ITS_OWN_VARIABLES = {"__rate_interval", "__range", "__all"}


@pytest.fixture(scope="module")
def variables():
    return {one["name"]: one for one in promql.dashboard()["templating"]["list"]}


def test_the_file_is_what_its_program_writes():
    script = promql.DEPLOY / "observability" / "write_dashboard.py"
    spec = importlib.util.spec_from_file_location("write_dashboard", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert promql.DASHBOARD.read_text() == module.text(), f"run python {script.relative_to(promql.DEPLOY.parent)}"


def test_it_can_be_found():
    dashboard = promql.dashboard()
    assert (dashboard["uid"], dashboard["title"]) == ("edgewise", "Edgewise")
    assert dashboard["schemaVersion"] >= 36
    # Grafana gives it a number of its own.
    assert "id" not in dashboard


def test_panels_have_numbers_and_titles_of_their_own():
    panels = promql.dashboard()["panels"]
    numbers = [panel["id"] for panel in panels]
    assert len(set(numbers)) == len(numbers)
    assert len(set(IDS)) == len(IDS)


def test_panels_lie_within_the_grid_and_not_on_each_other():
    taken = {}
    for panel in promql.dashboard()["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        columns = range(place["x"], place["x"] + place["w"])
        for cell in itertools.product(columns, range(place["y"], place["y"] + place["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]
    rows = {y for _, y in taken}
    assert rows == set(range(max(rows) + 1)), "there is an empty row"


@pytest.mark.parametrize("panel", PANELS, ids=IDS)
def test_a_panel_says_what_it_shows_and_in_which_unit(panel):
    assert panel["type"] in KINDS
    assert panel["description"].endswith(".")
    assert panel["targets"]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    assert unit in UNITS or (unit == "none" and panel["type"] == "table")
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters)
    for target in panel["targets"]:
        assert target["instant"] != target["range"]
        assert target["legendFormat"] or panel["type"] in {"stat", "table"}


@pytest.mark.parametrize("panel", PANELS, ids=IDS)
def test_the_data_source_is_chosen_by_a_variable(panel, variables):
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    for one in (panel, *panel["targets"]):
        assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize(("title", "query"), promql.queries().items(), ids=promql.queries())
def test_a_query_uses_only_variables_that_there_are(title, query, variables):
    used = set(re.findall(r"\$\{?(\w+)", query))
    assert used <= set(variables) | ITS_OWN_VARIABLES


@pytest.mark.parametrize("panel", PANELS, ids=IDS)
def test_a_rate_is_shown_as_one(panel):
    expressions = [target["expr"] for target in panel["targets"]]
    if panel["fieldConfig"]["defaults"]["unit"] in {"reqps", "Bps"}:
        assert all("rate(" in expression for expression in expressions)
    # A window of a fixed length shows nothing where Prometheus scrapes less often.
    for expression in expressions:
        for window in re.findall(r"\b(?:rate|increase)\([^\[]*\[([^\]]*)\]", expression):
            assert window == "$__rate_interval"


def test_what_was_asked_for_is_there():
    text = str(promql.queries())
    for metric in (
        "edgewise_gateway_link_state",
        "edgewise_gateway_endpoints",
        "edgewise_gateway_request_seconds_bucket",
        "edgewise_gateway_degraded_requests_total",
        "edgewise_gateway_hedges_total",
        "edgewise_gateway_rescues_total",
        "edgewise_gateway_queued_requests",
        "edgewise_server_model_state",
        "edgewise_gateway_errors_total",
    ):
        assert metric in text
