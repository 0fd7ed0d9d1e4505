"""Opaque blobs: what has their form, what their bytes spell, and how a request's fields for them are judged."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.types import Kind
from proxy.dialects.common.opaque import LEAST, decoded_text, is_blob, opaque_texts, with_spelled
from proxy.dialects.common.request_texts import nested_texts
from proxy.dialects.request import InputText, Request

SENTENCE = "The blue heron stands in the river and waits."
NOISE = bytes(range(128, 256)) * 2


def blob(data: bytes) -> str:
    """Bytes as a blob."""
    return base64.b64encode(data).decode()


@given(st.binary(min_size=24, max_size=400), st.booleans())
def test_bytes_in_base64_are_a_blob(data: bytes, padded: bool) -> None:
    """Either alphabet of RFC 4648, with or without padding."""
    for text in (blob(data), base64.urlsafe_b64encode(data).decode()):
        assert is_blob(text if padded else text.rstrip("="))


@pytest.mark.parametrize(
    "text",
    ["", "ZORBLAXIUM", "A" * (LEAST - 1), SENTENCE, "ab" * 20 + ".", "é" * 40, "=" * 40, "A" * 40 + "===", "A" * 41],
)
def test_other_texts_are_none(text: str) -> None:
    """A word in capitals is valid base64, but too short; words with blanks or points between them have another form."""
    assert not is_blob(text)
    assert decoded_text(text) == ""


@given(st.text(min_size=24, max_size=200).filter(lambda text: text.isprintable()))
def test_text_in_a_blob_is_found_whole(text: str) -> None:
    """What was encoded as UTF-8 is read back, character for character."""
    assert decoded_text(blob(text.encode())) == text


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_text_between_bytes_is_found(before: bytes, after: bytes) -> None:
    """A sentence between bytes that spell nothing stands in what is read."""
    assert SENTENCE in decoded_text(blob(before + b"\xff\x00" + SENTENCE.encode() + b"\x00\xff" + after))


def test_bytes_that_spell_nothing() -> None:
    """There is nothing to judge in them."""
    assert decoded_text(blob(NOISE)) == ""


def test_a_field_with_a_sentence_is_one_text() -> None:
    """Plain text is judged as reasoning; what a rule changes in it is changed, and the rest is kept."""
    block = {"signature": SENTENCE}
    (text,) = opaque_texts(SENTENCE, "assistant", "messages[1].content[0].signature", block, "signature")
    assert (text.text, text.kind, text.role) == (SENTENCE, Kind.REASONING, "assistant")
    text.put("The [X] stands.")
    assert block == {"signature": "The [X] stands."}


def test_a_blob_is_judged_as_it_stands_and_as_what_it_spells() -> None:
    """Both texts are reasoning, and nothing joins them with what is thought or said."""
    sealed = blob(SENTENCE.encode())
    texts = opaque_texts(sealed, "assistant", "messages[1].content[0].data", {"data": sealed}, "data")
    assert [text.text for text in texts] == [sealed, SENTENCE]
    assert all(text.kind is Kind.REASONING and text.is_name for text in texts)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1,)])
def test_a_blob_whose_spelling_a_rule_changes_is_emptied(order: tuple[int, ...]) -> None:
    """No part of it comes back, whatever else is put in its place, before or after."""
    block = {"data": blob(SENTENCE.encode())}
    texts = opaque_texts(block["data"], "assistant", "p", block, "data")
    for i in order:
        texts[i].put("[X]")
    assert block == {"data": ""}


def test_blobs_inside_nested_json() -> None:
    """A field for a blob is found at any depth; a blob under another key is a text like any other."""
    value = {"results": [{"encrypted_content": blob(SENTENCE.encode()), "id": blob(SENTENCE.encode())}]}
    texts = with_spelled(nested_texts(value, "tool", "content"))
    assert [text.text for text in texts if text.thought] == [blob(SENTENCE.encode()), SENTENCE]
    next(text for text in texts if text.text == SENTENCE).put("")
    assert value == {"results": [{"encrypted_content": "", "id": blob(SENTENCE.encode())}]}


def test_a_signature_is_no_beginning_of_the_thinking() -> None:
    """Thinking that the client gives is what the answer's thinking is judged from; its signature is not."""
    thought = InputText("assistant", "I think", "messages[1].content[0].thinking", {}, "thinking")
    sealed = opaque_texts("c2ln", "assistant", "messages[1].content[0].signature", {}, "signature")
    request = Request("m", {}, "/", texts=[thought, *sealed])
    assert request.prefills() == {Kind.REASONING: "I think"}
