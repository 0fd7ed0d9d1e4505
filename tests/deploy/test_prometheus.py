"""What is shipped for Prometheus and Grafana, held against the real programs."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.stack import DEPLOY, PROGRAM, Prometheus, monitored, prometheus
from tests.proxy_process import ProxyProcess
from tests.waiting import PATIENCE, until_elsewhere
from tools import dashboard

PROMTOOL = shutil.which("promtool")
FOLDER = DEPLOY / "prometheus"
ALERTS = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
RECORDED = yaml.safe_load((FOLDER / "recording.yml").read_text("utf-8"))["groups"][0]["rules"]
BOARD: dict[str, Any] = json.loads(dashboard.FILE.read_text("utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [(f"{panel['title']} {target['refId']}", target["expr"]) for panel in PANELS for target in panel["targets"]]
DERIVED = re.compile(r"_(bucket|sum|count)$")

needs_prometheus = pytest.mark.skipif(
    PROGRAM is None or PROMTOOL is None, reason="Prometheus is not installed (Debian's package prometheus)"
)


def promtool(*arguments: str, given: bytes | None = None) -> str:
    """What promtool says; it has to be content."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], cwd=FOLDER, input=given, capture_output=True, timeout=PATIENCE, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@needs_prometheus
def test_the_configuration_and_the_rules_are_right() -> None:
    """Prometheus' own tool accepts them."""
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "recording.yml", "alerts.yml")


@needs_prometheus
@pytest.mark.parametrize("page", ["README.md", "docs/metrics.md"])
def test_the_configuration_in_the_docs_is_right(page: str, tmp_path: Path) -> None:
    """What README and docs/metrics.md print can be used as it is."""
    text = (DEPLOY.parent / page).read_text("utf-8")
    (config,) = (block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "scrape_configs" in block)
    (tmp_path / "prometheus.yml").write_text(config, "utf-8")
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


@needs_prometheus
def test_every_alert_fires_at_the_first_event() -> None:
    """alerts_test.yml replays each alert's first event: silent before, firing after."""
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_stands_in_the_docs() -> None:
    """docs/metrics.md has a row for each, and none for another."""
    rows = re.findall(
        r"^\| `(SafetyProxy\w+)` \|", (DEPLOY.parent / "docs/metrics.md").read_text("utf-8"), re.MULTILINE
    )
    assert rows == [alert["alert"] for alert in ALERTS]


def test_every_alert_has_a_test_in_which_it_is_silent_and_one_in_which_it_fires() -> None:
    """None is forgotten, and each tells a person what is the matter."""
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text("utf-8"))["tests"]
    looks = [look for test in tests for look in test["alert_rule_test"]]
    for alert in ALERTS:
        of_it = [bool(look["exp_alerts"]) for look in looks if look["alertname"] == alert["alert"]]
        assert set(of_it) == {True, False}, alert["alert"]
        assert alert["annotations"]["summary"]


@pytest.fixture(name="stack", scope="module")
def fixture_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ProxyProcess, Prometheus]]:
    """A proxy with chats, and a Prometheus that scrapes it."""
    with monitored(tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@needs_prometheus
def test_what_is_exposed_passes_the_linter(stack: tuple[ProxyProcess, Prometheus]) -> None:
    """promtool check metrics has nothing to say of ours."""
    proxy, server = stack
    body = server._client.get(f"{proxy.admin_url}/metrics").content
    ours = b"\n".join(line for line in body.splitlines() if b"safety_proxy_" in line) + b"\n"
    assert promtool("check", "metrics", given=ours).strip() == ""


@needs_prometheus
@pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_every_panel_has_data(stack: tuple[ProxyProcess, Prometheus], name: str, query: str) -> None:
    """Prometheus answers each panel's query with numbers, while chats go through the proxy."""
    _, server = stack
    query = query.replace("$__rate_interval", "30s").replace("$job", "safety-proxy").replace("$instance", ".+")

    def has_data() -> bool:
        return any(not math.isnan(float(series["value"][1])) for series in server.query(query))

    until_elsewhere(has_data)


@needs_prometheus
@pytest.mark.parametrize("rule", RECORDED, ids=[rule["record"] for rule in RECORDED])
def test_every_recording_rule_has_data(stack: tuple[ProxyProcess, Prometheus], rule: dict[str, str]) -> None:
    """Prometheus records each of them."""
    _, server = stack
    until_elsewhere(lambda: server.query(rule["record"]))


@needs_prometheus
def test_no_alert_fires_in_peace(stack: tuple[ProxyProcess, Prometheus]) -> None:
    """Nothing is wrong with this proxy but that the demo blocks much."""
    _, server = stack
    until_elsewhere(lambda: server.query("up == 1"))
    firing = {series["metric"]["alertname"] for series in server.query('ALERTS{alertstate="firing"}')}
    assert firing <= {"SafetyProxyBlockSpike"}


@needs_prometheus
def test_alerts_and_panels_name_metrics_that_there_are(stack: tuple[ProxyProcess, Prometheus]) -> None:
    """Each name in an expression is one that Prometheus has from the proxy, or records itself."""
    _, server = stack
    known = {DERIVED.sub("", name) for name in server.ask("label/__name__/values")}
    known |= {DERIVED.sub("", rule["record"]) for rule in RECORDED}
    expressions = [rule["expr"] for rule in (*ALERTS, *RECORDED)] + [query for _, query in QUERIES]
    named = {name for one in expressions for name in re.findall(r"[a-z_:]*safety_proxy_[a-z0-9_:]+", one)}
    assert {DERIVED.sub("", name) for name in named} <= known


def test_the_dashboard_is_as_its_table_says() -> None:
    """deploy/grafana/safety-proxy.json is made from tools/dashboard.py."""
    assert dashboard.FILE.read_text("utf-8") == dashboard.text(), "run: python -m tools.dashboard"


def test_the_dashboard_is_one_for_any_grafana() -> None:
    """The rules of Grafana's own linter: a variable for the data source, job and instance everywhere, titles, units,
    descriptions, rates over $__rate_interval, not editable, no panel over another."""
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["datasource", "job", "instance"]
    assert not BOARD["editable"]
    cells: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert 'job=~"$job", instance=~"$instance"' in target["expr"]
            assert "rate(" not in target["expr"] or "[$__rate_interval]" in target["expr"]
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells
        cells |= own
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_picture_shows_every_panel() -> None:
    """docs/dashboard.svg is of this dashboard (python -m tools.dashboard_picture)."""
    drawn = (DEPLOY.parent / "docs/dashboard.svg").read_text("utf-8")
    assert [panel["title"] for panel in PANELS if f">{panel['title']}<" not in drawn] == []


@needs_prometheus
def test_two_proxies_with_different_policies_are_told(tmp_path: Path) -> None:
    """The alert for version skew fires while one of two has an edit that the other has not, and ends when both have
    it. Here it does not wait for five minutes."""
    rule = "version: 1\npolicy: rolled\nrules: [{id: a, words: [Quibblefrog], action: flag}]\n"
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "first.yaml").write_text(rule.replace("rolled", "first"), "utf-8")
    with ExitStack() as stack:
        proxies = [stack.enter_context(ProxyProcess(upstream="demo", policies=folder)) for folder in folders]
        admins = [proxy.admin_url for proxy in proxies]
        server = stack.enter_context(prometheus(*admins, folder=tmp_path, patient=False))

        def fires() -> bool:
            return bool(server.query('ALERTS{alertname="SafetyProxyPolicyVersionSkew", alertstate="firing"}'))

        until_elsewhere(lambda: len(server.query("safety_proxy_policy_info")) == 2)
        assert not fires()
        (folders[0] / "rolled.yaml").write_text(rule, "utf-8")
        until_elsewhere(fires)
        (folders[1] / "rolled.yaml").write_text(rule, "utf-8")
        until_elsewhere(lambda: not fires())
