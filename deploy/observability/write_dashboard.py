"""Writes the Grafana dashboard, deploy/k8s/components/monitoring/files/dashboard.json.

A panel is a line or two here and forty in Grafana's JSON; places, numbers and data sources follow from the order. A test holds
the file to what this writes, so a change made in Grafana's own editor is brought back here.
"""

import json
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
DASHBOARD: Final = HERE.parent / "k8s" / "components" / "monitoring" / "files" / "dashboard.json"

WIDTH: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

GATEWAY: Final = 'instance=~"$gateway"'
SITE: Final = f'{GATEWAY}, site=~"$site"'
SERVER: Final = 'instance=~"$server"'
MODEL: Final = f'{SERVER}, model=~"$model"'
BOTH: Final = 'instance=~"$gateway|$server"'
USABLE: Final = 'state=~"UP|RAMP"'

Json = dict[str, Any]


def rate(name: str, labels: str, by: str = "") -> str:
    """Of a counter: how much a second, added up by some labels."""
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({name}{{{labels}}}[$__rate_interval]))"


def increase(name: str, labels: str, by: str) -> str:
    """Of a counter: how much since the last point, added up by some labels."""
    return f"sum by ({by}) (increase({name}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, name: str, labels: str, by: str = "") -> str:
    """Of a histogram, by some labels."""
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({kept}) (rate({name}_bucket{{{labels}}}[$__rate_interval])))"


def quantiles(name: str, labels: str, by: str) -> dict[str, str]:
    """The usual three."""
    return {f"{{{{{by}}}}} p{round(share * 100)}": quantile(share, name, labels, by) for share in (0.5, 0.95, 0.99)}


def panel(kind: str, title: str, description: str, queries: dict[str, str], unit: str, **more: Any) -> Json:
    """A panel without its place.

    Args:
        kind: Grafana's name of it.
        queries: expressions by their legends.
        unit: Grafana's name of it.
        more: `width` and `height` in cells of the grid; `steps` of colours, by the value they begin at; `options`, `custom`,
            `mappings`; `instant` for the last value alone, `format` of what is asked for; `least` and `most` of the axis.
    """
    instant = more.get("instant", False)
    defaults: Json = {
        "unit": unit,
        "mappings": more.get("mappings", []),
        "thresholds": {"mode": "absolute", "steps": _steps(more.get("steps", {None: "green"}))},
        "color": {"mode": more.get("colour", "palette-classic")},
        "custom": more.get("custom", {}),
    }
    if "least" in more:
        defaults["min"] = more["least"]
    if "most" in more:
        defaults["max"] = more["most"]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "gridPos": {"w": more.get("width", 8), "h": more.get("height", 8)},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": more.get("options", {}),
        "transformations": more.get("transformations", []),
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "format": more.get("format", "time_series"),
                "instant": instant,
                "range": not instant,
                "editorMode": "code",
            }
            for number, (legend, expression) in enumerate(queries.items())
        ],
    }


def _steps(colours: dict[float | None, str]) -> list[Json]:
    return [{"value": value, "color": colour} for value, colour in colours.items()]


def lines(
    title: str, description: str, queries: dict[str, str], unit: str, *, stacked: bool = False, **more: Any
) -> Json:
    """Values over time."""
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 25 if stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, description, queries, unit, custom=custom, options=options, least=0, **more)


def number(title: str, description: str, expression: str, unit: str, steps: dict[float | None, str]) -> Json:
    """One number with the colour of its meaning."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    }
    look = {"options": options, "steps": steps, "colour": "thresholds", "width": 4, "height": 4}
    return panel("stat", title, description, {"": expression}, unit, **look)


def table(title: str, description: str, expression: str, **more: Any) -> Json:
    """The labels of each series as a row."""
    hidden = {"Time": True, "__name__": True, "job": True}
    organize = {"id": "organize", "options": {"excludeByName": hidden, "indexByName": {}, "renameByName": {}}}
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": [], "countRows": False}}
    look = {"instant": True, "format": "table", "transformations": [organize], "options": options}
    return panel("table", title, description, {"": expression}, "none", **look, **more)


NOW = [
    number(
        "Requests",
        "That arrive at the gateways.",
        rate("edgewise_gateway_received_requests_total", GATEWAY),
        "reqps",
        {None: "blue"},
    ),
    number(
        "Errors",
        "Share of the requests that get no prediction, wrong requests aside; the objective is 0.1 %. Takes the rules in alerts.yaml.",
        "max(job:edgewise_gateway_errors:ratio_rate5m)",
        "percentunit",
        {None: "green", 0.001: "yellow", 0.01: "red"},
    ),
    number(
        "Latency p99",
        "From a request's head to its answer.",
        quantile(0.99, "edgewise_gateway_request_seconds", GATEWAY),
        "s",
        {None: "blue"},
    ),
    number(
        "Not as preferred",
        "Share of the answers that another site gave than the route prefers.",
        f"{rate('edgewise_gateway_degraded_requests_total', GATEWAY)} / "
        + rate("edgewise_gateway_outcome_requests_total", f'{GATEWAY}, outcome="answered"'),
        "percentunit",
        {None: "green", 0.05: "yellow", 0.5: "red"},
    ),
    number(
        "Links that can be used",
        "Of all, each endpoint counted, as each gateway sees it.",
        f"sum(edgewise_gateway_link_state{{{SITE}, {USABLE}}}) / sum(edgewise_gateway_link_state{{{SITE}}})",
        "percentunit",
        {None: "red", 0.5: "yellow", 1: "green"},
    ),
    number(
        "Alerts",
        "That fire now.",
        'count(ALERTS{alertname=~"Edgewise.*", alertstate="firing"}) or vector(0)',
        "short",
        {None: "green", 1: "red"},
    ),
]

LINKS = [
    panel(
        "state-timeline",
        "Links",
        "Share of a site's endpoints that carry requests (UP or RAMP), as each gateway sees them: 0 is a site that is lost.",
        {
            "{{site}} ({{tier}}) from {{instance}}": f"sum by (instance, site, tier) (edgewise_gateway_link_state{{{SITE}, "
            f"{USABLE}}}) / sum by (instance, site, tier) (edgewise_gateway_link_state{{{SITE}}})"
        },
        "percentunit",
        steps={None: "red", 0.001: "yellow", 1: "green"},
        colour="thresholds",
        least=0,
        most=1,
        width=16,
        custom={"fillOpacity": 70, "lineWidth": 0},
        options={
            "mergeValues": True,
            "showValue": "auto",
            "alignValue": "left",
            "rowHeight": 0.9,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
    ),
    table(
        "State of each link",
        "How many endpoints of a site, times worker processes, are in which state.",
        f"edgewise_gateway_link_state{{{SITE}}} > 0",
    ),
    lines(
        "Link changes",
        "By the state they went to.",
        {"{{site}} {{state}}": increase("edgewise_gateway_link_changes_total", SITE, "site, state") + " > 0"},
        "short",
    ),
    lines(
        "Endpoints",
        "Of sites that are looked up in DNS or in the Kubernetes API.",
        {"{{site}} {{state}}": f"max by (site, state) (edgewise_gateway_endpoints{{{SITE}}})"},
        "short",
    ),
    lines(
        "Failed look-ups",
        "What was known before stays in use.",
        {"{{site}} from {{instance}}": increase("edgewise_gateway_discovery_failures_total", SITE, "instance, site")},
        "short",
    ),
]

REQUESTS = [
    lines(
        "By how they ended",
        "answered, rejected (nobody could take it, or it was wrong), expired, failed, cancelled by the app.",
        {"{{outcome}}": rate("edgewise_gateway_outcome_requests_total", GATEWAY, "outcome")},
        "reqps",
        stacked=True,
    ),
    lines(
        "By the site that answered",
        "What a route prefers, and what it got.",
        {"{{site}}": rate("edgewise_gateway_requests_total", f'{SITE}, model=~"$model|other"', "site")},
        "reqps",
        stacked=True,
    ),
    lines(
        "Errors of the gateway's own",
        "By code; UNAVAILABLE is 503 over REST, DEADLINE_EXCEEDED 504.",
        {"{{code}}": rate("edgewise_gateway_errors_total", GATEWAY, "code")},
        "reqps",
        stacked=True,
    ),
    lines(
        "Error budget",
        "Share of the requests that get no prediction, over several windows; 0.1 % is what the objective allows.",
        {
            f"{{{{job}}}} over {window}": f"job:edgewise_gateway_errors:ratio_rate{window}"
            for window in ("5m", "1h", "6h", "3d")
        },
        "percentunit",
    ),
    lines(
        "In flight",
        "Requests that have no answer yet.",
        {"{{instance}}": f"edgewise_gateway_in_flight_requests{{{GATEWAY}}}"},
        "short",
    ),
    lines(
        "Answered otherwise than preferred",
        "By why; docs/gateway.md has the words.",
        {"{{why}}": rate("edgewise_gateway_degraded_requests_total", GATEWAY, "why")},
        "reqps",
        stacked=True,
    ),
]

LATENCY = [
    lines(
        "Latency by site",
        "From a request's head to its answer, by the site that answered.",
        quantiles("edgewise_gateway_request_seconds", SITE, "site"),
        "s",
        width=12,
    ),
    panel(
        "heatmap",
        "Latency",
        "Of all requests that a site answered.",
        {"{{le}}": f"sum by (le) (increase(edgewise_gateway_request_seconds_bucket{{{SITE}}}[$__rate_interval]))"},
        "s",
        format="heatmap",
        width=12,
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
            "yAxis": {"unit": "s", "axisPlacement": "left"},
            "rowsFrame": {"layout": "auto"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "tooltip": {"show": True, "yHistogram": False},
        },
    ),
    lines(
        "Latency by model",
        "p99.",
        {"{{model}}": quantile(0.99, "edgewise_gateway_request_seconds", f'{SITE}, model=~"$model|other"', "model")},
        "s",
    ),
    lines(
        "The gateway's part",
        "Of the latency, what passed outside the attempt that won.",
        {
            f"p{round(share * 100)}": quantile(share, "edgewise_gateway_overhead_seconds", GATEWAY)
            for share in (0.5, 0.95, 0.99)
        },
        "s",
    ),
    lines(
        "Learned latency",
        "What the gateway takes for usual, and judges lateness by.",
        {
            "{{site}} q{{quantile}}": "max by (site, quantile) (edgewise_gateway_learned_latency_seconds"
            f'{{{SITE}, quantile=~"0.5|0.99|0.999"}})'
        },
        "s",
    ),
]

FAILOVER = [
    lines(
        "Attempts",
        "By why they were made; all but `first` are second ones.",
        {"{{reason}}": rate("edgewise_gateway_attempts_total", f'{SITE}, reason!="first"', "reason")},
        "reqps",
        stacked=True,
    ),
    lines(
        "Hedges and rescues",
        "By the site that got them: because the first was slow, because its link was lost.",
        {
            "hedges to {{site}}": rate("edgewise_gateway_hedges_total", SITE, "site"),
            "rescues to {{site}}": rate("edgewise_gateway_rescues_total", SITE, "site"),
        },
        "reqps",
    ),
    lines(
        "Work done twice",
        "Attempts made while another of the same request might still run, for each request.",
        {
            "duplicates": f"{rate('edgewise_gateway_duplicates_total', SITE)} / "
            + rate("edgewise_gateway_received_requests_total", GATEWAY)
        },
        "percentunit",
    ),
    lines(
        "Attempts without an answer",
        "connect, lost, protocol, pool.",
        {"{{site}} {{kind}}": rate("edgewise_gateway_attempt_failures_total", SITE, "site, kind")},
        "reqps",
    ),
    lines(
        "What sites answered",
        "As routing takes it, late answers included.",
        {"{{site}} {{meaning}}": rate("edgewise_gateway_site_answers_total", SITE, "site, meaning")},
        "reqps",
    ),
    lines(
        "Cancelled and cut",
        "Attempts that nobody needed any more; long answers whose site was lost in the middle.",
        {
            "cancelled at {{site}}": rate("edgewise_gateway_cancelled_attempts_total", SITE, "site"),
            "cut": rate("edgewise_gateway_answers_cut_total", GATEWAY),
        },
        "reqps",
    ),
]

QUEUES = [
    lines(
        "Waiting at the gateways",
        "Requests that wait for room at a site.",
        {"{{site}} from {{instance}}": f"edgewise_gateway_queued_requests{{{SITE}}}"},
        "short",
    ),
    lines(
        "In flight at sites",
        "And how many the gateways have found a site to take.",
        {
            "{{site}}": f"sum by (site) (edgewise_gateway_in_flight_attempts{{{SITE}}})",
            "{{site}} limit": f"sum by (site) (edgewise_gateway_in_flight_limit_attempts{{{SITE}}})",
        },
        "short",
    ),
    lines(
        "In the model servers",
        "Requests that wait or are being run.",
        {"{{instance}}": f"edgewise_server_in_flight{{{SERVER}}}"},
        "short",
    ),
    lines(
        "Waiting for the backend",
        "By model.",
        quantiles("edgewise_server_queue_seconds", MODEL, "model"),
        "s",
    ),
    lines(
        "Compute by model", "Time in the backend.", quantiles("edgewise_server_compute_seconds", MODEL, "model"), "s"
    ),
    lines(
        "Examples in a run",
        "On average: how much batching brings.",
        {
            "{{model}}": f"{rate('edgewise_server_batch_rows_sum', MODEL, 'model')} / "
            + rate("edgewise_server_batch_rows_count", MODEL, "model")
        },
        "short",
    ),
]

MODELS = [
    table(
        "Versions",
        "What each model server has in memory, and what it could not load.",
        f"edgewise_server_model_state{{{MODEL}}} * on (job, instance) group_left (site, tier) edgewise_server_info",
        width=12,
    ),
    lines(
        "Versions that could not be loaded",
        "1 while there is one; `curl SERVER/v1/models/MODEL` says why.",
        {
            "{{model}} {{version}} at {{instance}}": "max by (instance, model, version) "
            f"(edgewise_server_version_failed{{{MODEL}}}) > 0"
        },
        "short",
        width=12,
    ),
    lines(
        "Model servers' answers",
        "By code.",
        {"{{model}} {{code}}": rate("edgewise_server_requests_total", SERVER, "model, code")},
        "reqps",
    ),
    lines(
        "Model servers' outcomes",
        "Duplicates of the gateways included.",
        {"{{outcome}}": rate("edgewise_server_outcomes_total", SERVER, "outcome")},
        "reqps",
        stacked=True,
    ),
    lines(
        "Latency in the model servers",
        "From a request's head to its answer.",
        quantiles("edgewise_server_request_seconds", SERVER, "model"),
        "s",
    ),
]

PROCESSES = [
    lines(
        "CPU", "1 is one core.", {"{{instance}}": rate("process_cpu_seconds_total", BOTH, "instance")}, "percentunit"
    ),
    lines("Memory", "Resident.", {"{{instance}}": f"process_resident_memory_bytes{{{BOTH}}}"}, "bytes"),
    lines(
        "Open files",
        "Of those allowed; each connection is one.",
        {"{{instance}}": f"process_open_fds{{{BOTH}}} / process_max_fds{{{BOTH}}}"},
        "percentunit",
    ),
    lines(
        "Starts",
        "More than one in a while: a watchdog, the memory, or a failure.",
        {"{{instance}}": f"changes(process_start_time_seconds{{{BOTH}}}[30m])"},
        "short",
    ),
    lines(
        "Connections of apps",
        "Open now.",
        {
            "{{instance}} HTTP": f"edgewise_gateway_http_connections{{{GATEWAY}}}",
            "{{instance}} gRPC": f"edgewise_gateway_grpc_connections{{{GATEWAY}}}",
        },
        "short",
    ),
    lines(
        "Bytes",
        "Between apps and gateways.",
        {
            "HTTP received": rate("edgewise_gateway_http_received_bytes_total", GATEWAY),
            "HTTP sent": rate("edgewise_gateway_http_sent_bytes_total", GATEWAY),
            "gRPC received": rate("edgewise_gateway_grpc_received_bytes_total", GATEWAY),
            "gRPC sent": rate("edgewise_gateway_grpc_sent_bytes_total", GATEWAY),
        },
        "Bps",
    ),
]

ROWS: Final = {
    "Now": NOW,
    "Links": LINKS,
    "Requests": REQUESTS,
    "Latency": LATENCY,
    "Failover": FAILOVER,
    "Queues": QUEUES,
    "Models and versions": MODELS,
    "Processes": PROCESSES,
}


def placed(rows: dict[str, list[Json]]) -> list[Json]:
    """All panels with numbers and places, each row under its title, left to right and top down."""
    found: list[Json] = []
    y = 0
    for title, panels in rows.items():
        found.append(
            {
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            }
        )
        y += 1
        x = tallest = 0
        for one in panels:
            size = one["gridPos"]
            if x + size["w"] > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            found.append(one | {"gridPos": {"x": x, "y": y, **size}})
            x += size["w"]
            tallest = max(tallest, size["h"])
        y += tallest
    return [{"id": place} | one for place, one in enumerate(found, 1)]


def variable(name: str, label: str, query: str) -> Json:
    """A choice of a label's values, all of them at first."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def dashboard() -> Json:
    """The whole of it, as Grafana imports it."""
    return {
        "uid": "edgewise",
        "title": "Edgewise",
        "description": "Links, latency by site, failovers, queues and versions. Written by deploy/observability/write_dashboard.py.",
        "tags": ["edgewise"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "",
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "links": [],
        "annotations": {
            "list": [
                {
                    "name": "A link is lost",
                    "datasource": SOURCE,
                    "enable": True,
                    "hide": False,
                    "iconColor": "red",
                    "expr": f'increase(edgewise_gateway_link_changes_total{{{SITE}, state="DOWN"}}[1m]) > 0',
                    "titleFormat": "{{site}} is lost to {{instance}}",
                }
            ]
        },
        "templating": {
            "list": [
                {
                    "type": "datasource",
                    "name": "datasource",
                    "label": "Data source",
                    "query": "prometheus",
                    "refresh": 1,
                    "regex": "",
                    "multi": False,
                    "includeAll": False,
                    "current": {},
                    "hide": 0,
                },
                variable("gateway", "Gateway", "label_values(edgewise_gateway_info, instance)"),
                variable("server", "Model server", "label_values(edgewise_server_info, instance)"),
                variable("site", "Site", f"label_values(edgewise_gateway_link_state{{{GATEWAY}}}, site)"),
                variable("model", "Model", f"label_values(edgewise_server_model_state{{{SERVER}}}, model)"),
            ]
        },
        "panels": placed(ROWS),
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    DASHBOARD.write_text(text())
