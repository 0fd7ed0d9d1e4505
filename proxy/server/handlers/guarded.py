"""One guarded exchange: read and judge the request, ask the model server, stream its answer back (see relay.py).

Whatever goes wrong, the client gets a proper end: an error body if no head has been sent yet, else an error event.
The upstream is closed at once when a rule ends the answer, when the client leaves, and when anything fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from functools import partial
from time import perf_counter

from proxy.core.check import NO_TURN, Turn
from proxy.core.guard import Guard
from proxy.core.types import Direction
from proxy.dialects.answer import Answer
from proxy.dialects.base import Dialect
from proxy.dialects.request import Options, Request
from proxy.errors import ClientError, UpstreamError
from proxy.policy.plan import Plan
from proxy.server.asks.asker import Asker
from proxy.server.asks.desk import About, Desk
from proxy.server.backends.backend import Backend
from proxy.server.backends.chain import BackendChain
from proxy.server.backends.choice import Backends
from proxy.server.config import ServerConfig
from proxy.server.exchange.places import told_place
from proxy.server.exchange.plans import ExchangePlans
from proxy.server.exchange.policies import ActivePolicies
from proxy.server.exchange.prompt_asks import conversation
from proxy.server.exchange.prompt_filter import Blocked, Later, judge_request
from proxy.server.exchange.record import BeginObserver, Exchange, Observer, Outcome, log_failure, record_outcome
from proxy.server.exchange.sender import Sender
from proxy.server.exchange.timeouts import ExchangeTimeouts, Heartbeat, Interrupt, Watchdog
from proxy.server.exchange.tracing import trace_of, traced
from proxy.server.exchange.turns import Turns
from proxy.server.handlers.parallel import PromptChanged, response_after
from proxy.server.handlers.relay import Relay
from proxy.server.http.body import ClientGone
from proxy.server.http.request import RequestContext
from proxy.server.keys.models import refuse_model
from proxy.server.limits.admission import Admission
from proxy.server.models.alignments import WITHOUT_TEXT
from proxy.server.models.context_length import CUT_SILENTLY, SHORT_PROMPT
from proxy.server.routing.routes import Route, RouteMatch
from proxy.server.upstream import response as upstream_response
from proxy.server.upstream.client import (
    TRANSPORT_ERRORS,
    UpstreamResponse,
    plain_query,
    to_upstream_error,
)

log = logging.getLogger("safety_proxy.server")

CONVERSATION = ("messages", "prompt", "input")  # keys of a request's body that only the model server reads
LAST_SEND_TIMEOUT = 1.0  # seconds for the last bytes of an interrupted exchange


class GuardedHandler:
    """Serves guarded paths. Holds what all exchanges share."""

    def __init__(
        self,
        config: ServerConfig,
        policies: ActivePolicies,
        backends: Backends,
        watchdog: Watchdog,
        observers: Sequence[Observer],
        desk: Desk,
        admission: Admission,
    ) -> None:
        self.desk = desk
        self.config = config
        self.policies = policies
        self.backends = backends
        self.watchdog = watchdog
        self.observers = observers
        self.begin_observers = [one for one in observers if isinstance(one, BeginObserver)]
        self.admission = admission
        self.turns = Turns()

    def run(self, match: RouteMatch, context: RequestContext) -> Awaitable[None]:
        """Serve one exchange."""
        assert match.route is not None
        return GuardedExchange(self, match.route, context).run()


class GuardedExchange:
    """One exchange, from its first byte to its last."""

    __slots__ = (
        "_answer",
        "_asker",
        "_backends",
        "_config",
        "_context",
        "_dialect",
        "_guard",
        "_handler",
        "_is_recorded",
        "_plans",
        "_relay",
        "_request",
        "_sender",
        "exchange",
        "timeouts",
    )

    def __init__(self, handler: GuardedHandler, route: Route, context: RequestContext) -> None:
        assert route.dialect is not None
        self._handler = handler
        self._config = handler.config
        self._dialect: Dialect = route.dialect
        self._context = context
        policies = handler.policies.snapshot()
        self._backends = BackendChain(handler.backends)
        self._request: Request | None = None
        self._answer: Answer | None = None
        self._guard: Guard | None = None
        self._is_recorded = False  # what the guard saw is in `exchange`
        self._relay: Relay | None = None
        self.timeouts = ExchangeTimeouts(context, handler.watchdog, generates=True)
        key = "" if context.key is None else context.key.name
        self.exchange = Exchange(route.path, policies.revision, context.id, context.client, key)
        self._sender = Sender(context, route.dialect, self.exchange)
        self._asker = Asker(handler.desk, About(context.id), told=self.exchange.check_answers.told)
        self._plans = ExchangePlans(policies, self.exchange, self._backends.template_of)

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
        self._abandon()
        self._backends.close()
        self.exchange.ended = perf_counter()
        if not self._is_recorded:
            self._record_outcome()
        self._answer = self._relay = None  # they refer back to this object: so all are freed without the collector
        for observer in self._handler.observers:
            observer.end(self.exchange)

    # The request

    async def _serve(self) -> None:
        self._plans.policies = self._plans.policies.for_key(self._context.key)
        await self._receive()
        in_parallel = self._plans.policies.asks_in_parallel
        while True:
            try:
                request = await self._read(keep_body=in_parallel)
                relay, response = await self._judge_and_ask(request, in_parallel)
                break
            except PromptChanged:
                in_parallel = False  # the same once more: who was asked has answered already
                self.exchange.begin_again()
                self.timeouts.forget_upstream()
            except UpstreamError as error:
                if self._context.started or not self._backends.move(self.exchange, error):
                    raise
                self.timeouts.forget_upstream()
        self._backends.sent()
        self._drop_request(request)
        guard, answer = self._guard, self._answer
        assert guard is not None
        assert answer is not None
        shape = await upstream_response.check(response, self._dialect, guard)
        if shape is upstream_response.Shape.WHOLE:
            await relay.send_whole(response)
        else:
            await relay.stream(response)
        if not request.stream:
            await self._reply_whole(answer)

    async def _judge_and_ask(self, request: Request, in_parallel: bool) -> tuple[Relay, UpstreamResponse]:
        """Judge the prompt for the backend that is asked, and ask it.

        in_parallel: rules may be asked about the prompt while the model reads it. Raises PromptChanged if it has read
        what it should not have.
        """
        backend, handler = self._backends.current, self._handler
        later = await self._judge(request, in_parallel and not await self._may_be_remote(request.model))
        size = self.exchange.prompt_characters = sum([len(text.text) for text in request.texts])
        if size >= SHORT_PROMPT and self._dialect.name in CUT_SILENTLY:
            await backend.models.contexts.check(request.model, size)
        self.exchange.asked = f"POST {backend.url}{request.path}"
        if not self._config.options.allow_cloud_models:
            await backend.models.cloud.refuse_remote(request.model)
        plan = self._plans.about(request.texts)
        self.exchange.judged_after = plan.judges_after
        self._guard = guard = self._new_guard(plan, request)
        self._answer = answer = self._dialect.answer(request, guard, self._plans.notice)
        self._relay = relay = Relay(
            answer, self.exchange, self._sender, self.timeouts, self._config, handler.turns, self._asker
        )
        sends_heartbeats = request.stream and self._dialect.keep_alive and later is None  # else it may be refused yet
        heartbeat = self._sender.heartbeat if sends_heartbeats else None
        await handler.admission.turn(self.exchange, self.timeouts, heartbeat)
        if later is None:
            return relay, await self._ask(request, relay, backend, heartbeat)
        asking = asyncio.create_task(self._ask(request, relay, backend, heartbeat))
        return relay, await response_after(asyncio.create_task(later()), asking, relay.abort)

    async def _may_be_remote(self, model: str) -> bool:
        """Whether a prompt may leave for another machine: that one gets no prompt before it is judged."""
        if not self._config.options.allow_cloud_models:
            return False  # it is refused below
        try:
            await self._backends.current.models.cloud.refuse_remote(model)
        except (ClientError, UpstreamError):
            return True
        return False

    def _new_guard(self, plan: Plan, request: Request) -> Guard:
        turn = Turn(conversation=conversation(request.texts)) if plan.asks else NO_TURN
        if self._config.record_text == "none":
            return Guard(plan, request.json_content, request.prefills(), turn=turn)
        from proxy.server.exchange.transcript import recording_guard

        return recording_guard(plan, request, self.exchange, turn)

    async def _receive(self) -> None:
        """Read the request's body."""
        config = self._config
        self._backends.body = await self._context.read(config.max_body, config.body_timeout)
        self.exchange.request_read = perf_counter()
        self.timeouts.watch_client(self._abandon)

    async def _read(self, keep_body: bool) -> Request:
        """Parse the request, and choose the backend for its model. `keep_body`: it may have to be read once more."""
        config, body = self._config, self._backends.body
        request = await self._parse(body, config.options)
        refuse_model(self._context.key, request.model)
        self.exchange.model = request.model
        self._asker.about = About(self.exchange.id, request.model, self.exchange.key or None)
        await self._backends.choose(self.exchange, request.path, self._context.key)
        await self._refuse_other_model(request.model)
        await self._look_at_model(request.model)
        options = self._plans.for_model(request.model, config.options)
        if options is not config.options:
            request = await self._parse(body, options)
        if not keep_body:
            self._backends.parsed()
        self._request = self._sender.request = request
        self.exchange.stream = request.stream
        return request

    async def _parse(self, body: bytes, options: Options) -> Request:
        """Read the request; a large one in a thread, since that is Python code to which others can come in between."""
        if len(body) > self._config.offload:
            return await asyncio.to_thread(self._dialect.parse, body, options)
        return self._dialect.parse(body, options)

    async def _refuse_other_model(self, model: str) -> None:
        """Raise NotServed if another model may answer to an allowed name, and the key may not use that one."""
        key = self._context.key
        if key is not None and key.models is not None:
            for name in await self._backends.current.answering(model):
                refuse_model(key, name)

    async def _look_at_model(self, model: str) -> None:
        """What the model is known to be: policies may depend on it. Raises as `Alignments.for_request`."""
        alignments, plans, exchange = self._backends.current.models.alignments, self._plans, self.exchange
        required = self._config.require_alignment if self._dialect.name not in WITHOUT_TEXT else None
        try:
            await alignments.for_request(model, required, is_needed=plans.policies.looks_at_alignment)
        finally:
            exchange.alignment = self._backends.alignment_of(model, exchange.alignment)
        plans.policies = plans.policies.for_alignment(exchange.alignment)

    async def _judge(self, request: Request, in_parallel: bool) -> Later | None:
        """Returns what is still to be asked while the model reads the prompt."""
        plans = self._plans
        if self._config.record_text != "none":
            from proxy.server.exchange.transcript import record_prompt

            record_prompt(self.exchange, request, plans.for_prompt, plans.answer)
        strict = self._config.history == "block"
        later = await judge_request(
            request.texts,
            request.joiner,
            plans.for_prompt,
            partial(plans.earlier_notice, direction=Direction.INPUT),
            self.exchange,
            strict,
            answer_notice=partial(plans.earlier_notice, direction=Direction.OUTPUT),
            memory=plans.policies.memory,
            answers=self._asker.answers,
            apart=plans.policies.apart,
            parallel=in_parallel,
        )
        before, after = plans.policies.system_prompt(request.model)
        if before or after:
            self._dialect.instruct(request, before, after)
        return later

    def _drop_request(self, request: Request) -> None:
        """Free what has been sent upstream: a conversation may be long, and the answer may take minutes."""
        for key in CONVERSATION:
            request.body.pop(key, None)
        request.texts = [text for text in request.texts if text.param == "instructions"]  # some answers repeat them
        self._context.forget_headers()

    async def _ask(
        self, request: Request, relay: Relay, backend: Backend, heartbeat: Heartbeat | None
    ) -> UpstreamResponse:
        context = self._context
        query = plain_query(context.query)
        path = request.path.encode() + (b"?" + query if query else b"")
        headers = backend.headers.build(context.headers, self._dialect.stream_type.encode())
        self.exchange.trace = trace = trace_of(context.headers)
        headers = traced(headers, trace, own_span=self._config.otel_endpoint is not None)
        body = self._dialect.upstream_body(request)
        self.exchange.sent_upstream = perf_counter()
        self.timeouts.watch_upstream(heartbeat)
        try:
            relay.response = response = await backend.upstream.open(b"POST", path, headers, body)
        except TRANSPORT_ERRORS as error:
            raise to_upstream_error(error) from error
        self.exchange.upstream_status = response.status
        return response

    async def _reply_whole(self, answer: Answer) -> None:
        if answer.failed is not None:
            raise answer.failed
        self._record_outcome()
        await self._sender.reply_answer(answer.result())

    # Other ends

    async def _refuse_prompt(self, block: Blocked) -> None:
        """A rule refuses the prompt: 400, which clients do not retry."""
        self.exchange.outcome = Outcome.BLOCKED
        message = self._plans.prompt_notice(block.finding) + told_place(block.text)
        body = self._dialect.blocked(message, self.exchange.id)
        await self._sender.reply(400, body)

    async def _reject(self, error: ClientError) -> None:
        """The request cannot be served. While it waited for its turn the head may have been sent."""
        self.exchange.outcome = Outcome.REJECTED
        if not self._context.started:
            await self._reply_error(error, getattr(error, "headers", ()))
        elif self._answer is not None:
            await self._context.end(self._answer.finish(UpstreamError(str(error), "busy", error.status)))

    async def _pause(self) -> None:
        """The operator has paused the proxy: a refusal, or the end that a block has."""
        pause, answer, relay = self._handler.admission.pause, self._answer, self._relay
        pause.ended += 1
        self.exchange.outcome = Outcome.REJECTED
        if not self._context.started:
            await self._reply_error(pause.error, pause.error.headers)
        elif answer is not None and relay is not None and not self._context.ended:
            begun = answer.take_stop(pause.finding) if answer.events else answer.take_end(pause.failure)
            await self._context.end(await relay.work_off(begun))

    async def _reply_error(self, error: ClientError | UpstreamError, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
        await self._sender.reply(error.status, self._dialect.error(error, self.exchange.id), extra)

    async def _fail(self, error: UpstreamError, outcome: Outcome = Outcome.UPSTREAM_ERROR) -> None:
        """Send an error body, or an error event if the head has been sent."""
        self._abort_upstream()
        log_failure(self.exchange, error)
        self.exchange.outcome = outcome
        self.exchange.upstream_reason = error.reason
        if not self._context.started:
            await self._reply_error(error, getattr(error, "headers", ()))
        elif not self._context.ended:
            answer, relay = self._answer, self._relay
            out = b"" if answer is None or relay is None else await relay.work_off(answer.take_end(error))
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

    def _abort_upstream(self) -> None:
        if self._relay is not None:
            self._relay.abort()

    def _abandon(self) -> None:
        """Nobody waits for the answer any more: stop the model, and all who are asked."""
        self._abort_upstream()
        self._asker.close()

    def _record_outcome(self) -> None:
        """Record what the guard saw, if the exchange has come so far. Once: a whole answer's head already tells it."""
        self._is_recorded = True
        guard, answer, exchange = self._guard, self._answer, self.exchange
        if guard is not None and answer is not None:
            contexts = self._backends.current.models.contexts
            exchange.prompt_cut = contexts.learn(exchange.model, exchange.prompt_characters, answer.prompt_tokens)
            record_outcome(exchange, guard, answer)
            guard.end()
