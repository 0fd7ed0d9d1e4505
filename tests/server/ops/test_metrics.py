"""What is counted, and that nobody from outside can make the metrics grow."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from proxy.alignment.claims import NOT_LOOKED_AT
from proxy.checks.fail_open import failed_open
from proxy.checks.failures import CHECKS
from proxy.checks.guards.format import Level
from proxy.checks.guards.verdict import Verdict
from proxy.core.failures import Reason
from proxy.core.types import Action, Direction, Finding, Kind, Rule
from proxy.errors import UPSTREAM_REASONS
from proxy.policy.compile import compile_policies
from proxy.policy.file_store import Status
from proxy.policy.files import read_directory
from proxy.server.config import ServerConfig
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.exchange.refusals import ModelRefusal
from proxy.server.guards.models import Asked
from proxy.server.keys.authentication import Authentication
from proxy.server.keys.store import KeyStore
from proxy.server.limits.admission import Admission
from proxy.server.limits.queue import Queue
from proxy.server.models.alignments import Row
from proxy.server.ops.access_metrics import AccessMetrics
from proxy.server.ops.metrics import MAX_MODELS, MAX_RULES, Metrics
from proxy.server.ops.series import OTHER
from proxy.server.runtime import directions, process_registry
from proxy.server.state.pause import Pause
from tests.fakes import FakeUpstream, Stall, reply, sse
from tests.phrases import block, flag, rewrite
from tests.server.running import Policies, chunk, running, said

CHAT = "/v1/chat/completions"
POLICIES = Path(__file__).parent.parent.parent / "data" / "policies"
SHIPPED = Path(__file__).parent.parent.parent.parent / "policies"


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


def answered(model: str) -> Exchange:
    """An exchange that the model server has answered."""
    return Exchange(CHAT, model=model, sent_upstream=1.0, upstream_text=2.0)


def test_ten_thousand_models_do_not_raise_the_number_of_series() -> None:
    """10,000 random model names do not raise the number of series: the first 20 that are answered keep their name."""
    some = [answered(f"model-{i}") for i in range(MAX_MODELS + 1)]
    many = [answered(f"model-{i}\n\u2028{i}") for i in range(10_000)]
    assert series(counted(some)) == series(counted(some + many))
    registry = counted(some + many)
    labels = {"endpoint": CHAT, "outcome": "allowed", "stream": "false"}
    assert registry.get_sample_value("safety_proxy_requests_total", {**labels, "model": "model-3"}) == 1
    assert registry.get_sample_value("safety_proxy_requests_total", {**labels, "model": OTHER}) == 10_001
    assert registry.get_sample_value("safety_proxy_metrics_label_overflow_total", {"label": "model"}) == 10_001


def test_names_that_nobody_answers_for_use_up_nothing() -> None:
    """A name keeps its name once the model server has answered for it; until then it is one of the others."""
    unknown = [Exchange(CHAT, model=f"m{i}", outcome=Outcome.UPSTREAM_ERROR) for i in range(10_000)]
    assert series(counted(unknown)) == series(counted(unknown[:1]))
    registry = counted([*unknown, answered("real"), Exchange(CHAT, model="real", outcome=Outcome.BLOCKED)])
    labels = {"endpoint": CHAT, "stream": "false"}
    for model, outcome, times in ((OTHER, "upstream_error", 10_000), ("real", "allowed", 1), ("real", "blocked", 1)):
        sample = {**labels, "model": model, "outcome": outcome}
        assert registry.get_sample_value("safety_proxy_requests_total", sample) == times
    assert registry.get_sample_value("safety_proxy_metrics_label_overflow_total", {"label": "model"}) == 0


def counting_shipped(tmp_path: Path, keys: tuple[str, ...] = (), upstreams: tuple[str, ...] = ("",)) -> Metrics:
    """Metrics with all policies that come with the proxy, each rule of which has found something, those of the process,
    three models on two paths, streaming and not, and every outcome of each, for each key and model server."""
    metrics = Metrics(process_registry())
    for file in (*SHIPPED.glob("*.yaml"), *SHIPPED.glob("more/*.yaml")):
        shutil.copy(file, tmp_path)
    policies = compile_policies(read_directory(tmp_path), hash_key=b"key")
    places = list(directions(policies.places))
    metrics.policies_loaded(Status("one"), [p.name for p in policies.policies], places)
    metrics.self_tested(dict.fromkeys([p.name for p in policies.policies], True), 1.0)
    admission = Admission(ServerConfig(upstream="http://127.0.0.1:1"), Pause())
    admission.queues = {name: Queue(1, 1, 1.0) for name in upstreams if name}
    metrics.watch_access(AccessMetrics(admission, Authentication(), KeyStore(tmp_path / "keys.yaml") if keys else None))
    kinds = itertools.product(("llama3:8b", "qwen3:4b", "mistral"), (CHAT, "/api/chat"), Outcome, (True, False))
    for (model, endpoint, outcome, stream), key, upstream in itertools.product(kinds, keys or ("",), upstreams):
        exchange = answered(model)
        exchange.endpoint, exchange.outcome, exchange.stream = endpoint, outcome, stream
        exchange.key, exchange.upstream = key, upstream
        exchange.client_text, exchange.gaps[3] = 3.0, 7
        for rule, direction in places:
            exchange.add_finding(direction, Finding(0, 1, rule))
        metrics.end(exchange)
    return metrics


def test_the_shipped_policies_make_fewer_than_a_thousand_series(tmp_path: Path) -> None:
    """One model server, no keys."""
    assert 500 < series(counting_shipped(tmp_path).registry) < 1_000


def test_keys_model_servers_and_guards_add_few_series(tmp_path: Path) -> None:
    """Three keys, three model servers with six models, and two guards, one of which has named each of its categories:
    fewer than 200 series more."""
    alone = series(counting_shipped(tmp_path).registry)
    metrics = counting_shipped(tmp_path, ("alice", "bob", "carl"), ("one", "two", "three"))
    for upstream in ("one", "two", "three"):
        metrics.alignment.models_seen(upstream, [Row(f"{upstream}-{i}", NOT_LOOKED_AT) for i in range(2)])
    for guard, result in itertools.product(("llama-guard3:1b", "qwen3guard"), ("answered", "cached", *Reason)):
        metrics.guards.asked(Asked("judge", guard, result))
        metrics.guards.judged(guard, Verdict(Level.SAFE))
    for category in range(1, 15):
        metrics.guards.judged("llama-guard3:1b", Verdict(Level.UNSAFE, (f"S{category}",)))
    assert alone + 50 < series(metrics.registry) < alone + 200


def test_every_rule_in_force_begins_at_zero() -> None:
    """A rule's findings are there before it finds anything, in the directions in which it looks, so that the first
    finding is an increase."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    stop, watch = Rule("p", "stop", Action.BLOCK), Rule("p", "watch", Action.BLOCK, enforced=False)
    places = [(stop, Direction.OUTPUT, Kind.CONTENT), (watch, Direction.INPUT, Kind.CONTENT)]
    metrics.policies_loaded(Status("one"), ["p"], directions([*places, (stop, Direction.OUTPUT, Kind.REASONING)]))
    begun = {
        (sample.labels["rule"], sample.labels["direction"], sample.labels["action"])
        for metric in registry.collect()
        if metric.name == "safety_proxy_findings"
        for sample in metric.samples
        if sample.labels["policy"] == "p" and sample.value == 0
    }
    assert begun == {
        *(("stop", direction, "block") for direction in ("output", "reasoning")),
        *(("watch", direction, "flag") for direction in ("input", "history")),
    }


def test_alerts_have_their_series_from_the_start() -> None:
    """What the alerts in docs and deploy look at is there before anything has happened."""
    registry = CollectorRegistry()
    Metrics(registry).begin_upstreams(["here"])
    zero = [
        *(("upstream_errors_total", {"upstream": "here", "reason": reason}) for reason in UPSTREAM_REASONS),
        ("upstream_failovers_total", {"upstream": "here"}),
        *(("wasted_events_total", {"reason": reason}) for reason in ("blocked", "client_cancelled")),
        *(("check_errors_total", {"check": c, "reason": "exception", "on_error": "allow"}) for c in CHECKS),
        ("internal_errors_total", {}),
        ("hold_seconds_count", {}),
        *(("added_latency_seconds_count", {"stage": stage}) for stage in ("input", "output", "hold")),
        *(
            ("findings_total", {"policy": "internal", "rule": rule, "direction": "output", "action": action})
            for rule, action in (("check_failed", "block"), ("check_failed_open", "flag"))
        ),
    ]
    for name, labels in zero:
        assert registry.get_sample_value(f"safety_proxy_{name}", labels) == 0, (name, labels)


def test_tokens_as_they_were_counted() -> None:
    """Tokens are those that the model server counted; of an answer that is cut short they are wasted."""
    whole, cut = answered("m"), answered("m")
    whole.prompt_tokens, whole.answer_tokens = 12, 34
    cut.outcome, cut.answer_tokens, cut.events = Outcome.BLOCKED, 5, 6
    registry = counted([whole, cut])
    for name, labels, value in (
        ("tokens_total", {"model": "m", "direction": "input"}, 12),
        ("tokens_total", {"model": "m", "direction": "output"}, 39),
        ("wasted_tokens_total", {"model": "m", "reason": "blocked"}, 5),
        ("wasted_tokens_total", {"model": "m", "reason": "client_cancelled"}, 0),
        ("wasted_events_total", {"reason": "blocked"}, 6),
    ):
        assert registry.get_sample_value(f"safety_proxy_{name}", labels) == value, (name, labels)


def test_times_between_reads() -> None:
    """Each time between two reads of an answer's text is in its bucket, for its model, and their sum is theirs."""
    exchange = answered("m")
    for seconds in (0.0005, 0.02, 0.02, 30.0):
        exchange.record_gap(seconds)
    registry = counted([exchange])
    name = "safety_proxy_upstream_inter_token_latency_seconds"
    for le, count in (("0.001", 1), ("0.01", 1), ("0.025", 3), ("10.0", 3), ("+Inf", 4)):
        assert registry.get_sample_value(f"{name}_bucket", {"model": "m", "le": le}) == count, le
    assert registry.get_sample_value(f"{name}_count", {"model": "m"}) == 4
    assert registry.get_sample_value(f"{name}_sum", {"model": "m"}) == pytest.approx(30.0405)


def test_the_waiting_of_a_long_answer_fits_into_the_buckets() -> None:
    """Three ordinary streams of 6 seconds that waited for 5 of them are not beyond the last bucket."""
    registry = counted([Exchange(CHAT, held_seconds=5.2) for _ in range(3)])
    name = "safety_proxy_hold_seconds_bucket"
    assert [registry.get_sample_value(name, {"le": le}) for le in ("5.0", "10.0", "+Inf")] == [0, 3, 3]


def test_which_rule_makes_people_wait() -> None:
    """Waits, their seconds and characters are counted by rule; what waits for no rule in particular has no name."""
    exchange = Exchange(CHAT)
    for rule, characters, seconds in ((Rule("p", "mail", Action.REWRITE), 7, 0.25), (None, 100, 1.0)):
        assert exchange.hold.begin()
        exchange.hold.rule = rule
        exchange.hold.wait(3)
        exchange.hold.wait(characters)
        exchange.hold.end(seconds)
    registry = counted([exchange])
    for labels, characters, seconds in (
        ({"policy": "p", "rule": "mail"}, 7, 0.25),
        ({"policy": "", "rule": ""}, 100, 1.0),
    ):
        assert registry.get_sample_value("safety_proxy_rule_holds_total", labels) == 1
        assert registry.get_sample_value("safety_proxy_rule_held_characters_total", labels) == characters
        assert registry.get_sample_value("safety_proxy_rule_hold_seconds_total", labels) == seconds


def test_failed_checks_by_name_and_what_was_done() -> None:
    """A check that failed counts by its name; one that let the text pass counts apart."""
    exchange = Exchange(CHAT)
    exchange.check_errors.append(ValueError())
    exchange.add_finding("output", Finding(0, 1, failed_open("detectors", "exception")))
    registry = counted([exchange])
    for check, on_error in (("other", "block"), ("detectors", "allow")):
        labels = {"check": check, "reason": "exception", "on_error": on_error}
        assert registry.get_sample_value("safety_proxy_check_errors_total", labels) == 1, labels


def test_refusals_of_the_model() -> None:
    """They are counted by their kind, with their tokens and seconds, and are none of our blocks."""
    exchange = answered("m")
    exchange.refusal = ModelRefusal("text", "safety", "en")
    exchange.answer_tokens = 12
    exchange.sent_upstream, exchange.ended = 100.0, 102.5
    registry = counted([exchange])
    for kind, times in (("safety", 1), ("capability", 0), ("partial", 0)):
        labels = {"model": "m", "kind": kind}
        assert registry.get_sample_value("safety_proxy_model_refusals_total", labels) == times
        assert registry.get_sample_value("safety_proxy_refused_tokens_total", labels) == 12 * times
        assert registry.get_sample_value("safety_proxy_refused_seconds_total", labels) == 2.5 * times


def test_a_refusal_without_a_count_of_tokens_has_its_events() -> None:
    """A model server that counts no tokens sends an event for each, most often."""
    exchange = answered("m")
    exchange.refusal = ModelRefusal("text", "capability", "en")
    exchange.answer_tokens, exchange.events = 0, 7
    labels = {"model": "m", "kind": "capability"}
    assert counted([exchange]).get_sample_value("safety_proxy_refused_tokens_total", labels) == 7


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
            Exchange(CHAT, outcome=Outcome.UPSTREAM_ERROR, upstream="here", upstream_reason="connect"),
        ]
    )
    name = "safety_proxy_upstream_errors_total"
    assert registry.get_sample_value(name, {"upstream": "", "reason": "internal"}) is None
    assert registry.get_sample_value(name, {"upstream": "here", "reason": "connect"}) == 1


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
async def test_times_and_waits_of_a_real_answer() -> None:
    """Reads, stages, tokens and the rule for which text waited are counted of an answer as it came."""
    policies = compile_policies(read_directory(POLICIES), hash_key=b"key")
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}}
    events = [*said("Write to bob", ".miller@example", ".com", *([" soon"] * 20))[:-1], usage, "[DONE]"]
    async with FakeUpstream(reply(sse(*events))) as upstream, running(upstream, cast(Policies, policies)) as proxy:
        await proxy.chat()
        exchange = await proxy.exchange()
        assert sum(exchange.gaps) >= 2  # one read in eight
        assert proxy.metric("upstream_inter_token_latency_seconds_count", model="tiny") == sum(exchange.gaps)
        for stage in ("input", "output", "hold"):
            assert proxy.metric("added_latency_seconds_count", stage=stage) == 1
            assert proxy.metric("added_latency_seconds_sum", stage=stage) > 0
        assert proxy.metric("tokens_total", model="tiny", direction="input") == 7
        assert proxy.metric("tokens_total", model="tiny", direction="output") == 5
        mail = {"policy": "starter", "rule": "pii.email"}
        assert proxy.metric("rule_holds_total", **mail) >= 1
        assert proxy.metric("rule_held_characters_total", **mail) >= len("bob.miller@example")
        assert proxy.metric("rule_hold_seconds_total", **mail) > 0


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["timings", "usage"])
async def test_tokens_of_a_cut_answer_whose_server_counts_as_it_goes(form: str) -> None:
    """llama.cpp with timings_per_token and vLLM with continuous_usage_stats count in each chunk. What they had counted
    when a rule ended the answer is wasted. What was in llama.cpp's cache is no cut prompt."""

    def count(number: int) -> dict[str, object]:
        counts = {"prompt_n": 1, "predicted_n": number} if form == "timings" else {"completion_tokens": number}
        return {form: counts}

    words = ["One", " two", " three", " FOR", "BIDDEN", " six"]
    events = [json.dumps({**chunk(word), **count(number)}) for number, word in enumerate(words, 1)]
    policies = Policies(output=[block("FORBIDDEN")])
    async with FakeUpstream(reply(sse(*events, "[DONE]"))) as upstream, running(upstream, policies) as proxy:
        await proxy.chat()
        exchange = await proxy.exchange()
        assert exchange.outcome is Outcome.BLOCKED
        assert 4 <= exchange.answer_tokens <= 6
        assert proxy.metric("tokens_total", model="tiny", direction="output") == exchange.answer_tokens
        assert proxy.metric("wasted_tokens_total", model="tiny", reason="blocked") == exchange.answer_tokens
        assert not exchange.prompt_cut
        assert exchange.prompt_tokens == 0


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
