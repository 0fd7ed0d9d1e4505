"""What is counted, and that nobody from outside can make the metrics grow."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from proxy.core.types import Action, Finding, Rule
from proxy.policy.store import Status
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.ops.metrics import MAX_MODELS, MAX_RULES, OTHER, Metrics
from tests.fakes import FakeUpstream, Stall, reply, sse
from tests.phrases import block, flag, rewrite
from tests.server.running import Policies, chunk, running, said

CHAT = "/v1/chat/completions"


def counted(exchanges: list[Exchange]) -> CollectorRegistry:
    """A registry that has counted these."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for exchange in exchanges:
        metrics.begin(exchange)
        metrics.end(exchange)
    return registry


def series(registry: CollectorRegistry) -> int:
    """How many series there are."""
    return sum(len(metric.samples) for metric in registry.collect())


def test_ten_thousand_models_do_not_raise_the_number_of_series() -> None:
    """10,000 random model names do not raise the number of series: the first 20 keep their name."""
    some = [Exchange(CHAT, model=f"model-{i}") for i in range(MAX_MODELS + 1)]
    many = [Exchange(CHAT, model=f"model-{i}\n\u2028{i}") for i in range(10_000)]
    assert series(counted(some)) == series(counted(some + many))
    registry = counted(some + many)
    labels = {"endpoint": CHAT, "outcome": "allowed", "stream": "false"}
    assert registry.get_sample_value("safety_proxy_requests_total", {**labels, "model": "model-3"}) == 1
    assert registry.get_sample_value("safety_proxy_requests_total", {**labels, "model": OTHER}) == 10_001
    assert registry.get_sample_value("safety_proxy_metrics_label_overflow_total", {"label": "model"}) == 10_001


def test_many_rules_are_capped_too() -> None:
    """Rules beyond the cap are counted as one."""
    exchange = Exchange(CHAT)
    for i in range(MAX_RULES + 5):
        exchange.add_finding("output", Finding(0, 1, Rule("p", f"r{i}", Action.FLAG)))
    labels = {"policy": OTHER, "rule": OTHER, "direction": "output", "action": "flag"}
    assert counted([exchange]).get_sample_value("safety_proxy_findings_total", labels) == 5


def test_an_observed_rule_counts_as_a_flag() -> None:
    """What a rule in monitor mode found is counted as flag, whatever it would have done."""
    exchange = Exchange(CHAT)
    exchange.add_finding("output", Finding(0, 1, Rule("p", "r", Action.BLOCK, enforced=False)))
    labels = {"policy": "p", "rule": "r", "direction": "output", "action": "flag"}
    assert exchange.outcome is Outcome.ALLOWED
    assert counted([exchange]).get_sample_value("safety_proxy_findings_total", labels) == 1


def test_the_old_metric_says_modify() -> None:
    """policy_actions_total counts the same as findings_total until 0.2, with its old word for a rewrite."""
    exchange = Exchange(CHAT)
    for action in Action:
        exchange.add_finding("output", Finding(0, 1, Rule("p", action.name, action)))
    registry = counted([exchange])
    for rule, old, new in (("FLAG", "flag", "flag"), ("REWRITE", "modify", "rewrite"), ("BLOCK", "block", "block")):
        labels = {"policy": "p", "rule": rule, "direction": "output"}
        assert registry.get_sample_value("safety_proxy_policy_actions_total", {**labels, "action": old}) == 1
        assert registry.get_sample_value("safety_proxy_findings_total", {**labels, "action": new}) == 1


def test_a_scrape_sees_what_has_just_ended() -> None:
    """A finished exchange waits to be counted with others, but never beyond the next scrape."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    exchange = Exchange(CHAT)
    metrics.begin(exchange)
    assert registry.get_sample_value("safety_proxy_requests_in_flight", {"endpoint": CHAT}) == 1
    metrics.end(exchange)
    labels = {"endpoint": CHAT, "model": "", "outcome": "allowed", "stream": "false"}
    assert registry.get_sample_value("safety_proxy_requests_total", labels) == 1
    assert registry.get_sample_value("safety_proxy_requests_in_flight", {"endpoint": CHAT}) == 0


def test_the_proxys_own_share_of_the_first_text() -> None:
    """Added time: from the request read to sent upstream, and from the upstream's first text to the client's."""
    exchange = Exchange(
        CHAT, model="m", stream=True, request_read=10.0, sent_upstream=10.003, upstream_text=20.0, client_text=20.004
    )
    assert exchange.added_to_first_text == pytest.approx(0.007)
    registry = counted([exchange])
    total = registry.get_sample_value("safety_proxy_added_time_to_first_token_seconds_sum", {"model": "m"})
    assert total == pytest.approx(0.007)
    assert Exchange(CHAT).added_to_first_text is None


def test_a_whole_answer_has_no_first_text() -> None:
    """A client that does not stream waits for the end of the answer; that is no delay which the proxy added."""
    whole = Exchange(CHAT, model="m", request_read=1.0, sent_upstream=1.0, upstream_text=2.0, client_text=9.0)
    registry = counted([whole])
    for name in ("added", "client", "upstream"):
        name = f"safety_proxy_{name}_time_to_first_token_seconds_count"
        assert registry.get_sample_value(name, {"model": "m"}) is None
    assert registry.get_sample_value("safety_proxy_held_back_characters_count") == 1


def test_a_failure_of_the_proxy_is_none_of_the_model_server() -> None:
    """Only what the model server did wrong counts among its errors."""
    registry = counted(
        [
            Exchange(CHAT, outcome=Outcome.PROXY_ERROR, upstream_reason="internal"),
            Exchange(CHAT, outcome=Outcome.UPSTREAM_ERROR, upstream_reason="connect"),
        ]
    )
    name = "safety_proxy_upstream_errors_total"
    assert registry.get_sample_value(name, {"reason": "internal"}) is None
    assert registry.get_sample_value(name, {"reason": "connect"}) == 1


def test_reloads_and_policies() -> None:
    """Every attempt to load is counted once, and only the policies in force have an info series."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.policies_loaded(Status("one", 5.0, loads=1), ["a", "b"])
    metrics.policies_loaded(Status("one", 5.0, "wrong", 6.0, loads=1, failures=1), ["a", "b"])
    assert registry.get_sample_value("safety_proxy_policy_last_reload_successful") == 0
    metrics.policies_loaded(Status("two", 7.0, loads=2, failures=1), ["a"])
    assert registry.get_sample_value("safety_proxy_policy_reloads_total", {"result": "success"}) == 2
    assert registry.get_sample_value("safety_proxy_policy_reloads_total", {"result": "failure"}) == 1
    assert registry.get_sample_value("safety_proxy_policy_last_reload_successful") == 1
    assert registry.get_sample_value("safety_proxy_policy_last_reload_success_timestamp_seconds") == 7.0
    assert registry.get_sample_value("safety_proxy_policy_info", {"policy": "a", "sha256": "two"}) == 1
    assert registry.get_sample_value("safety_proxy_policy_info", {"policy": "b", "sha256": "one"}) is None


@pytest.mark.anyio
async def test_requests_and_actions() -> None:
    """Requests are counted by outcome, actions by rule and direction, on real exchanges."""
    policies = Policies(
        input=[block("BAD"), flag("Hello")], output=[rewrite("dear"), block("FORBIDDEN"), flag("world")]
    )
    answers = [reply(sse(*said("dear world"))), reply(sse(*said("FORBIDDEN", " more")))]
    async with FakeUpstream(answers) as upstream, running(upstream, policies) as proxy:
        await proxy.chat()
        await proxy.chat(stream=False)
        await proxy.chat(content="BAD")
        await proxy.chat(messages=7)
        await proxy.exchange(3)
        for outcome, stream, model in (
            ("rewritten", "true", "tiny"),
            ("blocked", "false", "tiny"),
            ("blocked", "true", "tiny"),
            ("rejected", "false", ""),
        ):
            labels = {"endpoint": CHAT, "model": model, "outcome": outcome, "stream": stream}
            assert proxy.metric("requests_total", **labels) == 1, labels
        for rule, direction, action, times in (
            ("flag.Hello", "input", "flag", 2),
            ("block.BAD", "input", "block", 1),
            ("rewrite.dear", "output", "rewrite", 1),
            ("block.FORBIDDEN", "output", "block", 1),
            ("flag.world", "output", "flag", 1),
        ):
            labels = {"policy": "test", "rule": rule, "direction": direction, "action": action}
            assert proxy.metric("findings_total", **labels) == times, labels
        assert proxy.metric("requests_in_flight", endpoint=CHAT) == 0
        assert proxy.metric("added_time_to_first_token_seconds_count", model="tiny") == 1
        assert proxy.metric("client_time_to_first_token_seconds_count", model="tiny") == 1
        assert proxy.metric("upstream_time_to_first_token_seconds_count", model="tiny") == 1
        assert proxy.metric("held_back_characters_count") == 2


@pytest.mark.anyio
async def test_in_flight() -> None:
    """A request under way is in the gauge until it is over."""
    async with (
        FakeUpstream(reply([*sse(chunk("Hello")), Stall()])) as upstream,
        running(upstream) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}], "stream": True})
        await wire.until(b"Hello")
        assert proxy.metric("requests_in_flight", endpoint=CHAT) == 1
        wire.leave()
        await proxy.exchange()
        assert proxy.metric("requests_in_flight", endpoint=CHAT) == 0


@pytest.mark.anyio
async def test_what_history_sends_again_is_counted_apart() -> None:
    """A text of an earlier turn is sent again with every request; its findings are counted as history, not as input."""
    messages = [
        {"role": "user", "content": "BAD"},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "And now?"},
    ]
    async with (
        FakeUpstream(reply(sse(*said("Hello")))) as upstream,
        running(upstream, Policies(input=[block("BAD")])) as proxy,
    ):
        await proxy.chat(messages=messages)
        await proxy.exchange()
        labels = {"policy": "test", "rule": "block.BAD", "action": "block"}
        assert proxy.metric("findings_total", direction="history", **labels) == 1
        assert proxy.metric("findings_total", direction="input", **labels) == 0
