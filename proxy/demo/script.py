"""The demo model's answers. A word in the user's last message picks one."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from hashlib import sha512
from typing import NamedTuple

MODEL = "demo"
PIECE = re.compile(r"\s*\S{1,5}|\s+")  # about as long as a language model's tokens are


class ScriptedAnswer(NamedTuple):
    """An answer, the words that pick it, and a prompt with one of them."""

    keywords: tuple[str, ...]
    prompt: str
    answer: str


def _sample_key() -> str:
    """A key of the right form that nobody ever issued. It is put together here, so no scanner finds one in the code."""
    letters = string.ascii_letters + string.digits
    return "ghp" + "_" + "".join(letters[byte % len(letters)] for byte in sha512(b"demo").digest()[:36])


ANSWERS = (
    ScriptedAnswer(
        ("mail", "contact", "address"),
        "Whom do I mail about the garden fair?",
        "The garden fair is run by Bob. Write to bob.miller@example.com before Friday, and he will keep a table "
        "for you. Bring your own cloth and a sign with your name.",
    ),
    ScriptedAnswer(
        ("key", "token", "deploy"),
        "Show me how to deploy with a key.",
        "Put the key into the environment and start the deployment:\n\n"
        f"    export GITHUB_TOKEN={_sample_key()}\n"
        "    ./deploy.sh --to staging\n\nNever put it into a file that is committed.",
    ),
    ScriptedAnswer(
        ("project", "secret", "zorblax"),
        "What is the secret project about?",
        "There are several projects in the house. The one that nobody may talk about is Project Zorblax, "
        "and it moves to the new building in March with all of its people.",
    ),
)
HELP = ScriptedAnswer(
    (),
    "Hello!",
    "Hello! I am the demo model: there is no language model behind me, only a few answers that I know by heart. "
    "Try one of these and watch what the proxy makes of it:\n\n"
    + "".join(f"  - {scene.prompt}\n" for scene in ANSWERS)
    + "\nTo use a real model, start Ollama or LM Studio and then the proxy again, or give it --upstream.",
)


def answer_for(message: str) -> ScriptedAnswer:
    """The first answer with a keyword in the message, or HELP."""
    lowered = message.lower()
    return next((scene for scene in ANSWERS if any(word in lowered for word in scene.keywords)), HELP)


def tokens(answer: str) -> Iterator[str]:
    """The answer in pieces, as a model would send it. Joined they are the answer."""
    return (match[0] for match in PIECE.finditer(answer))
