"""What real client packages show their users through the proxy, in every way to use them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import pytest

from tests.e2e.scripts import EMAIL, FORBIDDEN, FORBIDDEN_ARGUMENT, SCRIPTS
from tests.sdk import table
from tests.sdk.asking import CASES, LABEL, NOTICE, Dialect, Told, Way
from tests.sdk.conftest import Survey
from tests.sdk.scripted import ARGUMENTS, BEGINNING
from tests.sdk.ways import WAYS

pytestmark = pytest.mark.sdk

CASE: Final = {case.name: case for case in CASES}
SEEN: Final = f"{NOTICE} (policy house, request ID)"
"""A block as people read it."""
RAISES_AT_A_BLOCK: Final = frozenset({"openai-helper", "openai-async-helper"})
"""They raise ContentFilterFinishReasonError where the whole answer is asked for, after its text was shown."""


class Raised(NamedTuple):
    """Classes of exceptions: a blocked prompt, a server that dies midway, one that dies before the first byte."""

    prompt: str
    midway: str
    first: str


RAISED: Final = {
    "openai": Raised("BadRequestError", "APIError", "InternalServerError"),
    "anthropic": Raised("BadRequestError", "APIStatusError", "InternalServerError"),
    "ollama": Raised("ResponseError", "ResponseError", "ResponseError"),
    "langchain-openai": Raised("OpenAIInvalidRequestError", "APIError", "OpenAIAPIError"),
    "langchain-ollama": Raised("ResponseError", "ResponseError", "ResponseError"),
    "litellm": Raised("BadRequestError", "MidStreamFallbackError", "BadGatewayError"),
    "litellm ollama_chat": Raised("BadRequestError", "BadRequestError", "BadGatewayError"),
    "node openai": Raised("BadRequestError", "APIError", "InternalServerError"),
    "node @anthropic-ai/sdk": Raised("BadRequestError", "APIError", "InternalServerError"),
    "node ollama": Raised("ResponseError", "Error", "ResponseError"),
    "node ai": Raised("APICallError", "plain object", "RetryError"),
}
TELLS_CODES: Final = ("openai", "langchain-openai", "node openai", "node ai")
"""Their errors carry OpenAI's `code`; litellm's does at a blocked prompt only."""
ASKS_AGAIN: Final = frozenset(RAISED) - {"ollama", "langchain-ollama", "litellm ollama_chat", "node ollama"}
"""They ask three times where a server fails before anything was shown. Who speaks Ollama's own API asks once."""


def ways(of: Iterable[Way] = WAYS) -> pytest.MarkDecorator:
    """A test for each."""
    return pytest.mark.parametrize("way", list(of), ids=lambda way: str(way.name))


def client(way: Way) -> str:
    """The package, npm's apart from PyPI's, and litellm's two providers apart."""
    if way.client == "litellm" and way.dialect is Dialect.OLLAMA:
        return "litellm ollama_chat"
    return f"node {way.client}" if way.node else way.client


def reason(way: Way, told: Told) -> str | None:
    """Why the answer ended. The AI SDK has OpenAI's words with hyphens."""
    return told.reason.replace("-", "_") if told.reason and way.client == "ai" else told.reason


def code(way: Way, expected: str) -> str | None:
    """The code that the package's exception has, if it takes it over."""
    return expected if client(way) in TELLS_CODES else None


@ways()
def test_a_clean_answer(surveyed: Survey, way: Way) -> None:
    """What no rule minds is shown to the letter, also where characters were cut between tokens."""
    told = surveyed.told(way, CASE["clean"])
    assert (told.text, told.error, told.asked) == (SCRIPTS["emoji"].text, None, 1)
    assert reason(way, told) == way.dialect.clean


@ways(way for way in WAYS if way.tools)
def test_a_tool_call(surveyed: Survey, way: Way) -> None:
    """A tool call is there with its name and its arguments, and the reason says so."""
    told = surveyed.told(way, CASE["tool"])
    assert told.calls == [("get_weather", ARGUMENTS["tool-clean"])]
    assert (told.text, told.error, told.asked) == ("", None, 1)
    assert reason(way, told) == ("tool_calls" if way.client == "litellm" else way.dialect.called)


@ways()
def test_a_rewrite(surveyed: Survey, way: Way) -> None:
    """An address is replaced, and nothing else is different from a clean answer."""
    told = surveyed.told(way, CASE["rewrite"])
    assert (told.text, told.error, told.asked) == (SCRIPTS["mail"].text.replace(EMAIL, LABEL), None, 1)
    assert reason(way, told) == way.dialect.clean


@ways()
def test_a_block_in_the_answer(surveyed: Survey, way: Way) -> None:
    """The text before the forbidden phrase, the notice, and the dialect's word for a block; asked once."""
    told = surveyed.told(way, CASE["blocked"])
    before, _, _ = SCRIPTS["bad"].text.partition(FORBIDDEN)
    assert told.text == f"{before}\n\n{SEEN}"
    assert_blocked(way, told)


@ways(way for way in WAYS if way.tools)
def test_a_block_in_a_tool_call(surveyed: Survey, way: Way) -> None:
    """Nothing of the call is there, so nothing is carried out; the notice is shown; asked once."""
    told = surveyed.told(way, CASE["blocked-tool"])
    assert told.calls == []
    assert told.text == SEEN
    assert FORBIDDEN_ARGUMENT not in str(told)
    assert_blocked(way, told)


def assert_blocked(way: Way, told: Told) -> None:
    """The reason is the dialect's word for a block, and nobody asks again. One helper raises instead."""
    assert told.asked == 1
    if way.name in RAISES_AT_A_BLOCK:
        assert told.error == "ContentFilterFinishReasonError"
    else:
        assert (reason(way, told), told.error) == (way.dialect.blocked, None)


@ways()
def test_a_block_of_the_prompt(surveyed: Survey, way: Way) -> None:
    """The package's exception for a bad request, with the notice in it and OpenAI's code; asked exactly once."""
    told = surveyed.told(way, CASE["blocked-prompt"])
    assert (told.error, told.status) == (RAISED[client(way)].prompt, 400)
    assert told.code == ("content_filter" if client(way) == "litellm" else code(way, "content_filter"))
    assert SEEN in told.message
    assert (told.text, told.calls, told.asked) == ("", [], 1)


@ways(way for way in WAYS if way.streams)
def test_a_model_server_that_dies_midway(surveyed: Survey, way: Way) -> None:
    """What was shown stays, an exception says what happened, and nobody asks again: the answer is not made whole."""
    told = surveyed.told(way, CASE["dies-midway"])
    assert (told.text, told.asked) == (BEGINNING, 1)
    assert told.error == RAISED[client(way)].midway
    assert told.code == code(way, "upstream_truncated")
    assert "broke off" in told.message
    assert reason(way, told) in (None, "error")


@ways(way for way in WAYS if not way.streams)
def test_a_model_server_that_dies_midway_while_somebody_waits_for_the_whole(surveyed: Survey, way: Way) -> None:
    """Nothing was shown yet, so packages that ask again at a 502 do; then an exception says what happened."""
    told = surveyed.told(way, CASE["dies-midway"])
    assert (told.text, told.error) == ("", RAISED[client(way)].first)
    assert told.status == (-1 if way.name == "langchain-ollama-whole" else 502)  # it streams, whatever it is asked
    assert told.code == code(way, "upstream_truncated")
    assert "broke off" in told.message
    assert told.asked == (3 if client(way) in ASKS_AGAIN else 1)


@ways()
def test_a_model_server_that_dies_before_the_first_byte(surveyed: Survey, way: Way) -> None:
    """The package's exception for a 502, after as many requests as it makes by default."""
    told = surveyed.told(way, CASE["dies-first"])
    assert (told.text, told.error, told.status) == ("", RAISED[client(way)].first, 502)
    assert told.code == code(way, "upstream_protocol")
    assert "model server" in told.message
    assert told.asked == (3 if client(way) in ASKS_AGAIN else 1)


@ways()
def test_not_one_character(surveyed: Survey, way: Way) -> None:
    """In nothing that any client tells of any case is what the policy disallows."""
    for case in filter(way.takes, CASES):
        shown = str(surveyed.told(way, case))
        assert not any(secret in shown for secret in (FORBIDDEN, FORBIDDEN_ARGUMENT, EMAIL, "FORB", "lovelace"))


@pytest.mark.parametrize("name", table.TABLES)
def test_the_document_is_current(surveyed: Survey, name: str) -> None:
    """Each table has exactly the rows that were seen now; those of Node are only compared where Node is."""
    cases = table.TABLES[name]
    stands = [line for line in table.written(name) if not (surveyed.node_missing and "(Node)" in line)]
    assert stands == [*table.head(cases), *table.rows(surveyed.results, cases)], "run: python tools/clients_table.py"
