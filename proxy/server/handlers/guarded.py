"""One guarded exchange: read and judge the request, ask the model server, stream its answer back. `_forward` is the
loop through which every event goes.

Whatever goes wrong, the client gets a proper end: an error body if no head has been sent yet, else an error event.
The upstream is closed at once when a rule ends the answer, when the client leaves, and when anything fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import NamedTuple

from proxy.core.failures import Failures
from proxy.core.guard import Guard
from proxy.core.types import Direction, Finding, Rule
from proxy.dialects.base import Answer, Dialect, Options, Request
from proxy.errors import ClientError, UpstreamBroken, UpstreamError
from proxy.policy.plan import UNKNOWN, Plan
from proxy.server.config import ServerConfig
from proxy.server.exchange.headers import response_headers
from proxy.server.exchange.places import told_place
from proxy.server.exchange.policies import ActivePolicies
from proxy.server.exchange.prompt_filter import Blocked, InputPlan, judge_request, system_text
from proxy.server.exchange.record import BeginObserver, Exchange, Observer, Outcome, log_failure, record_outcome
from proxy.server.exchange.timeouts import ExchangeTimeouts, Heartbeat, Interrupt, Watchdog
from proxy.server.exchange.tracing import trace_of, traced
from proxy.server.exchange.turns import Turns
from proxy.server.http.body import ClientGone
from proxy.server.http.headers import Headers
from proxy.server.http.request import RequestContext
from proxy.server.keys.models import refuse_model
from proxy.server.limits.admission import Admission
from proxy.server.models.chat_templates import ChatTemplates
from proxy.server.models.cloud_models import CloudModels
from proxy.server.models.context_length import CUT_SILENTLY, SHORT_PROMPT, ContextLengths
from proxy.server.routing.routes import Route, RouteMatch
from proxy.server.upstream import response as upstream_response
from proxy.server.upstream.client import (
    TRANSPORT_ERRORS,
    Upstream,
    UpstreamHeaders,
    UpstreamResponse,
    keep_or_abort,
    plain_query,
    shown_url,
    to_upstream_error,
)

log = logging.getLogger("safety_proxy.server")

STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
CONVERSATION = ("messages", "prompt", "input")  # keys of a request's body that only the model server reads
SAMPLE = 7  # of an answer's reads one in eight is timed: where its number of events has none of these bits
LAST_SEND_TIMEOUT = 1.0  # seconds for the last bytes of an interrupted exchange


class Models(NamedTuple):
    """What is known of the model server's models."""

    templates: ChatTemplates
    contexts: ContextLengths
    cloud: CloudModels


class GuardedHandler:
    """Serves guarded paths. Holds what all exchanges share."""

    def __init__(
        self,
        config: ServerConfig,
        policies: ActivePolicies,
        upstream: Upstream,
        watchdog: Watchdog,
        observers: Sequence[Observer],
        models: Models,
        admission: Admission,
    ) -> None:
        self.config = config
        self.policies = policies
        self.upstream = upstream
        self.watchdog = watchdog
        self.observers = observers
        self.begin_observers = [one for one in observers if isinstance(one, BeginObserver)]
        self.models = models
        self.admission = admission
        self.turns = Turns()
        self.headers = UpstreamHeaders(config.upstream_key, config.pass_authorization)
        self.where = shown_url(config.upstream)

    def run(self, match: RouteMatch, context: RequestContext) -> Awaitable[None]:
        """Serve one exchange."""
        assert match.route is not None
        return GuardedExchange(self, match.route, context).run()


class GuardedExchange:
    """One exchange, from its first byte to its last."""

    __slots__ = (
        "_answer",
        "_config",
        "_context",
        "_dialect",
        "_guard",
        "_handler",
        "_input_plans",
        "_is_recorded",
        "_plan",
        "_policies",
        "_request",
        "_response",
        "_template",
        "exchange",
        "timeouts",
    )

    def __init__(self, handler: GuardedHandler, route: Route, context: RequestContext) -> None:
        assert route.dialect is not None
        self._handler = handler
        self._config = handler.config
        self._dialect: Dialect = route.dialect
        self._context = context
        self._policies = handler.policies.snapshot()
        self._plan: Plan | None = None  # for the answer
        self._template = UNKNOWN
        self._input_plans: dict[str, InputPlan] = {}  # by role
        self._request: Request | None = None
        self._answer: Answer | None = None
        self._guard: Guard | None = None
        self._is_recorded = False  # what the guard saw is in `exchange`
        self._response: UpstreamResponse | None = None
        self.timeouts = ExchangeTimeouts(context, handler.watchdog, generates=True)
        key = "" if context.key is None else context.key.name
        self.exchange = Exchange(route.path, self._policies.revision, context.id, context.client, key)

    async def run(self) -> None:
        """Serve it. Every way in which it can end is here."""
        exchange = self.exchange
        for observer in self._handler.begin_observers:
            observer.begin(exchange)
        try:
            await self._handler.admission.enter(exchange, self._context.key)
            await self._serve()
        except ClientGone:
            exchange.outcome = Outcome.CLIENT_CANCELLED
        except Blocked as block:
            await self._refuse_prompt(block)
        except ClientError as error:
            await self._reject(error)
        except UpstreamError as error:
            await self._fail(error)
        except asyncio.CancelledError:
            self.timeouts.uncancel()
            await self._interrupted(self.timeouts.reason)
        except Exception as error:
            log.exception("exchange %s failed", exchange.id)
            exchange.check_errors.append(error)
            await self._fail(UpstreamError("The proxy failed; its log says why", "internal", 500), Outcome.PROXY_ERROR)
        finally:
            self._close()

    def _close(self) -> None:
        self.timeouts.close()
        self._abort_upstream()
        self.exchange.ended = perf_counter()
        if not self._is_recorded:
            self._record_outcome()
        self._answer = None  # it refers back to this object: so both are freed without the garbage collector
        for observer in self._handler.observers:
            observer.end(self.exchange)

    # The request

    async def _serve(self) -> None:
        self._policies = self._policies.for_key(self._context.key)
        request = await self._read()
        await self._judge(request)
        self.exchange.prompt_characters = sum([len(text.text) for text in request.texts])
        if self.exchange.prompt_characters >= SHORT_PROMPT and self._dialect.name in CUT_SILENTLY:
            await self._handler.models.contexts.check(request.model, self.exchange.prompt_characters)
        self.exchange.asked = f"POST {self._handler.where}{request.path}"
        if not self._config.options.allow_cloud_models:
            await self._handler.models.cloud.refuse_remote(request.model)
        assert self._plan is not None
        if self._plan.looks_for_system_text:
            own = self._policies.system_prompt(request.model)
            self._plan = self._plan.about(system_text(request.texts, own))
        self._guard = guard = self._new_guard(self._plan, request)
        self._answer = answer = self._dialect.answer(request, guard, self._notice)
        heartbeat = self._heartbeat if request.stream and self._dialect.keep_alive else None
        await self._handler.admission.turn(self.exchange, self.timeouts, heartbeat)
        response = await self._ask(request, heartbeat)
        self._drop_request(request)
        shape = await upstream_response.check(response, self._dialect, guard)
        if shape is upstream_response.Shape.WHOLE:
            await self._send_whole(response, answer)
        else:
            await self._stream_response(response, answer)
        if not request.stream:
            await self._reply_whole(answer)

    def _new_guard(self, plan: Plan, request: Request) -> Guard:
        if self._config.record_text == "none":
            return Guard(plan, request.json_content, request.prefills())
        from proxy.server.exchange.transcript import recording_guard

        return recording_guard(plan, request, self.exchange)

    async def _read(self) -> Request:
        """Read and parse the request."""
        config = self._config
        body = await self._context.read(config.max_body, config.body_timeout)
        self.exchange.request_read = perf_counter()
        self.timeouts.watch_client(self._abort_upstream)
        request = await self._parse(body, config.options)
        refuse_model(self._context.key, request.model)
        options = self._options_for(request.model)
        if options is not config.options:
            request = await self._parse(body, options)
        self._request = request
        self.exchange.model = request.model
        self.exchange.stream = request.stream
        return request

    async def _parse(self, body: bytes, options: Options) -> Request:
        """Read the request; a large one in a thread, since that is Python code to which others can come in between."""
        if len(body) > self._config.offload:
            return await asyncio.to_thread(self._dialect.parse, body, options)
        return self._dialect.parse(body, options)

    def _options_for(self, model: str) -> Options:
        """The operator's options, less what the policies forbid for this model."""
        options, policies = self._config.options, self._policies
        if policies.looks_at_templates:
            self._template = self._handler.models.templates.get(model)
        plan = policies.plan(Direction.OUTPUT, model, template=self._template)
        self._plan = self._for_exchange(plan)
        if options.logprobs and self._plan.any_output_rule:
            options = replace(options, logprobs=False)
        if options.allow_images and policies.plan(Direction.INPUT, model, "user").refuses_images:
            options = replace(options, allow_images=False)
        return options

    async def _judge(self, request: Request) -> None:
        if self._config.record_text != "none":
            from proxy.server.exchange.transcript import record_prompt

            assert self._plan is not None
            record_prompt(self.exchange, request, self._plan_for, self._plan)
        strict = self._config.history == "block"
        await judge_request(
            request.texts,
            request.joiner,
            self._plan_for,
            partial(self._earlier_notice, direction=Direction.INPUT),
            self.exchange,
            strict,
            answer_notice=partial(self._earlier_notice, direction=Direction.OUTPUT),
            memory=self._policies.memory,
            apart=self._policies.apart,
        )
        before, after = self._policies.system_prompt(request.model)
        if before or after:
            self._dialect.instruct(request, before, after)

    def _drop_request(self, request: Request) -> None:
        """Free what has been sent upstream: a conversation may be long, and the answer may take minutes."""
        for key in CONVERSATION:
            request.body.pop(key, None)
        request.texts = [text for text in request.texts if text.param == "instructions"]  # some answers repeat them
        self._context.forget_headers()

    def _plan_for(self, role: str) -> InputPlan:
        assert self._request is not None
        plan = self._input_plans.get(role)
        if plan is None:
            shared = self._policies.plan(Direction.INPUT, self._request.model, role, self._template)
            plan = self._input_plans[role] = self._for_exchange(shared)
        return plan

    def _for_exchange(self, plan: Plan) -> Plan:
        """The plan for the texts of this exchange: checks of plug-ins, if it has any, note there what goes wrong."""
        if not plan.has_plugins:
            return plan
        if self.exchange.plugin_failures is None:
            self.exchange.plugin_failures = Failures()
        return plan.for_exchange(self.exchange.plugin_failures)

    def _notice(self, finding: Finding) -> str:
        """For an answer that a rule has ended."""
        return self._notice_for(finding.rule, Direction.OUTPUT)

    def _prompt_notice(self, finding: Finding) -> str:
        """For a prompt that a rule refuses."""
        return self._notice_for(finding.rule, Direction.INPUT)

    def _earlier_notice(self, finding: Finding, direction: Direction) -> str:
        """In place of a text of an earlier turn. It is the same in each turn, so the model server, which keeps what it
        has read of a conversation, need not read what follows anew."""
        return f"{self._policies.message_for(finding.rule, direction)} (policy {finding.rule.policy})"

    def _notice_for(self, rule: Rule, direction: Direction) -> str:
        message = self._policies.message_for(rule, direction)
        policy = f"policy {rule.policy}, " if rule.policy else ""  # it was no policy that has ended it
        return f"{message} ({policy}request {self.exchange.id})"

    async def _ask(self, request: Request, heartbeat: Heartbeat | None) -> UpstreamResponse:
        context = self._context
        query = plain_query(context.query)
        path = request.path.encode() + (b"?" + query if query else b"")
        headers = self._handler.headers.build(context.headers, self._dialect.stream_type.encode())
        self.exchange.trace = trace = trace_of(context.headers)
        headers = traced(headers, trace, own_span=self._config.otel_endpoint is not None)
        body = self._dialect.upstream_body(request)
        self.exchange.sent_upstream = perf_counter()
        self.timeouts.watch_upstream(heartbeat)
        try:
            self._response = response = await self._handler.upstream.open(b"POST", path, headers, body)
        except TRANSPORT_ERRORS as error:
            raise to_upstream_error(error) from error
        self.exchange.upstream_status = response.status
        return response

    # The response

    async def _stream_response(self, response: UpstreamResponse, answer: Answer) -> None:
        """Send the answer as it comes, then its end."""
        self.timeouts.watch_end(self._is_finished)
        end = await self._forward(response, answer)
        self._release_upstream(answer)
        if self.exchange.stream:
            await self._send(end, last=True)

    async def _forward(self, response: UpstreamResponse, answer: Answer) -> bytes:
        """Forward events until the answer is complete; returns the bytes that end it. `_on_data` does the work of each
        read. Here is what has to be awaited."""
        error: UpstreamError | None = None
        on_data = partial(self._on_data, answer)
        try:
            while (unsent := await response.pump(on_data)) is not None:
                unsent = await self._work_off(answer, unsent)
                if answer.done:
                    return unsent
                if unsent:
                    await self._send(unsent)
                    self.timeouts.last_received = self._context.last_sent
        except TRANSPORT_ERRORS as problem:
            error = to_upstream_error(problem, after_head=True)
        except asyncio.CancelledError:
            self.timeouts.resume()  # the model has ended its answer, and the model server does not end its response
            self._abort_upstream()
        end = await self._work_off(answer, answer.take_end(error))
        self._record_timing(answer, perf_counter())
        return end

    async def _work_off(self, answer: Answer, unsent: bytes) -> bytes:
        """Do what is left to do of what the answer has taken; meanwhile the model server is not read any further.
        Returns bytes that have still to be sent."""
        turns = self._handler.turns
        while answer.work is not None:
            if unsent:
                await self._send(unsent)
            await turns.wait()
            unsent = turns.use(answer)
            self.timeouts.last_received = now = perf_counter()
            self._record_timing(answer, now)
        return unsent

    def _is_finished(self) -> bool:
        return self._answer is not None and self._answer.work is None and self._answer.finished

    def _on_data(self, answer: Answer, data: bytes) -> bytes | None:
        """Let the answer judge what was read, and write it to the client. Returns bytes that end the answer (it is done
        then) or have to be awaited, and what there is so far when judging takes longer than others should wait."""
        exchange = self.exchange
        now = perf_counter()
        is_sample = not answer.events & SAMPLE
        if is_sample and exchange.upstream_text:
            exchange.record_gap(now - self.timeouts.last_received)
        self.timeouts.last_received = now
        out = answer.take(data)
        exchange.bytes_received += len(data)
        if len(out) != len(data) or exchange.held_since or not exchange.upstream_text:
            self._record_timing(answer, now)
        if answer.done or answer.work is not None:
            return out
        if out:
            if not self._context.started:
                self._start()
            if not self._context.try_write(out):
                return out
            self._record_sent(len(out))
            if is_sample:
                exchange.record_output(len(data), self._context.last_sent - now)
        elif exchange.bytes_received > self._config.max_answer and not exchange.stream:
            return answer.take_end(UpstreamBroken("The model server's answer is too long", "too_long"))
        return None

    def _record_timing(self, answer: Answer, now: float) -> None:
        """Record what does not happen at each read: first bytes, first text, and how much text is held."""
        exchange = self.exchange
        if not exchange.upstream_bytes:
            exchange.upstream_bytes = now
            self.timeouts.first_byte_received()
        if answer.events and not exchange.upstream_text:
            exchange.upstream_text = now
        exchange.record_held(answer.guard, now)

    def _record_sent(self, size: int) -> None:
        exchange = self.exchange
        exchange.bytes_sent += size
        if not exchange.client_text:
            exchange.record_first_sent(self._context.last_sent)

    async def _send(self, out: bytes, last: bool = False) -> None:
        context = self._context
        if not context.started:
            self._start()
        if last:
            await context.end(out)
        else:
            await context.send(out)
        self._record_sent(len(out))

    def _start(self) -> None:
        self.exchange.status = 200
        headers = response_headers(self.exchange, self._request, self._dialect.stream_type)
        self._context.start(200, headers + STREAM_HEADERS)

    async def _heartbeat(self) -> None:
        """Send a comment, so that nothing takes the connection for dead. It commits the response to status 200."""
        if not self._context.started:
            self._start()
        if not self._context.ended:
            await self._context.send(self._dialect.keep_alive)

    async def _send_whole(self, response: UpstreamResponse, answer: Answer) -> None:
        """The model server did not stream. Its one body goes through the same gates."""
        try:
            body = await upstream_response.read_all(response, self._config.max_answer)
        except TRANSPORT_ERRORS as error:
            raise to_upstream_error(error, after_head=True) from error
        self.exchange.upstream_bytes = self.exchange.upstream_text = perf_counter()
        self.exchange.bytes_received = len(body)
        out = await self._work_off(answer, answer.take_whole(body))
        if self.exchange.stream:
            await self._send(out, last=True)

    def _release_upstream(self, answer: Answer) -> None:
        """The answer is done. If a rule or an error ended it, close the connection to stop the model; else keep it."""
        if answer.guard.blocked_choices or answer.failed:
            self._abort_upstream()
        elif self._response is not None:
            keep_or_abort(self._response)
            self._response = None

    async def _reply_whole(self, answer: Answer) -> None:
        if answer.failed is not None:
            raise answer.failed
        exchange = self.exchange
        self._record_outcome()
        body = answer.result()
        exchange.status = 200
        await self._context.reply(200, response_headers(exchange, self._request, "application/json"), body)
        exchange.bytes_sent = len(body)
        exchange.client_bytes = exchange.client_text = perf_counter()

    # Other ends

    async def _refuse_prompt(self, block: Blocked) -> None:
        """A rule refuses the prompt: 400, which clients do not retry."""
        self.exchange.outcome = Outcome.BLOCKED
        message = self._prompt_notice(block.finding) + told_place(block.text)
        body = self._dialect.blocked(message, self.exchange.id)
        await self._reply(400, body)

    async def _reject(self, error: ClientError) -> None:
        """The request cannot be served. While it waited for its turn the head may have been sent."""
        self.exchange.outcome = Outcome.REJECTED
        if not self._context.started:
            await self._reply_error(error, getattr(error, "headers", ()))
        elif self._answer is not None:
            await self._context.end(self._answer.finish(UpstreamError(str(error), "busy", error.status)))

    async def _reply_error(self, error: ClientError | UpstreamError, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
        await self._reply(error.status, self._dialect.error(error, self.exchange.id), extra)

    async def _reply(self, status: int, body: bytes, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.exchange.status = status
        headers = response_headers(self.exchange, self._request, "application/json")
        await self._context.reply(status, [*headers, *extra], body)

    async def _fail(self, error: UpstreamError, outcome: Outcome = Outcome.UPSTREAM_ERROR) -> None:
        """Send an error body, or an error event if the head has been sent."""
        self._abort_upstream()
        log_failure(self.exchange, error)
        self.exchange.outcome = outcome
        self.exchange.upstream_reason = error.reason
        if not self._context.started:
            await self._reply_error(error, getattr(error, "headers", ()))
        elif not self._context.ended:
            answer = self._answer
            out = b"" if answer is None else await self._work_off(answer, answer.take_end(error))
            await self._context.end(out)

    async def _interrupted(self, reason: Interrupt | None) -> None:
        self._abort_upstream()
        error = self.timeouts.error
        if error is not None or reason is Interrupt.PAUSED:
            try:
                async with asyncio.timeout(LAST_SEND_TIMEOUT):
                    await (self._pause() if error is None else self._fail(error))
            except TimeoutError:
                self._context.abort()
            return
        self.exchange.outcome = Outcome.CLIENT_CANCELLED
        if reason is Interrupt.CLIENT_STUCK:
            self._context.abort()

    async def _pause(self) -> None:
        """The operator has paused the proxy: a refusal, or the end that a block has."""
        pause, answer = self._handler.admission.pause, self._answer
        pause.ended += 1
        self.exchange.outcome = Outcome.REJECTED
        if not self._context.started:
            await self._reply_error(pause.error, pause.error.headers)
        elif answer is not None and not self._context.ended:
            begun = answer.take_stop(pause.finding) if answer.events else answer.take_end(pause.failure)
            await self._context.end(await self._work_off(answer, begun))

    def _abort_upstream(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.abort()

    def _record_outcome(self) -> None:
        """Record what the guard saw, if the exchange has come so far. Once: a whole answer's head already tells it."""
        self._is_recorded = True
        guard, answer, exchange = self._guard, self._answer, self.exchange
        if guard is not None and answer is not None:
            contexts = self._handler.models.contexts
            exchange.prompt_cut = contexts.learn(exchange.model, exchange.prompt_characters, answer.prompt_tokens)
            record_outcome(exchange, guard, answer)
            guard.end()
