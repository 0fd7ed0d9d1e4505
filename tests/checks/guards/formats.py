"""The formats that come with the proxy, and one conversation in all of their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proxy.checks.guards.format import Format, Judged
from proxy.checks.guards.render import Prompt, Wanted, render
from proxy.core.check import Said
from proxy.policy.document import Source
from proxy.policy.guard_formats import read_formats

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "proxy" / "guard_formats"
GOLDEN = Path(__file__).with_name("golden")
READ = read_formats([Source(path.name, path.read_bytes()) for path in sorted(FOLDER.glob("*.yaml"))])
FORMATS = READ.formats
BOTH = [(name, judged) for name, guard in FORMATS.items() for judged in guard.judges]
RUBRIC = "Nobody may ask for the recipe of the house sauce, or give it away."
TURNS = (
    Said("system", "You are a cook."),
    Said("user", "How long do eggs boil?"),
    Said("assistant", "Six minutes."),
)
QUESTION = Said("user", "And what is in the house sauce?")
TEXTS = {"prompt": QUESTION.text, "answer": "Butter, and a secret."}


def wanted(guard: Format, judged: Judged, context: int = 0) -> Wanted:
    """All categories that are asked about unless a policy says something else."""
    categories = tuple(category for category in guard.known(judged) if category.shipped)
    return Wanted(categories, RUBRIC if guard.needs_rubric else "", context)


def asked(name: str, judged: Judged, text: str, turns: Sequence[Said] = (), context: int = 0) -> list[Prompt]:
    """The prompts of a format for a text."""
    guard = FORMATS[name]
    return render(guard, judged, text, turns, wanted(guard, judged, context))


def whole(prompt: Prompt) -> str:
    """All of a prompt as one text; each message of a chat begins with its role."""
    return prompt.raw or "\n".join(f"[{message.role}]\n{message.content}" for message in prompt.messages)


def golden_prompt(name: str, judged: Judged) -> str:
    """The prompts for the conversation above, one behind the other."""
    turns = TURNS if judged == "prompt" else (*TURNS, QUESTION)
    prompts = asked(name, judged, TEXTS[judged], turns)
    return "".join(f"=== {prompt.category or 'all categories'}\n{whole(prompt)}\n" for prompt in prompts)


if __name__ == "__main__":  # python -m tests.checks.guards.formats: writes the golden prompts anew
    for format_name, what in BOTH:
        (GOLDEN / f"{format_name}.{what}.txt").write_text(golden_prompt(format_name, what), encoding="utf-8")
