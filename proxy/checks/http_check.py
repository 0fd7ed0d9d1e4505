"""`check: http`: a service over HTTP looks at the text. What is asked and what an answer means; nobody is asked here.

The wire format is docs/http-check.openapi.yaml; `adapter: presidio` speaks that of Presidio's analyzer (POST /analyze).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from proxy.checks.asking import AskingRule, Pieces, Splitter, Spot, Whole
from proxy.checks.kinds import CheckKind, Remark
from proxy.checks.segments import Segmenter
from proxy.core.check import Said, Turn
from proxy.core.types import Action, Rule

Act = Literal["flag", "rewrite", "block", "ignore"]
Adapter = Literal["", "presidio"]
_ACTIONS: Mapping[str, Action] = {"flag": Action.FLAG, "rewrite": Action.REWRITE, "block": Action.BLOCK}


class HttpOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of `http`."""

    url: Annotated[str, Meta(min_length=8, max_length=2000, description="where the text is posted to")]
    name: Annotated[
        str, Meta(pattern=r"^[a-z][a-z0-9_\-]{0,63}$", description="what metrics and the log call the service")
    ] = "http"
    timeout: Annotated[float, Meta(ge=0.01, le=600, description="seconds for an answer, the wait for a turn too")] = 5.0
    hold: Annotated[
        Annotated[str, Meta(pattern="^(sentence|whole)$")] | Annotated[int, Meta(ge=1, le=100_000)],
        Meta(description="what is judged at a time: sentence, whole, or a number of characters"),
    ] = "sentence"
    context: Annotated[int, Meta(ge=0, le=100_000, description="characters of what was said before to send along")] = 0
    parallel: Annotated[
        bool,
        Meta(description="prompts: asked while the model reads them; nothing of its answer is sent before"),
    ] = False
    beside: Annotated[int, Meta(ge=1, le=1000, description="questions that are under way at once")] = 8
    actions: Annotated[
        dict[str, Act], Meta(description="by label of a finding: what is done, no more than the rule's action")
    ] = {}
    adapter: Annotated[Adapter, Meta(description="whose wire format the service speaks, if not the proxy's own")] = ""
    language: Annotated[str, Meta(min_length=2, max_length=8, description="presidio: of the text")] = "en"
    min_score: Annotated[float, Meta(ge=0, le=1, description="presidio: findings below it are left out")] = 0.5


@dataclass(frozen=True, slots=True)
class HttpService:
    """Who is asked. timeout: seconds. beside: questions under way at once."""

    name: str
    url: str
    timeout: float = 5.0
    beside: int = 8


class HttpQuestion(NamedTuple):
    """What is asked. Who asks is added by whoever sends it. body: as JSON will have it, without that."""

    service: HttpService
    adapter: Adapter
    policy: str
    direction: str
    channel: str
    role: str
    text: str
    before: str
    context: tuple[Said, ...]
    language: str

    def body(self, request_id: str, model: str, key: str | None) -> dict[str, Any]:
        """The JSON of the request."""
        if self.adapter == "presidio":
            return {"text": self.text, "language": self.language}
        return {
            "version": 1,
            "request_id": request_id,
            "policy": self.policy,
            "direction": self.direction,
            "channel": self.channel,
            "role": self.role,
            "model": model,
            "key": key,
            "text": self.text,
            "before": self.before,
            "context": [{"role": said.role, "text": said.text} for said in self.context],
        }


@dataclass(frozen=True, slots=True)
class HttpQuestions:
    """What a rule of the kind asks, and how it reads the answers (see Questions)."""

    service: HttpService
    options: HttpOptions
    policy: str
    actions: Mapping[str, Action | None] = field(default_factory=dict)

    @property
    def hold(self) -> int | None:
        """The most characters that wait for the end of a segment."""
        hold = self.options.hold
        return hold - 1 if isinstance(hold, int) else None if hold == "whole" else Segmenter().hold

    def split(self) -> Splitter:
        """As `hold` says."""
        hold = self.options.hold
        return Pieces(hold) if isinstance(hold, int) else Whole() if hold == "whole" else Segmenter()

    def question(self, turn: Turn, before: str, text: str) -> HttpQuestion | None:
        """Nobody has to be asked about white space."""
        if not text.strip():
            return None
        most = self.options.context
        before = _sound(before[-most:]) if most else ""
        said = tuple(_last(turn.conversation, most - len(before)))[::-1]
        place = (turn.direction.value, turn.kind.value, turn.role)
        return HttpQuestion(
            self.service, self.options.adapter, self.policy, *place, _sound(text), before, said, self.options.language
        )

    def spots(self, text: str, reply: object) -> Iterable[Spot]:
        """What an answer says. Raises ValueError."""
        for start, end, label in self._found(reply):
            action = self.actions.get(label, NO_ACTION)
            if action is None:
                continue
            yield Spot(start, end, None if action is NO_ACTION else action)

    def _found(self, reply: object) -> Iterator[tuple[int, int, str]]:
        if self.options.adapter == "presidio":
            return _presidio(reply, self.options.min_score)
        findings = reply.get("findings") if isinstance(reply, dict) else None
        if not isinstance(findings, list):
            raise ValueError("there is no list of `findings` in it")
        return (_finding(one, "label") for one in findings)


NO_ACTION: Any = object()
_LONE = re.compile("[\ud800-\udfff]")


def _presidio(reply: object, least: float) -> Iterator[tuple[int, int, str]]:
    if not isinstance(reply, list):
        raise ValueError("it is no list")
    for one in reply:
        found = _finding(one, "entity_type")
        score = one.get("score", 1.0)
        if not isinstance(score, int | float) or isinstance(score, bool):
            raise ValueError("a finding has a score that is no number")
        if score >= least:
            yield found


def _finding(one: object, label: str) -> tuple[int, int, str]:
    if not isinstance(one, dict):
        raise ValueError("a finding is no object")
    start, end, named = one.get("start"), one.get("end"), one.get(label, "")
    if type(start) is not int or type(end) is not int:
        raise ValueError("a finding has no `start` and `end` that are numbers")
    if not isinstance(named, str):
        raise ValueError(f"a finding has a `{label}` that is no text")
    return start, end, named


def _sound(text: str) -> str:
    """The text without lone surrogates, which JSON cannot say: as many characters."""
    return text if text.isascii() else _LONE.sub("\ufffd", text)


def _last(conversation: Iterable[Said], most: int) -> Iterator[Said]:
    """The last texts of a conversation, the newest first, of the last one its end: so many characters."""
    for said in reversed(tuple(conversation)):
        if most <= 0:
            return
        yield Said(said.role, _sound(said.text[-most:]))
        most -= len(said.text)


def _make(rule: Rule, options: HttpOptions) -> AskingRule:
    service = HttpService(options.name, options.url, options.timeout, options.beside)
    actions = {label: _ACTIONS.get(act) for label, act in options.actions.items()}
    questions = HttpQuestions(service, options, rule.name, actions)
    return AskingRule(rule, options.name, questions, parallel=options.parallel).with_actions(actions.values())


def _remarks(options: HttpOptions) -> Iterator[Remark | None]:
    try:
        url = urlsplit(options.url)
        host, _ = url.hostname or "", url.port
    except ValueError:
        yield Remark(("url",), "it is no URL", "write http://host:port/path")
        return
    if url.scheme not in ("http", "https") or not host:
        yield Remark(("url",), "only http:// and https:// can be asked", "write http://host:port/path")
    elif url.username or url.password:
        yield Remark(("url",), "a policy is no place for a password", "let the service trust the proxy's address")
    elif not _is_here(host):
        message = f"people's texts are sent to {host}"
        yield Remark(("url",), message, "leave the rule out if that is not meant", is_hint=True)
    if options.adapter == "presidio" and options.context:
        yield Remark(("context",), "Presidio takes no context", "remove it")


def _is_here(host: str) -> bool:
    """Whether a host is this machine, as far as its name tells."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


HTTP = CheckKind(
    "http",
    "a service over HTTP that looks at the text; docs/http-checks.md",
    _make,
    HttpOptions,
    remarks=_remarks,
)
