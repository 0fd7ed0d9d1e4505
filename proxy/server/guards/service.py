"""Everything that asks models for rules, in one: who answers, and the look at the models at the start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from proxy.checks.asking import AskingRule
from proxy.checks.guards.judge import GuardQuestion
from proxy.checks.guards.verdict import Verdict, VerdictError
from proxy.checks.topics.measure import NotSeparated
from proxy.checks.topics.rule import Subject, TopicQuestion, TopicQuestions
from proxy.core.failures import CheckFailed
from proxy.core.types import Rule
from proxy.errors import PolicyError
from proxy.policy.policyset import PolicySet
from proxy.server.asks.desk import Answerer
from proxy.server.backends.choice import Backends
from proxy.server.guards.judges import Judges
from proxy.server.guards.models import Asked, ModelAsker
from proxy.server.guards.probe import Probe
from proxy.server.guards.topics import Topics

APPROVAL = 10.0
"""Seconds for which an edit waits for models to measure its topics."""

log = logging.getLogger("safety_proxy.guards")


class Guards:
    """Guards and topics on the proxy's model servers.

    answerers: by the kind of question
    rules:     those that ask now
    asked, judged: are told of each question, and of each verdict
    """

    def __init__(
        self,
        backends: Backends,
        rules: Callable[[], Iterable[AskingRule]] = tuple,
        asked: Callable[[Asked], None] = lambda _: None,
        judged: Callable[[str, Verdict | VerdictError], None] = lambda *_: None,
    ) -> None:
        judges = Judges(ModelAsker(backends, "judge", asked), judged)
        self._topics = topics = Topics(ModelAsker(backends, "topic", asked))
        self.answerers: dict[type, Answerer] = {GuardQuestion: judges, TopicQuestion: topics}
        self._rules = rules
        self._probe = Probe(ModelAsker(backends, "judge"), judges, topics)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = asyncio.Event()

    async def approve(self, policies: PolicySet) -> None:
        """Measure the topics of policies that are about to take effect. Raises PolicyError for examples that cannot be
        told apart. A model that does not answer within APPROVAL seconds keeps no edit from taking effect."""
        subjects: dict[Subject, Rule] = {}
        for policy in policies.policies:
            for asking in policy.asking:
                if isinstance(asking.questions, TopicQuestions):
                    subjects.setdefault(asking.questions.subject, asking.rule)
        problems: list[str] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(APPROVAL):
                for subject, rule in subjects.items():
                    problems += await self._problems(subject, rule)
        if problems:
            raise PolicyError(problems)

    async def _problems(self, subject: Subject, rule: Rule) -> list[str]:
        try:
            found = await self._topics.examples(subject)
        except CheckFailed:
            return []  # it is measured when its model answers
        if isinstance(found, NotSeparated):
            return [f"{rule.name}: the topic cannot be told apart on {subject.model}: {found}: change the examples"]
        return []

    def policies_loaded(self, _: object = None) -> None:
        """Other rules may ask now. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._due.set)

    async def run(self) -> None:
        """Look at the models now and whenever policies were loaded, until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._due.set()
        while True:
            await self._due.wait()
            self._due.clear()
            await self.look()

    async def look(self) -> None:
        """One look at the models of all rules. What has to be done about one is a warning."""
        for seen in await self._probe.look(self._rules()):
            log.log(logging.INFO if seen.is_fine else logging.WARNING, "%s", seen.text)
