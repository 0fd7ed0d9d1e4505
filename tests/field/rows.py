"""The cases from the field, one row each: what went wrong once, in a few words. `test_rows` compares them with
the tests.

f: real model servers and their clients; o: the door; l: load and time; n: an operator's trial; d: words and detectors;
r: a real Ollama behind the proxy; c: real clients.
"""

from __future__ import annotations

from typing import Final

ROWS: Final = {
    "f01": "two calls with index 0 became one",
    "f03": "two calls with index null were an error",
    "f05": "timings came in a chunk without choices",
    "f06": "finish reason error became stop",
    "f08": "a system message with a tool_addition was refused in every turn",
    "f11": "template arguments that are strings were refused",
    "f12": "samplers as letters were refused",
    "f19": "progress, timings and reasoning_format were left out",
    "d01": "names of files and services were taken for addresses",
    "d04": "a rewrite left JSON that does not parse",
    "d08": "a UUID was taken for a card",
    "d12": "a CSS class was taken for a key",
    "d14": "words were not found in scripts without spaces",
    "d16": "a word that ends with a vowel sign was not found",
    "d18": "a word with other vowel signs was found",
    "o03": "a probe without a Host was refused on the admin listener",
    "o11": "models whose names have spaces or other scripts were not listed",
    "l02": "comments without [DONE] kept a finished answer open",
    "l07": "an edit of a long word list with fold took seconds",
    "l08": "streams at full speed held up a slow one",
    "n01": "letters with spaces between were not found in long lists",
    "n02": "a phrase was not found over two spaces or a line break",
    "n03": "the address of a repository in an agent's call was rewritten",
    "n04": "a counter of failures began at its third",
    "n05": "a server that is no model server was said to be starting",
    "n06": "the suite failed after an edit of the shipped policies",
    "n07": "a notice began with line breaks where nothing was shown",
    "n08": "a sentence in a field for a signature passed unread",
    "n09": "of two errors in a rule only one was told",
    "n10": "LM Studio's stream ended with an error and no chat.end",
    "r01": "a parameter that the proxy added made Ollama load the model anew",
    "r02": "the last word of the thinking came after the answer had begun",
    "r03": "Codex was refused for its tools",
    "r04": "`/show info` of the ollama command was refused",
    "r05": "a missing model was not told in Ollama's words",
    "r06": "a chat was dead after a blocked prompt without an answer",
    "r07": "a model that runs elsewhere under an innocent name got prompts",
    "r08": "much was judged after a client had left",
    "r09": "the ollama command recommended cloud models",
    "r10": "a refusal gave the wrong reason",
    "r11": "a start without a rule on chat markers said nothing",
    "r12": "Ollama can lose its slot when a reader leaves",
    "c01": "Codex was unusable",
    "c02": "a chat was dead for ever after a blocked prompt or tool result",
    "c03": "clients lost the answer or printed thinking inside it",
    "c04": "Codex asked six times at a block",
    "c05": "a rewrite took a quote with it, in a file on disk",
    "c06": "a context length was left out without a word",
    "c07": "HEAD / was 415 in front of llama.cpp",
    "c08": "a toast told nothing of a refused document",
    "c09": "a block left broken JSON",
    "c10": "a refused prompt was told as a stopped answer",
    "c11": "Claude Code spoke of Anthropic's rules at a block",
}
