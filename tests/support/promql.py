"""What expressions in Prometheus's query language refer to: enough of its grammar for our own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = DEPLOY / "k8s" / "components" / "monitoring" / "files"
ALERTS = FILES / "alerts.yaml"
DASHBOARD = FILES / "dashboard.json"

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_CLAUSE = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^{}]*)\}")
_WORD = re.compile(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")
_WORDS_OF_THE_LANGUAGE = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "inf", "nan"} | {
    "group_left",
    "group_right",
}


def metrics(expression: str) -> set[str]:
    """Names of the metrics and recorded series; of a matcher on __name__, those that it can match are not told."""
    bare = _STRING.sub('""', expression)
    bare = _CLAUSE.sub(" ", bare)
    bare = re.sub(r"\{[^{}]*\}", " ", bare)
    bare = re.sub(r"\[[^\]]*\]", " ", bare)
    return {word for word in _WORD.findall(bare) if word.lower() not in _WORDS_OF_THE_LANGUAGE}


def matchers(expression: str) -> Iterator[tuple[str, str, str, str]]:
    """Metric, label, operator and value of each matcher; the metric is "" where a matcher on __name__ stands for it."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found.group()[1:-1])
        return f"<{len(kept) - 1}>"

    for metric, inside in _SELECTOR.findall(_STRING.sub(keep, expression)):
        for label, operator, place in re.findall(r"(\w+)\s*(=~|!~|!=|=)\s*<(\d+)>", inside):
            yield metric, label, operator, kept[int(place)]


def grouped_labels(expression: str) -> set[str]:
    """Labels that an expression groups or joins by."""
    return {label for inside in _CLAUSE.findall(expression) for label in re.findall(r"\w+", inside)}


def rules() -> list[dict[str, Any]]:
    """All rules of alerts.yaml, recorded series and alerts."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """The alerts among them."""
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    """Names of the recorded series."""
    return {rule["record"] for rule in rules() if "record" in rule}


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def queries() -> dict[str, str]:
    """The dashboard's expressions, by the panel's title and the query's letter."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    }
    for annotation in dashboard()["annotations"]["list"]:
        found[f"annotation {annotation['name']}"] = annotation["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = re.sub(
                r"label_values\((.*),\s*(\w+)\)", r"group by (\2) (\1)", variable["query"]["query"]
            )
    return found


def filled_in(query: str, interval: str) -> str:
    """A dashboard's expression as Grafana would ask it with everything chosen."""
    query = query.replace("$__rate_interval", interval).replace("$__range", interval)
    return re.sub(r"\$\w+", ".*", query)
