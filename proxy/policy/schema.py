"""The types of a policy file. The reader, the JSON Schema and docs/policies.md all follow from them.

A new key is one more field here, and a line in docs/policies.md.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from proxy.checks.built_in import Ending, Except, Fold, Hosts, MaxHold, Only, OnOverflow, Regions, Repetition
from proxy.core.types import Direction, Kind

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
Text = Annotated[str, Meta(min_length=1, max_length=100_000)]
Alignment = Literal["instruct", "base", "unaligned", "unknown"]
Role = Literal["system", "user", "assistant", "tool"]
Mode = Literal["enforce", "monitor"]
History = Literal["replace", "block"]
Images = Literal["allow", "refuse"]


class AppliesTo(Struct, frozen=True, forbid_unknown_fields=True):
    """To what a policy applies. All keys that are given must hold; a key left out holds always."""

    models: Annotated[tuple[Text, ...], Meta(min_length=1, description="names of models, `*` and `?` allowed")] = ()
    alignment: Annotated[tuple[Alignment, ...], Meta(min_length=1, description="what the model is known to be")] = ()
    keys: Annotated[tuple[Text, ...], Meta(min_length=1, description="names of API keys")] = ()
    directions: Annotated[tuple[Direction, ...], Meta(min_length=1, description="default: both")] = ()
    roles: Annotated[tuple[Role, ...], Meta(min_length=1, description="input: whose messages; default: all")] = ()
    channels: Annotated[tuple[Kind, ...], Meta(min_length=1, description="which texts; default: all")] = ()


class SystemPrompt(Struct, frozen=True, forbid_unknown_fields=True):
    """The operator's own words, added to every request to which the policy applies."""

    prepend: Annotated[str, Meta(max_length=100_000, description="stands before the client's system text")] = ""
    append: Annotated[str, Meta(max_length=100_000, description="stands after the client's system text")] = ""


NO_REPETITION = Repetition(max=0)


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on each text of an answer (content, reasoning, the arguments of one tool call)."""

    max_output_characters: Annotated[int, Meta(ge=1, le=1_000_000_000, description="the text ends there")] = 0
    repetition: Annotated[Repetition, Meta(description="ends a model stuck in a loop")] = NO_REPETITION
    stop_at_markers: Annotated[
        Literal["never", "no_template", "always"],
        Meta(description="ends the text before a turn's marker: never, if the model has no chat template, always"),
    ] = "never"


class Replacement(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in place of a rewritten span, when it is not a fixed text. Exactly one of the keys."""

    mask: Annotated[
        str, Meta(min_length=1, max_length=1, description="one character, repeated for each hidden one")
    ] = ""
    hash: Annotated[bool, Meta(description="equal values get equal tags within a conversation")] = False


class Messages(Struct, frozen=True, forbid_unknown_fields=True):
    """The notices of a rule, when they are not the same. At least one of the keys; the other has the default."""

    prompt: Annotated[str, Meta(max_length=2_000, description="where the rule refuses a prompt")] = ""
    answer: Annotated[str, Meta(max_length=2_000, description="where the rule ends an answer")] = ""


class Examples(Struct, frozen=True, forbid_unknown_fields=True):
    """The tests of a rule. Run at several chunkings when it is new or has changed; one that fails refuses the load."""

    hits: Annotated[tuple[Text, ...], Meta(description="texts in which the rule finds something")] = ()
    misses: Annotated[tuple[Text, ...], Meta(description="texts in which it finds nothing")] = ()
    becomes: Annotated[dict[str, str], Meta(description="text: what is left of it after this rule")] = {}


class RuleSpec(Struct, frozen=True, forbid_unknown_fields=True, rename={"except_": "except"}):
    """One rule: what to find, by exactly one of the keys that say so, and what to do with it."""

    id: Annotated[Name, Meta(description="unique in the file: metric label, log key, name in tests")]
    action: Annotated[Literal["flag", "rewrite", "block"], Meta(description="what happens to a match")]
    words: Annotated[tuple[Text, ...], Meta(min_length=1, description="whole words, any case")] = ()
    words_file: Annotated[str, Meta(min_length=1, description="a .txt file beside this one, one entry a line")] = ""
    pattern: Annotated[str, Meta(min_length=1, description="in the syntax of Python's re")] = ""
    detector: Annotated[str, Meta(min_length=1, description="a pattern that comes with the proxy, by name")] = ""
    only: Only = ()
    except_: Except = ()
    regions: Regions = ()
    hosts: Hosts = ()
    check: Annotated[str, Meta(min_length=1, description="a check by name; `safety-proxy checks` lists them")] = ""
    options: Annotated[dict[str, Any], Meta(description="of a check")] = {}
    characters: Annotated[dict[str, Any], Meta(description="short for `check: characters` with these options")] = {}
    http: Annotated[dict[str, Any], Meta(description="short for `check: http` with these options")] = {}
    judge: Annotated[dict[str, Any], Meta(description="short for `check: judge` with these options")] = {}
    topic: Annotated[dict[str, Any], Meta(description="short for `check: topic` with these options")] = {}
    outside: Annotated[Literal["", "code"], Meta(description="code: what lies in code of Markdown is left alone")] = ""
    fold: Fold = False
    match: Ending = "longest"
    max_hold: MaxHold = 256
    on_overflow: OnOverflow = "release"
    replacement: Annotated[str | Replacement, Meta(description="rewrite: what stands in a match's place")] = "[removed]"
    message: Annotated[
        Annotated[str, Meta(max_length=2_000)] | Messages, Meta(description="block: the notice that the user reads")
    ] = ""
    directions: Annotated[tuple[Direction, ...], Meta(min_length=1, description="default: the policy's")] = ()
    roles: Annotated[tuple[Role, ...], Meta(min_length=1, description="input: whose messages; default: all")] = ()
    examples: Annotated[Examples, Meta(description="the rule's own tests")] = Examples()


class PolicyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A policy: one file."""

    version: Annotated[Literal[1], Meta(description="version of this format")]
    policy: Annotated[Name, Meta(description="its name, unique among the loaded files")]
    description: Annotated[str, Meta(description="for people")] = ""
    mode: Annotated[Mode, Meta(description="monitor: decide, count and log, but change nothing")] = "enforce"
    applies_to: Annotated[AppliesTo, Meta(description="to what it applies; default: everything")] = AppliesTo()
    on_error: Annotated[Literal["block", "allow"], Meta(description="when a check itself fails")] = "block"
    history: Annotated[History, Meta(description="what a block in an earlier message does to a request")] = "replace"
    images: Annotated[Images, Meta(description="pictures and audio in prompts, which nobody reads here")] = "allow"
    system_prompt: Annotated[SystemPrompt, Meta(description="text added to requests")] = SystemPrompt()
    limits: Annotated[Limits, Meta(description="bounds on answers")] = Limits()
    rules: Annotated[tuple[RuleSpec, ...], Meta(description="in order: the first one names a merged span")] = ()


DATE = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"
DIGEST = r"^(sha256:)?[0-9a-f]{12,64}$"
SHORT = ("characters", "http", "judge", "topic")  # kinds of checks whose name can be the key of their options
SOURCES = ("words", "words_file", "pattern", "detector", "check", *SHORT)  # of a rule: exactly one


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, for editors."""
    schema = msgspec.json.schema(PolicyFile)
    definitions = schema["$defs"]
    for definition in definitions.values():
        for key in definition.get("properties", {}).values():
            if not key.get("default"):
                key.pop("default", None)  # says no more than "left out"
    for key in definitions["PolicyFile"]["properties"].values():
        if isinstance(key.get("default"), dict):
            del key["default"]
    definitions["RuleSpec"]["oneOf"] = [{"required": [source]} for source in SOURCES]
    return {"$schema": SCHEMA_ID, "title": "safety-proxy policy", **schema}


def json_schema_text() -> str:
    """The shipped file, character for character."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
