"""Writes prometheus-rule.yaml, the alert rules as the Prometheus Operator takes them, from files/alerts.yaml.

The rules stay as they are, two spaces further in: what `promtool` checks is what the operator gets.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
ALERTS = HERE / "files" / "alerts.yaml"
RULE = HERE / "prometheus-rule.yaml"

HEAD = """\
# Generated from files/alerts.yaml by wrap_alerts.py; never edited by hand.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: edgewise
  namespace: edgewise
  labels:
    app.kubernetes.io/name: edgewise-alerts
    app.kubernetes.io/component: monitoring
    app.kubernetes.io/part-of: edgewise
    app.kubernetes.io/managed-by: kustomize
spec:
"""


def wrapped(alerts: str) -> str:
    """The rules as the spec of a PrometheusRule.

    Args:
        alerts: a file of rules, one YAML document.
    Returns: the object, as YAML.
    """
    lines = [line for line in alerts.splitlines() if line.strip() != "---"]
    return HEAD + "".join(f"  {line}\n" if line.strip() else "\n" for line in lines)


def main(words: list[str]) -> int:
    """Write the file, or with --check tell whether it is what it would be.

    Returns: the exit code; 1 when --check finds another.
    """
    rule = wrapped(ALERTS.read_text(encoding="utf-8"))
    if words == ["--check"]:
        if RULE.read_text(encoding="utf-8") == rule:
            return 0
        sys.stderr.write(f"{RULE.name} is not what {ALERTS.name} says; run {Path(__file__).name}\n")
        return 1
    RULE.write_text(rule, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
