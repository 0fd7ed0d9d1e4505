"""What judges the texts of one exchange, and what a person reads in place of what a rule stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from proxy.core.failures import Failures
from proxy.core.types import Direction, Finding
from proxy.dialects.request import InputText, Options
from proxy.policy.plan import UNKNOWN, ChatTemplate, Plan
from proxy.server.exchange.policies import Snapshot
from proxy.server.exchange.prompt_filter import InputPlan, system_text
from proxy.server.exchange.record import Exchange


class ExchangePlans:
    """The plans of one exchange, made when they are first needed, and its notices. It keeps the policies that were in
    force when it began.

    policies: these, as they hold for models of the status that this one is known to have
    template_of: what is known of a model's chat template
    """

    __slots__ = ("_answer", "_exchange", "_prompt", "_template", "_template_of", "policies")

    def __init__(self, policies: Snapshot, exchange: Exchange, template_of: Callable[[str], ChatTemplate]) -> None:
        self.policies = policies
        self._exchange = exchange
        self._template_of = template_of
        self._template = UNKNOWN
        self._answer: Plan | None = None
        self._prompt: dict[str, InputPlan] = {}  # by role

    def for_model(self, model: str, options: Options) -> Options:
        """The exchange is with this model from now on. The operator's options, less what the policies forbid for it."""
        policies = self.policies
        self._prompt.clear()  # another backend may have another template for it, and so other policies
        if policies.looks_at_templates:
            self._template = self._template_of(model)
        self._answer = self._for_exchange(policies.plan(Direction.OUTPUT, model, template=self._template))
        if options.logprobs and self._answer.any_output_rule:
            options = replace(options, logprobs=False)
        if options.allow_images and policies.plan(Direction.INPUT, model, "user").refuses_images:
            options = replace(options, allow_images=False)
        return options

    def for_prompt(self, role: str) -> InputPlan:
        """The plan for texts of this role."""
        plan = self._prompt.get(role)
        if plan is None:
            shared = self.policies.plan(Direction.INPUT, self._exchange.model, role, self._template)
            plan = self._prompt[role] = self._for_exchange(shared)
        return plan

    @property
    def answer(self) -> Plan:
        """The plan for the answer. The model must be known."""
        assert self._answer is not None
        return self._answer

    def about(self, texts: list[InputText]) -> Plan:
        """The plan for the answer to these texts."""
        plan = self.answer
        if plan.looks_for_system_text:
            own = self.policies.system_prompt(self._exchange.model)
            plan = self._answer = plan.about(system_text(texts, own))
        return plan

    def _for_exchange(self, plan: Plan) -> Plan:
        """The plan for the texts of this exchange: checks of plug-ins, if it has any, note there what goes wrong."""
        if not plan.has_plugins:
            return plan
        if self._exchange.plugin_failures is None:
            self._exchange.plugin_failures = Failures()
        return plan.for_exchange(self._exchange.plugin_failures)

    # Notices

    def notice(self, finding: Finding) -> str:
        """For an answer that a rule has ended."""
        return self._notice_for(finding, Direction.OUTPUT)

    def prompt_notice(self, finding: Finding) -> str:
        """For a prompt that a rule refuses."""
        return self._notice_for(finding, Direction.INPUT)

    def earlier_notice(self, finding: Finding, direction: Direction) -> str:
        """In place of a text of an earlier turn. It is the same in each turn, so the model server, which keeps what it
        has read of a conversation, need not read what follows anew."""
        return f"{self.policies.message_for(finding.rule, direction)} (policy {finding.rule.policy})"

    def _notice_for(self, finding: Finding, direction: Direction) -> str:
        rule = finding.rule
        message = self.policies.message_for(rule, direction, finding.first)
        policy = f"policy {rule.policy}, " if rule.policy else ""  # it was no policy that has ended it
        return f"{message} ({policy}request {self._exchange.id})"
