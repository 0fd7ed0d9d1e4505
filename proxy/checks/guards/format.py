"""A guard's format: its prompt, its answers and its categories, as a file of proxy/guard_formats says.

Templates hold placeholders in braces; all other braces are text. Placeholders stand for texts as they are, and are
replaced in one go, so that a text cannot bring one in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from proxy.checks.kinds import Remark

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
Text = Annotated[str, Meta(min_length=1, max_length=20_000)]
Judged = Literal["prompt", "answer"]
"""What a guard looks at: what goes to the model, or what it says."""
JUDGED: tuple[Judged, ...] = ("prompt", "answer")

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
TEXTS = ("conversation", "user", "answer")
"""Placeholders for texts that people and models wrote."""
OWN = ("categories", "criterion", "rubric")
"""Placeholders for what the format and the policy say."""
FIELDS = ("verdict", "prompt", "answer", "categories", "refusal", "confidence")
"""What a place in a reply can say. `prompt` and `answer`: the verdict on that one."""


class Level(StrEnum):
    """How bad a guard finds a text."""

    SAFE = "safe"
    CONTROVERSIAL = "controversial"
    UNSAFE = "unsafe"
    NOT_JUDGED = "not_judged"


class Category(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that a guard looks for.

    code:   as the guard writes it, and as policies name it
    name:   for people; the guard may write this too
    action: what the shipped map does with it
    text:   what the prompt says of it; `prompt` and `answer` where that depends on what is judged
    judges: where it means anything
    shipped: False: only asked when a policy names it
    """

    code: Name
    name: Text
    action: Literal["block", "rewrite", "flag"] = "block"
    text: str = ""
    prompt: str = ""
    answer: str = ""
    judges: tuple[Judged, ...] = JUDGED
    shipped: bool = True

    def says(self, judged: Judged) -> str:
        """Its text in the prompt."""
        return (self.prompt if judged == "prompt" else self.answer) or self.text


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a chat. `conversation` as its role: the turns of the conversation stand here, each in its role."""

    role: Literal["system", "user", "assistant", "conversation"]
    content: str = ""


class Template(Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt: `raw` text that is sent as it is, or `messages` for a chat endpoint. One of the two."""

    raw: str = ""
    messages: tuple[Message, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.raw or self.messages)

    @property
    def texts(self) -> tuple[str, ...]:
        """All text in it."""
        return (self.raw, *(message.content for message in self.messages))


class Templates(Struct, frozen=True, forbid_unknown_fields=True):
    """The prompts. A guard that cannot judge one of the two has an empty one for it."""

    prompt: Template = Template()
    answer: Template = Template()


class Turns(Struct, frozen=True, forbid_unknown_fields=True):
    """How `{conversation}` is written: each turn with `{text}`, and `between` two of them."""

    user: Text = "User: {text}"
    answer: Text = "Agent: {text}"
    between: str = "\n\n"


class Marks(Struct, frozen=True, forbid_unknown_fields=True):
    """What a judged text must not be able to write.

    tokens: control tokens and section marks; those that look like `<|...|>` need not be listed
    lines:  words at the beginning of a line that begin a turn or a section
    """

    tokens: tuple[Text, ...] = ()
    lines: tuple[Text, ...] = ()


class Reply(Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for.

    tokens: the longest reply; thinking counts too
    stop:   texts that end it
    effort: how much it may think, for a model that cannot do without
    """

    tokens: Annotated[int, Meta(ge=1, le=8_192)] = 32
    stop: tuple[Text, ...] = ()
    effort: Literal["", "low", "medium", "high"] = ""


class Line(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a reply: text with the places of FIELDS in braces.

    judges:   when it is there
    optional: it may be left out
    """

    text: Text
    judges: tuple[Judged, ...] = JUDGED
    optional: bool = False


class Key(Struct, frozen=True, forbid_unknown_fields=True):
    """A key of a reply in JSON, and the place of FIELDS that it is."""

    key: Text
    field: Literal["verdict", "prompt", "answer", "categories", "refusal", "confidence"]
    judges: tuple[Judged, ...] = JUDGED
    optional: bool = False


class Grammar(Struct, frozen=True, forbid_unknown_fields=True):
    """How a reply is read. It has to fit as a whole.

    lines, json: one of the two
    values:      what a verdict is written as; capitals do not matter
    none:        words that say that there is no category
    thinking:    a reply may begin with `<think>...</think>`
    rest:        behind the verdict, on its line or below, the guard may explain itself
    """

    values: dict[str, Level]
    lines: tuple[Line, ...] = ()
    json: tuple[Key, ...] = ()
    none: tuple[Text, ...] = ("none",)
    thinking: bool = False
    rest: bool = False


class Format(Struct, frozen=True, forbid_unknown_fields=True, dict=True, eq=False):
    """All that is known of a guard. Compared by identity.

    verified:   its prompt has been seen whole. One that has not is listed, and no policy can use it
    remark:     what to know about it, for people: what is missing where it is not verified
    models:     the names under which servers have it, without tags
    context:    tokens that are asked for, and that a prompt has to fit into
    languages:  ISO 639 codes; empty: not known
    asks:       `all` categories in one prompt, or `one` prompt for each
    own:        policies may add categories of their own
    strip:      white space around a text is not part of it
    category:   how a category is written in `{categories}`
    """

    format: Name
    about: Text
    licence: Text
    verified: bool
    prompts: Templates
    verdict: Grammar
    sources: tuple[Text, ...]
    remark: str = ""
    models: tuple[Text, ...] = ()
    transport: Literal["raw", "chat"] = "raw"
    context: Annotated[int, Meta(ge=512, le=131_072)] = 8_192
    languages: tuple[Text, ...] = ()
    asks: Literal["all", "one"] = "all"
    own: bool = False
    strip: bool = False
    categories: tuple[Category, ...] = ()
    category: Text = "{code}: {text}"
    turns: Turns = field(default_factory=Turns)
    system: Literal["leave_out", "user"] = "leave_out"
    marks: Marks = field(default_factory=Marks)
    reply: Reply = field(default_factory=Reply)

    @property
    def judges(self) -> tuple[Judged, ...]:
        """What it can judge."""
        return tuple(one for one in JUDGED if self.template(one))

    @property
    def needs_rubric(self) -> bool:
        """Whether a policy has to say in words what is judged."""
        return "rubric" in self.placeholders

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """All placeholders of its prompts."""
        texts = (*self.prompts.prompt.texts, *self.prompts.answer.texts)
        return frozenset(name for text in texts for name in PLACEHOLDER.findall(text))

    def template(self, judged: Judged) -> Template:
        """The prompt for what is judged; empty when it cannot be."""
        return self.prompts.prompt if judged == "prompt" else self.prompts.answer

    def known(self, judged: Judged) -> tuple[Category, ...]:
        """The categories that mean anything there."""
        return tuple(category for category in self.categories if judged in category.judges)

    def named(self, written: str) -> Category | None:
        """The category that the guard, or a policy, has written."""
        return self._names.get(written.casefold())

    @cached_property
    def _names(self) -> dict[str, Category]:
        names = {category.name.casefold(): category for category in self.categories}
        return names | {category.code.casefold(): category for category in self.categories}


def faults(guard: Format) -> Iterator[Remark]:
    """What is wrong with a format that its schema cannot tell."""
    if not guard.judges:
        yield Remark(("prompts",), "it has no prompt", "write one under `prompt`, under `answer`, or both")
    for judged in guard.judges:
        yield from _template_faults(guard, judged, guard.template(judged))
    yield from _grammar_faults(guard.verdict)
    yield from _category_faults(guard)
    for key in ("user", "answer"):
        if getattr(guard.turns, key).count("{text}") != 1:
            yield Remark(("turns", key), "a turn has its text once", "write {text} in it, once")
    if not guard.verified and not guard.remark:
        yield Remark(("verified",), "it does not say what is missing", "write that under `remark`")


def _template_faults(guard: Format, judged: Judged, template: Template) -> Iterator[Remark]:
    path = ("prompts", judged)
    if bool(template.raw) == bool(template.messages):
        yield Remark(path, "a prompt is either `raw` or `messages`", "write one of the two")
    elif bool(template.raw) != (guard.transport == "raw"):
        yield Remark(path, f"it does not fit `transport: {guard.transport}`", "`raw` is sent raw, `messages` as a chat")
    names = [name for text in template.texts for name in PLACEHOLDER.findall(text)]
    for name in dict.fromkeys(names):
        if name not in (*TEXTS, *OWN):
            yield Remark(path, f"{{{name}}} stands for nothing", f"known: {', '.join((*TEXTS, *OWN))}")
        elif names.count(name) > 1 and name in TEXTS:
            yield Remark(path, f"{{{name}}} stands there {names.count(name)} times", "write it once")
    has_turns = any(message.role == "conversation" for message in template.messages)
    wanted = "user" if judged == "prompt" else "answer"
    if not has_turns and "conversation" not in names and wanted not in names:
        yield Remark(path, "what is judged is not in it", f"write {{conversation}} or {{{wanted}}} where it belongs")
    if judged == "prompt" and "answer" in names:
        yield Remark(path, "there is no answer yet", "take {answer} out")


def _grammar_faults(grammar: Grammar) -> Iterator[Remark]:
    if bool(grammar.lines) == bool(grammar.json):
        yield Remark(("verdict",), "a reply is read by `lines` or by `json`", "write one of the two")
    if {Level.SAFE, Level.UNSAFE} - set(grammar.values.values()):
        yield Remark(("verdict", "values"), "`safe` and `unsafe` both need a word", "write the guard's words for them")
    if len({word.casefold() for word in grammar.values}) != len(grammar.values):
        yield Remark(("verdict", "values"), "two words differ only in capitals", "keep one of the two")
    for judged in JUDGED:
        names = _fields(grammar, judged)
        for name in names:
            if name not in FIELDS:
                yield Remark(("verdict", "lines"), f"{{{name}}} is no place in a reply", f"known: {', '.join(FIELDS)}")
        if len(set(names)) != len(names):
            yield Remark(("verdict",), "a place in a reply is given twice", "keep one of the two")
        if not {"verdict", judged} & set(names):
            yield Remark(("verdict",), f"no place has the verdict on the {judged}", "write {verdict} where it stands")


def _fields(grammar: Grammar, judged: Judged) -> list[str]:
    lines = [name for line in grammar.lines if judged in line.judges for name in PLACEHOLDER.findall(line.text)]
    return lines + [key.field for key in grammar.json if judged in key.judges]


def _category_faults(guard: Format) -> Iterator[Remark]:
    seen: set[str] = set()
    for i, category in enumerate(guard.categories):
        for word in {category.code.casefold(), category.name.casefold()}:
            if word in seen:
                yield Remark(("categories", i), f"a second category is called `{word}`", "rename one of the two")
            seen.add(word)
        for judged in category.judges:
            if guard.asks == "one" and not category.says(judged):
                yield Remark(("categories", i), f"its `text` is missing for the {judged}", "write what the prompt says")
    if guard.asks == "one" and "criterion" not in guard.placeholders:
        yield Remark(("prompts",), "a prompt for each category has to name it", "write {criterion} into the prompts")
    if not guard.categories:
        yield Remark(("categories",), "there is nothing that a rule could name", "write a category")
