"""deploy/grafana/safety-proxy.json: the dashboard, in Grafana's classic JSON, which every version imports.

    python -m tools.dashboard

A panel is a row of PANELS. tests/deploy compares the file, and asks a real Prometheus for every panel's data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).parent.parent / "deploy/grafana/safety-proxy.json"
WIDTH, HEIGHT, COLUMNS = 8, 7, 3  # of a panel in Grafana's grid of 24 columns
OURS = '{job=~"$job", instance=~"$instance"}'


class Panel(NamedTuple):
    """One panel. `queries`: expression and legend of each; SEL stands for the selector of job and instance.

    kind: timeseries, or stat for one number
    """

    title: str
    about: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


def _quantiles(metric: str, *by: str, of: tuple[float, ...] = (0.5, 0.95, 0.99)) -> tuple[tuple[str, str], ...]:
    labels = ", ".join(("le", *by))
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{SEL}}[$__rate_interval])))",
            f"{legend} p{round(q * 100)}".strip(),
        )
        for q in of
    )


def _rate(metric: str, *by: str, more: str = "") -> tuple[tuple[str, str], ...]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    selector = f"{{SEL{', ' + more if more else ''}}}"
    return ((f"sum by ({', '.join(by)}) (rate({metric}{selector}[$__rate_interval]))", legend),)


PANELS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Traffic",
        (
            Panel(
                "Requests by outcome", "How requests ended.", "reqps", _rate("safety_proxy_requests_total", "outcome")
            ),
            Panel(
                "Share blocked",
                "Of all requests, those that a rule blocked.",
                "percentunit",
                (
                    (
                        'sum(rate(safety_proxy_requests_total{SEL, outcome="blocked"}[$__rate_interval]))'
                        " / (sum(rate(safety_proxy_requests_total{SEL}[$__rate_interval])) > 0)",
                        "blocked",
                    ),
                ),
            ),
            Panel(
                "Requests under way",
                "Streams that run now.",
                "short",
                (("sum by (endpoint) (safety_proxy_requests_in_flight{SEL})", "{{endpoint}}"),),
            ),
            Panel(
                "Tokens",
                "As the model server counts them.",
                "cps",
                _rate("safety_proxy_tokens_total", "direction"),
            ),
            Panel(
                "Wasted events",
                "Text that the model computed for answers which the client did not get whole.",
                "cps",
                _rate("safety_proxy_wasted_events_total", "reason"),
            ),
            Panel(
                "Refusals of the model",
                "Answers in which the model itself refused. Not our blocks.",
                "short",
                _rate("safety_proxy_model_refusals_total", "kind"),
            ),
        ),
    ),
    (
        "Rules",
        (
            Panel(
                "Findings by rule",
                "What rules found, the ten that find most.",
                "cps",
                (
                    (
                        "topk(10, sum by (policy, rule, action) "
                        "(rate(safety_proxy_findings_total{SEL}[$__rate_interval])))",
                        "{{policy}}/{{rule}} {{action}}",
                    ),
                ),
            ),
            Panel(
                "Rules that make people wait",
                "Seconds that characters of answers waited for a rule, in each second.",
                "s",
                (
                    (
                        "topk(5, sum by (policy, rule) "
                        "(rate(safety_proxy_rule_hold_seconds_total{SEL}[$__rate_interval])))",
                        "{{policy}}/{{rule}}",
                    ),
                ),
            ),
            Panel(
                "Checks that fail",
                "allow: the policy lets the text pass unjudged. There should be none.",
                "cps",
                _rate("safety_proxy_check_errors_total", "check", "on_error"),
            ),
        ),
    ),
    (
        "What the proxy costs",
        (
            Panel(
                "Added time to the first text",
                "The proxy's share of the delay of a stream's first text.",
                "s",
                _quantiles("safety_proxy_added_time_to_first_token_seconds"),
            ),
            Panel(
                "Added latency by stage",
                "For each answer: judging the prompt, judging and writing the answer, waiting for verdicts.",
                "s",
                _quantiles("safety_proxy_added_latency_seconds", "stage", of=(0.95,)),
            ),
            Panel(
                "Held characters",
                "The most characters of an answer that waited at once.",
                "short",
                _quantiles("safety_proxy_held_back_characters", of=(0.5, 0.95)),
            ),
        ),
    ),
    (
        "Model server",
        (
            Panel(
                "Model server answers",
                "1: it answered when last asked.",
                "short",
                (("safety_proxy_upstream_up{SEL}", "{{upstream}}"),),
                "stat",
            ),
            Panel(
                "Its time to the first text",
                "From the request to the model server until its first text.",
                "s",
                _quantiles("safety_proxy_upstream_time_to_first_token_seconds", of=(0.5, 0.95)),
            ),
            Panel(
                "Its time between tokens",
                "Between two reads of an answer's text.",
                "s",
                _quantiles("safety_proxy_upstream_inter_token_latency_seconds", of=(0.5, 0.95)),
            ),
            Panel(
                "Its failures",
                "By reason; the log has the exact status and the URL.",
                "cps",
                _rate("safety_proxy_upstream_errors_total", "reason"),
            ),
            Panel(
                "Duration of requests",
                "From a request's first byte to its answer's last.",
                "s",
                _quantiles("safety_proxy_request_duration_seconds", "outcome", of=(0.95,)),
            ),
            Panel(
                "Lost log records",
                "By sink. There should be none.",
                "cps",
                _rate("safety_proxy_log_records_dropped_total", "sink"),
            ),
        ),
    ),
    (
        "Policies and the process",
        (
            Panel(
                "Policies in force",
                "1 for each, with the revision. More than one revision: the proxies differ.",
                "short",
                (("count by (policy, sha256) (safety_proxy_policy_info{SEL})", "{{policy}} {{sha256}}"),),
                "stat",
            ),
            Panel(
                "Self-test",
                "Seconds since each policy last found its own example; it should stay below 60.",
                "s",
                (("time() - safety_proxy_selftest_last_success_timestamp_seconds{SEL}", "{{policy}}"),),
            ),
            Panel(
                "Memory", "Of the proxy's process.", "bytes", (("process_resident_memory_bytes{SEL}", "{{instance}}"),)
            ),
        ),
    ),
)


def expression(query: str) -> str:
    """A query as Grafana gets it, with the variables of the dashboard."""
    return query.replace("SEL", OURS[1:-1])


def dashboard() -> dict[str, Any]:
    """The whole dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row, inner in PANELS:
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": row, "gridPos": _place(0, y, 24, 1), "panels": []}
        )
        y += 1
        for number, panel in enumerate(inner):
            x = number % COLUMNS * WIDTH
            panels.append(_panel(panel, len(panels) + 1, _place(x, y + number // COLUMNS * HEIGHT, WIDTH, HEIGHT)))
        y += -(-len(inner) // COLUMNS) * HEIGHT
    return {
        "title": "safety-proxy",
        "uid": "safety-proxy",
        "description": "What the guard does, what it costs, how the model server is. docs/metrics.md has every metric.",
        "tags": ["llm", "safety-proxy"],
        "editable": False,
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "templating": {"list": [_datasource(), _variable("job"), _variable("instance", '{job=~"$job"}')]},
        "annotations": {"list": []},
        "panels": panels,
    }


def _place(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}


def _variable(label: str, among: str = "") -> dict[str, Any]:
    query = f"label_values(safety_proxy_build_info{among}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "definition": query,
        "query": {"query": query, "refId": "variable"},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = [
        {"refId": chr(ord("A") + i), "datasource": source, "expr": expression(query), "legendFormat": legend}
        for i, (query, legend) in enumerate(panel.queries)
    ]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name", "colorMode": "none"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": source,
        "gridPos": place,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
