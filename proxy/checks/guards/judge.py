"""The check `judge`: asks a guard model about a text, and says what its verdicts mean to the rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct, structs

from proxy.checks.asking import AskingRule, Splitter, Spot
from proxy.checks.guards.calls import Generated, Options
from proxy.checks.guards.format import Category, Format, Judged, Level, Name
from proxy.checks.guards.gates import Gate, gate_hold, splitter
from proxy.checks.guards.render import NoRoom, Prompt, Wanted, render
from proxy.checks.guards.verdict import UNKNOWN, Verdict, VerdictError, parse_verdict
from proxy.checks.kinds import CheckKind, OptionError, Remark
from proxy.checks.segments import LONGEST, SHORTEST
from proxy.core.check import Turn
from proxy.core.types import Action, Direction, Rule

BEFORE = 2_000
"""So many characters before a segment are judged with it: a sentence alone may mean nothing."""
ACTIONS = {"flag": Action.FLAG, "rewrite": Action.REWRITE, "block": Action.BLOCK}
Said = Literal["block", "rewrite", "flag", "ignore"]


class JudgeOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `judge`."""

    format: Annotated[str, Meta(min_length=1, description="how the guard is asked; docs/guard-models.md lists them")]
    model: Annotated[str, Meta(min_length=1, max_length=300, description="the guard's name on the model server")]
    categories: Annotated[
        dict[str, Said], Meta(description="what is done for a category, instead of the shipped map")
    ] = {}
    only: Annotated[tuple[Name, ...], Meta(min_length=1, description="only these categories are asked about")] = ()
    criteria: Annotated[
        dict[Name, str], Meta(description="categories of your own: what the guard is told of them")
    ] = {}
    rubric: Annotated[str, Meta(max_length=50_000, description="your rule in words, for formats that need it")] = ""
    strict: Annotated[bool, Meta(description="`controversial` counts as unsafe; else it is flagged")] = False
    gate: Annotated[Gate, Meta(description="what is judged at a time, and whether text waits")] = "segment"
    parallel: Annotated[
        bool,
        Meta(description="prompts: asked while the model reads them; nothing of its answer is sent before"),
    ] = False
    shortest: Annotated[int, Meta(ge=1, le=10_000, description="a segment has so many characters at least")] = SHORTEST
    longest: Annotated[int, Meta(ge=32, le=65_536, description="and so many at most")] = LONGEST
    context: Annotated[int, Meta(ge=512, le=131_072, description="tokens, instead of the format's")] = 0
    keep_alive: Annotated[str, Meta(max_length=20, description="how long Ollama keeps the guard loaded")] = "30m"
    is_chat_model: Annotated[bool, Meta(description="the guard is the chat model itself, loaded with its options")] = (
        False
    )
    timeout: Annotated[float, Meta(gt=0, le=600, description="seconds for an answer")] = 10.0
    at_once: Annotated[int, Meta(ge=1, le=64, description="questions to this guard at a time")] = 1


class GuardQuestion(NamedTuple):
    """A question to a guard: all prompts about one segment. It is answered with a GuardReply.

    guard:   how it is asked
    judged:  what it is about
    options: what its server is told
    timeout: seconds for all of it
    at_once: questions to this model at a time
    """

    guard: Format
    judged: Judged
    prompts: tuple[Prompt, ...]
    options: Options
    timeout: float
    at_once: int


class GuardReply(NamedTuple):
    """What a guard has said, to each prompt of a question."""

    question: GuardQuestion
    said: tuple[Generated, ...]


@dataclass(frozen=True)
class JudgeQuestions:
    """What a rule of `judge` asks, and how it reads the verdicts. See proxy.checks.asking.Questions.

    actions: what is done for a category, by its code; those that are ignored have none
    """

    guard: Format
    wanted: Wanted
    options: JudgeOptions
    actions: Mapping[str, Action]
    most: Action

    @property
    def hold(self) -> int | None:
        """See Questions."""
        return gate_hold(self.options.gate, self.options.longest)

    def split(self) -> Splitter:
        """See Questions."""
        return splitter(self.options.gate, self.options.shortest, self.options.longest)

    def question(self, turn: Turn, before: str, text: str) -> GuardQuestion | None:
        """See Questions."""
        is_late = self.options.gate == "start" and len(before) > len(turn.before)
        if is_late or not text.strip():
            return None
        judged: Judged = "prompt" if turn.direction is Direction.INPUT else "answer"
        prompts = render(self.guard, judged, before[-BEFORE:] + text, turn.conversation, self.wanted)
        if not prompts:
            return None
        context = 0 if self.options.is_chat_model else (self.wanted.context or self.guard.context)
        options = Options(self.options.model, context, "" if self.options.is_chat_model else self.options.keep_alive)
        timeout, at_once = self.options.timeout, self.options.at_once
        return GuardQuestion(self.guard, judged, tuple(prompts), options, timeout, at_once)

    def spots(self, text: str, reply: object) -> Iterable[Spot]:
        """See Questions. A verdict that hides counts, also beside one that could not be read."""
        if not isinstance(reply, GuardReply):
            raise ValueError("it is no reply of a guard")
        verdicts, errors = read(reply)
        action = max([self.action(verdict) for verdict in verdicts], default=None, key=_strength)
        if errors and action is not self.most:
            raise errors[0]
        if action is None:
            return ()
        return (Spot(0, len(text), None if action is self.most else action),)

    def told(self, reply: object) -> Iterator[str]:
        """For people: each prompt, the guard's own words, and what they mean to the rule."""
        assert isinstance(reply, GuardReply)
        question = reply.question
        for prompt, said in zip(question.prompts, reply.said, strict=False):
            text = prompt.raw or " ".join(f"[{message.role}] {message.content}" for message in prompt.messages)
            yield f"asked {question.options.model}: {text!r}"
            try:
                verdict = parse_verdict(self.guard, said.text, question.judged, prompt.category, said.finished)
            except VerdictError as error:
                yield f"said {said.text!r}: no verdict ({error})"
                continue
            action = self.action(verdict)
            named = f" {', '.join(verdict.categories)}" if verdict.categories else ""
            does = f"the rule does {action.name.lower()}" if action else "the rule does nothing"
            yield f"said {said.text!r}: {verdict.level}{named}, {does}"

    def action(self, verdict: Verdict) -> Action | None:
        """What the rule does for a verdict; None: nothing. One without a known category may be any of them."""
        if verdict.level is Level.SAFE:
            return None
        named = verdict.categories
        is_any = not named or UNKNOWN in named
        found = [*self.actions.values()] if is_any else [self.actions[code] for code in named if code in self.actions]
        action = max(found, default=None)
        if action is not None and verdict.level is Level.CONTROVERSIAL and not self.options.strict:
            return Action.FLAG
        return action


def read(reply: GuardReply) -> tuple[list[Verdict], list[VerdictError]]:
    """What the guard says to each prompt, and what cannot be read."""
    verdicts: list[Verdict] = []
    errors: list[VerdictError] = []
    question = reply.question
    if len(reply.said) != len(question.prompts):
        errors.append(VerdictError("empty", "the guard did not answer everything"))
    for prompt, said in zip(question.prompts, reply.said, strict=False):
        try:
            verdicts.append(parse_verdict(question.guard, said.text, question.judged, prompt.category, said.finished))
        except VerdictError as error:
            errors.append(error)
    return verdicts, errors


def _strength(action: Action | None) -> int:
    return 0 if action is None else int(action)


def judge_kind(formats: Mapping[str, Format]) -> CheckKind:
    """The kind for these formats of guards."""

    def make(rule: Rule, options: JudgeOptions) -> AskingRule:
        guard = _with_own(formats[options.format], options)
        categories, actions = _asked(guard, options, rule.action)
        questions = JudgeQuestions(
            guard, Wanted(categories, options.rubric, options.context), options, actions, rule.action
        )
        for judged in guard.judges:
            try:
                render(guard, judged, "", (), questions.wanted)
            except NoRoom as error:
                raise OptionError(str(error), "give a greater `context`, or fewer words", "context") from None
        is_after = options.gate == "after"
        made = AskingRule(rule, options.model, questions, after=is_after, parallel=options.parallel)
        return made.with_actions(Action)

    def remarks(options: JudgeOptions) -> Iterator[Remark | None]:
        guard = formats.get(options.format)
        if guard is None:
            verified = [name for name, known in formats.items() if known.verified]
            near = get_close_matches(options.format, verified, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(verified) or 'none'}"
            yield Remark(("format",), f"there is no format `{options.format}`", hint)
            return
        if not guard.verified:
            fix = "take another one, or write a format of your own from the model's template"
            yield Remark(("format",), f"`{guard.format}` is not verified: {guard.remark}", fix)
        yield from _rubric_remarks(guard, options)
        yield from _category_remarks(guard, options)
        if options.shortest > options.longest:
            yield Remark(("shortest",), "it is more than `longest`", f"write at most {options.longest}")

    about = "asks a guard model about each segment of a text"
    return CheckKind("judge", about, make, JudgeOptions, remarks=remarks)


def _with_own(guard: Format, options: JudgeOptions) -> Format:
    """The format with the categories of the policy."""
    own = [Category(code, code, text=text) for code, text in options.criteria.items()]
    return structs.replace(guard, categories=(*guard.categories, *own)) if own else guard


def _asked(guard: Format, options: JudgeOptions, most: Action) -> tuple[tuple[Category, ...], dict[str, Action]]:
    """The categories that are asked about, and what is done for each."""
    named = {code.casefold(): said for code, said in options.categories.items()}
    only = {code.casefold() for code in options.only}
    categories = [
        category for category in guard.categories if _is_asked(category, named.get(category.code.casefold()), only)
    ]
    actions = {one.code: min(most, ACTIONS[named.get(one.code.casefold(), one.action)]) for one in categories}
    return tuple(categories), actions


def _is_asked(category: Category, said: Said | None, only: set[str]) -> bool:
    if said == "ignore":
        return False
    return category.code.casefold() in only if only else category.shipped or said is not None


def _rubric_remarks(guard: Format, options: JudgeOptions) -> Iterator[Remark]:
    if guard.needs_rubric and not options.rubric.strip():
        hint = "write your rule in words: what breaks it, and what does not"
        yield Remark(("rubric",), f"the format `{guard.format}` judges by a rule of yours, and there is none", hint)
    if options.rubric and not guard.needs_rubric:
        hint = "remove it, or write `criteria`" if guard.own else "remove it"
        yield Remark(("rubric",), f"`rubric` means nothing to the format `{guard.format}`", hint)


def _category_remarks(guard: Format, options: JudgeOptions) -> Iterator[Remark]:
    codes = {category.code.casefold(): category.code for category in guard.categories}
    if options.criteria and not guard.own:
        yield Remark(("criteria",), f"the format `{guard.format}` takes no categories of your own", "remove them")
    for code in options.criteria:
        if code.casefold() in codes:
            yield Remark(("criteria", code), f"`{code}` is a category of the format", "take another name")
    known = codes | {code.casefold(): code for code in options.criteria}
    named: list[tuple[str, str | int, str]] = [("categories", code, code) for code in options.categories]
    named += [("only", i, code) for i, code in enumerate(options.only)]
    for key, step, code in named:
        if code.casefold() not in known:
            near = get_close_matches(code, known.values(), 1)
            hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known.values())}"
            yield Remark((key, step), f"`{guard.format}` has no category `{code}`", hint)
    if not _asked(_with_own(guard, options), options, Action.BLOCK)[0]:
        yield Remark(("categories",), "nothing is left to ask about", "leave a category in, or leave the rule out")
