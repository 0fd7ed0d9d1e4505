"""An answer on its way from the model server to the client. `_forward` is the loop through which every event goes."""

from __future__ import annotations

import asyncio
from time import perf_counter

from proxy.core.answer_gates import Question
from proxy.dialects.answer import Answer
from proxy.errors import UpstreamBroken
from proxy.server.asks.asker import Asker
from proxy.server.config import ServerConfig
from proxy.server.exchange.record import Exchange
from proxy.server.exchange.sender import Sender
from proxy.server.exchange.timeouts import ExchangeTimeouts
from proxy.server.exchange.turns import Turns
from proxy.server.upstream import response as upstream_response
from proxy.server.upstream.client import TRANSPORT_ERRORS, UpstreamResponse, keep_or_abort, to_upstream_error

SAMPLE = 7  # of an answer's reads one in eight is timed: where its number of events has none of these bits


class Relay:
    """Reads the model server's response, lets the answer judge it, and sends what comes out of that.

    Questions of the answer's checks are asked meanwhile (`asker`). An answer that comes while the model server is
    listened to is taken at once; else when the exchange's task gets to it. Where the answer stands still for one, the
    model server is not read: what it sends waits in the response's buffer, which is bounded.

    response: of the model server; None: it has not answered yet, or nothing more is read of it
    """

    __slots__ = (
        "_answer",
        "_asker",
        "_config",
        "_context",
        "_exchange",
        "_late",
        "_problem",
        "_pumping",
        "_questions",
        "_sender",
        "_timeouts",
        "_turns",
        "response",
    )

    def __init__(
        self,
        answer: Answer,
        exchange: Exchange,
        sender: Sender,
        timeouts: ExchangeTimeouts,
        config: ServerConfig,
        turns: Turns,
        asker: Asker,
    ) -> None:
        self._asker = asker
        self._questions: dict[tuple[int, int], Question] = {}  # that are asked
        self._problem: Exception | None = None  # what went wrong when an answer came
        self._late = b""  # what could not be written when an answer came
        self._pumping: UpstreamResponse | None = None  # what is listened to
        self._answer = answer
        self._exchange = exchange
        self._sender = sender
        self._context = sender.context
        self._timeouts = timeouts
        self._config = config
        self._turns = turns
        self.response: UpstreamResponse | None = None

    async def stream(self, response: UpstreamResponse) -> None:
        """Send the answer as it comes, then its end."""
        self._timeouts.watch_end(self._is_finished)
        end = await self._forward(response)
        self._release_upstream()
        if self._exchange.stream:
            await self._sender.send(end, last=True)

    async def send_whole(self, response: UpstreamResponse) -> None:
        """The model server did not stream. Its one body goes through the same gates."""
        try:
            body = await upstream_response.read_all(response, self._config.max_answer)
        except TRANSPORT_ERRORS as error:
            raise to_upstream_error(error, after_head=True) from error
        exchange = self._exchange
        exchange.upstream_bytes = exchange.upstream_text = perf_counter()
        exchange.bytes_received = len(body)
        out = await self.work_off(self._answer.take_whole(body))
        if exchange.stream:
            await self._sender.send(out, last=True)

    async def work_off(self, unsent: bytes) -> bytes:
        """Do what is left to do of what the answer has taken; meanwhile the model server is not read any further.
        Returns bytes that have still to be sent."""
        answer, turns = self._answer, self._turns
        while answer.work is not None:
            if unsent:
                await self._sender.send(unsent)
            if answer.stalled:
                unsent = await self._wait_for_answers()
            else:
                await turns.wait()
                unsent = turns.use(answer)
                self._ask()
            self._timeouts.last_received = now = perf_counter()
            self._record_timing(now)
        return unsent

    async def _wait_for_answers(self) -> bytes:
        """The answer stands still. Meanwhile nothing is expected of the model server."""
        self._timeouts.last_received = 0.0
        await self._asker.wait()
        return self._take_answers()

    def abort(self) -> None:
        """Close the connection to the model server, which stops the model."""
        response, self.response = self.response, None
        if response is not None:
            response.abort()

    async def _forward(self, response: UpstreamResponse) -> bytes:
        """Forward events until the answer is complete; returns the bytes that end it. `_on_data` does the work of each
        read. Here is what has to be awaited."""
        answer, error = self._answer, None
        self._asker.on_answer = self._on_answer
        try:
            while (unsent := await self._pump(response)) is not None:
                unsent = await self.work_off(unsent)
                if answer.done:
                    return unsent
                if unsent:
                    await self._sender.send(unsent)
                    self._timeouts.last_received = self._context.last_sent
        except TRANSPORT_ERRORS as problem:
            error = to_upstream_error(problem, after_head=True)
        except asyncio.CancelledError:
            self._timeouts.resume()  # the model has ended its answer, and the model server does not end its response
            self.abort()
        end = answer.take_end(error)
        self._ask()
        end = await self.work_off(end)
        self._record_timing(perf_counter())
        return end

    async def _pump(self, response: UpstreamResponse) -> bytes | None:
        """See UpstreamResponse. Also returns when an answer to a question has ended the answer, or has released what
        the client does not read quickly enough."""
        if self._asker.busy:
            out = self._take_answers()
            if out or self._answer.done:
                return out
        self._pumping = response
        try:
            stop = await response.pump(self._on_data)
        finally:
            self._pumping = None
        if self._problem is not None:
            raise self._problem
        late, self._late = self._late, b""
        return late if late or (self._answer.done and stop is None) else stop

    # Questions

    def _ask(self) -> None:
        """Ask what the checks want to know by now."""
        guard = self._answer.guard
        if not guard.asking:
            return
        self._asker.drop(guard.take_dropped())
        questions = guard.take_questions()
        if questions and self._pumping is not None:
            self._pumping.interruptible = True
        if guard.is_ending(self._answer.request.choices):
            asyncio.get_running_loop().call_soon(self._stop_model)
        for question in questions:
            self._questions[question.name] = question
            self._asker.ask(question.name, question.asked.ask.data)

    def _stop_model(self) -> None:
        """A rule has ended the answer, and only where is not known yet: what the model still says is not needed."""
        if not self._late:
            self.abort()

    def _take_answers(self) -> bytes:
        """Let the answer take what is known by now. Bytes for the client."""
        out: list[bytes] = []
        while answers := [(self._questions.pop(name), reply) for name, reply in self._asker.take()]:
            out += [self._answer.reply(question, reply) for question, reply in answers]
            self._ask()  # some of it may be known already
        return b"".join(out)

    def _on_answer(self) -> None:
        """A question is answered: while the model server is listened to, at once."""
        if self._pumping is None or self._timeouts.reason is not None:
            return
        response, out = self._pumping, b""
        try:
            out = self._take_answers()
            self._record_timing(perf_counter())
            if not self._answer.done and (not out or self._sender.try_write(out)):
                return
        except Exception as error:  # this is not the exchange's task: it has to be told there
            self._problem = error
        self._late, self._pumping = out, None
        response.interrupt()

    def _is_finished(self) -> bool:
        return self._answer.work is None and self._answer.finished

    def _on_data(self, data: bytes) -> bytes | None:
        """Let the answer judge what was read, and write it to the client. Returns bytes that end the answer (it is done
        then) or have to be awaited, and what there is so far when judging takes longer than others should wait."""
        if self._timeouts.reason is not None:
            return None  # the exchange is interrupted, though its task has not run yet: nobody would send this
        exchange, answer = self._exchange, self._answer
        now = perf_counter()
        is_sample = not answer.events & SAMPLE
        if is_sample and exchange.upstream_text:
            exchange.record_gap(now - self._timeouts.last_received)
        self._timeouts.last_received = now
        out = answer.take(data)
        if answer.guard.asking:
            self._ask()
            if answer.work is None and not answer.done:
                out += self._take_answers()  # those that were known already
        exchange.bytes_received += len(data)
        if len(out) != len(data) or exchange.held_since or not exchange.upstream_text:
            self._record_timing(now)
        if answer.done or answer.work is not None:
            self._pumping = None
            return out
        if out:
            if not self._sender.try_write(out):
                self._pumping = None
                return out
            if is_sample:
                exchange.record_output(len(data), self._context.last_sent - now)
        elif exchange.bytes_received > self._config.max_answer and not exchange.stream:
            self._pumping = None
            return answer.take_end(UpstreamBroken("The model server's answer is too long", "too_long"))
        return None

    def _record_timing(self, now: float) -> None:
        """Record what does not happen at each read: first bytes, first text, and how much text is held."""
        exchange, answer = self._exchange, self._answer
        if not exchange.upstream_bytes:
            exchange.upstream_bytes = now
            self._timeouts.first_byte_received()
        if answer.events and not exchange.upstream_text:
            exchange.upstream_text = now
        exchange.record_held(answer.guard, now)

    def _release_upstream(self) -> None:
        """The answer is done. If a rule or an error ended it, close the connection to stop the model; else keep it."""
        if self._answer.guard.blocked_choices or self._answer.failed:
            self.abort()
        elif self.response is not None:
            keep_or_abort(self.response)
            self.response = None
