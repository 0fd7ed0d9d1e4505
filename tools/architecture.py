"""Puts the drawing of the components and three walks into docs/architecture.md: `python -m tools.architecture`.

The drawing is made from the imports, the walks are traced (`tools.walks`), so neither can say what is not so. With
--print the page goes to standard output instead.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from tools import walks

PAGE = Path(__file__).parent.parent / "docs" / "architecture.md"
PROXY = Path(__file__).parent.parent / "proxy"
BEGIN, END = "<!-- python -m tools.architecture: {} begins -->", "<!-- {} ends -->"
WIDTH = 100  # columns of the drawing

Graph = Mapping[str, frozenset[str]]
"""What each component imports of the others."""

PROMPT = {
    "server/http/connection.py": "Bytes of a client. llhttp, through uvicorn, reads the head.",
    "server/http/cycle.py": "The head becomes an ASGI scope; the body is collected.",
    "server/routing/router.py": "May this Host and this web page call? Which row of the table is it?",
    "server/http/request.py": "The request as all handlers see it, under every ASGI server.",
    "server/routing/routes.py": "The table of all paths.",
    "server/handlers/guarded.py": "The exchange begins. Every way in which it can end is in `run`.",
    "server/exchange/policies.py": "It takes a snapshot of the policies in force, and keeps it.",
    "policy/store.py": "The set in force.",
    "server/exchange/timeouts.py": "From now on time-outs and the client's leaving are watched.",
    "server/ops/metrics.py": "The exchange is counted.",
    "dialects/openai/chat.py": "`parse`: bytes become a Request.",
    "dialects/wire/json_body.py": "JSON without keys that come twice.",
    "dialects/common/request_fields.py": "The allow-list: each key is passed, judged, left out or refused.",
    "dialects/common/request_texts.py": "The texts to be judged, and which of them are new.",
    "dialects/openai/request.py": "The dialect's own list, and where its texts are.",
    "dialects/openai/tools.py": "Tools and schemas: their texts are judged as well.",
    "dialects/common/limits.py": "What the operator has to allow: cloud models, model control, token probabilities.",
    "policy/plan.py": "Which checks go with which role and model.",
    "server/exchange/prompt_filter.py": "The texts are judged: they pass, are rewritten, or the prompt is refused.",
    "dialects/request.py": "`Request` and its texts, which all dialects share.",
    "dialects/answer.py": "`Answer`, which all dialects share.",
    "server/models/cloud_models.py": "Does the model run on another machine? Then the prompt is refused.",
    "core/guard.py": "The guard of the answer to come.",
    "dialects/openai/message.py": "The answer to come, put together for a client that does not stream.",
    "dialects/openai/chunk_stream.py": "The answer to come, as a stream of chunks.",
    "dialects/wire/sse.py": "Its parser of server-sent events.",
    "server/upstream/client.py": "The request to the model server: our own headers, the body written anew.",
    "server/upstream/transport.py": "An idle connection of the pool, or a new one.",
    "server/upstream/http1.py": "The head and the body as bytes.",
    "server/upstream/connection.py": "Written to the socket.",
}
"""What happens in each file."""

TOKEN = {
    "server/upstream/connection.py": "The socket's callback: bytes of the model server have come.",
    "server/upstream/http1.py": "llhttp takes the framing off: a chunk of the response's body.",
    "server/handlers/relay.py": "`_on_data` gets the body's bytes, still in that callback.",
    "dialects/answer.py": "`Answer.take` cuts them into events.",
    "dialects/wire/skeleton.py": "This event differs from the one before in its text alone, so its text is cut out.",
    "core/guard.py": "The text goes to the gate of its channel: one field of one choice.",
    "core/gate.py": "The gate gives the text to the checks, and asks how far everything is decided.",
    "matching/transition_cache.py": "Has this token been read in this state before? Then where it led is known.",
    "matching/scan.py": "It has not: the automata read it, character by character, and the cache learns it.",
    "server/http/request.py": "`try_write`: what is decided may go out, the event's own bytes if nothing was changed.",
    "server/http/cycle.py": "A chunk for the client, written to its socket.",
}
"""What happens in each file."""

POLICY_EDIT = {
    "server/ops/policy_watcher.py": "The directory has changed (a watch, a poll), or SIGHUP asks: look at it.",
    "policy/file_store.py": "One load at a time, in a thread. At its end the new replaces the old, or nothing does.",
    "policy/store.py": "What is read, and compiled so that the event loop runs on.",
    "policy/files.py": "Every file of the directory, read as one whole.",
    "policy/compile.py": "From files to a set: one load, with all its problems.",
    "policy/document.py": "Bytes with a name; then their text, and nodes of YAML that know their line and column.",
    "policy/reader.py": "Nodes become the types of the schema; every problem is collected.",
    "policy/rulespecs.py": "A rule of the file becomes a rule of the matcher.",
    "policy/file_compiler.py": "One file becomes a policy.",
    "policy/rule_compiler.py": "What has not changed since the last load is not compiled again.",
    "matching/pauses.py": "Between two rules the event loop gets its turn.",
    "matching/compiled.py": "One rule is compiled: its automaton, and its hold (the most characters that wait for it).",
    "core/types.py": "What a rule is: policy, id, action.",
    "matching/syntax.py": "A pattern becomes a tree. What cannot be matched exactly in a stream is refused.",
    "matching/reader.py": "Flags, escapes and character classes of a pattern.",
    "matching/charsets.py": "Sets of characters, as Python's `re` means them.",
    "matching/nfa.py": "The tree becomes an automaton that holds only what can still match.",
    "matching/limits.py": "How many matches can be open at once: a pattern that would cost too much is refused.",
    "policy/plan.py": "Which checks go with which texts.",
    "policy/examples.py": "Each rule's examples and inserted texts are tried. If one fails, the edit is rejected.",
    "matching/matcher.py": "All rules together are one check.",
    "matching/program.py": "What a scan needs of them: the automata, and what each rule wants done.",
    "matching/lazy_dfa.py": "All patterns as one automaton. Its states are built when text first leads to them.",
    "matching/scan.py": "The scan reads the example.",
    "matching/transition_cache.py": "What its chunks lead to is kept, as in a stream.",
    "core/gate.py": "The example goes through a gate, as an answer would.",
    "matching/report.py": "Matches that overlap become one finding.",
    "policy/policyset.py": "The policies, immutable, with their revision.",
    "server/runtime.py": "The store tells its listeners.",
    "server/ops/metrics.py": "The load is counted; `policy_info` shows the new revision.",
    "server/exchange/policies.py": "The next exchange takes a snapshot of the new set; those that run keep theirs.",
}
"""What happens in each file. A file that is not here is described by its own first sentence."""


# The imports


def components(package: Path) -> Graph:
    """The components of a package: folders, and modules beside them."""
    return {name: imported(files, package) - {name} for name, files in sources(package).items()}


def sources(package: Path) -> dict[str, list[Path]]:
    """The files of each component. What only starts the package (`__init__`, `__main__`) is none."""
    found: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*.py")):
        component = path.relative_to(package).with_suffix("").parts[0]
        if not component.startswith("__"):
            found.setdefault(component, []).append(path)
    return found


def imported(files: Sequence[Path], package: Path) -> frozenset[str]:
    """The components of the package that these files import."""
    prefix = ".".join(package.relative_to(PROXY.parent).parts) + "."
    known = sources(package)
    names = {name for file in files for name in imports_of(file) if name.startswith(prefix)}
    return frozenset(name.removeprefix(prefix).split(".")[0] for name in names) & frozenset(known)


def imports_of(file: Path) -> Iterator[str]:
    """Every module that a file imports; of `from a import b` also `a.b`, which may be one."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def levels(graph: Graph) -> list[list[str]]:
    """The components by level, the highest first: each stands as low as its imports let it."""
    height: dict[str, int] = {}

    def climb(name: str) -> int:
        if name not in height:
            height[name] = 1 + max(map(climb, graph[name]), default=-1)
        return height[name]

    for name in graph:
        climb(name)
    return [sorted(n for n in graph if height[n] == level) for level in range(max(height.values()), -1, -1)]


def direct(graph: Graph) -> Graph:
    """The graph without arrows that follow from others: a -> c where a -> b -> c."""
    return {name: frozenset(i for i in found if not follows(name, i, graph)) for name, found in graph.items()}


def follows(name: str, other: str, graph: Graph) -> bool:
    """Whether one component reaches another by way of a third."""
    return any(between != other and reaches(between, other, graph) for between in graph[name])


def reaches(name: str, other: str, graph: Graph) -> bool:
    """Whether a component imports another, itself or through others."""
    return name == other or any(reaches(between, other, graph) for between in graph[name])


# The drawing


def drawing() -> str:
    """All components, the highest level first. Arrows point at imports, less those that follow from other arrows."""
    graph = components(PROXY)
    arrows = direct(graph)
    return "\n".join(beside([box(name, arrows[name]) for name in level]) for level in levels(graph))


def box(name: str, arrows: frozenset[str]) -> list[str]:
    """A component as lines of text. Folders in it are drawn inside, a line for each of their levels."""
    content = [to(arrows).strip() or "imports none of these", *inside(PROXY / name)]
    width = max(len(name) + 2, *map(len, content))
    return [
        f"┌ {name} {'─' * (width - len(name))}┐",
        *(f"│ {line:<{width}} │" for line in content),
        f"└{'─' * (width + 2)}┘",
    ]


def inside(folder: Path) -> list[str]:
    """The levels of a package that has folders; empty for one that has none."""
    if not any(path.is_dir() and path.name != "__pycache__" for path in folder.glob("*")) or folder.name == "policies":
        return []
    graph = components(folder)
    arrows = direct(graph)
    return ["", *(",  ".join(name + to(arrows[name]) for name in level) for level in levels(graph))]


def to(arrows: frozenset[str]) -> str:
    """The arrows as text."""
    return f" -> {', '.join(sorted(arrows))}" if arrows else ""


def beside(boxes: Sequence[list[str]]) -> str:
    """Boxes side by side, as many in a row as fit."""
    row: list[list[str]] = []
    done: list[str] = []
    for one in boxes:
        if row and sum(len(box[0]) + 1 for box in row) + len(one[0]) > WIDTH:
            done.append(joined(row))
            row = []
        row.append(one)
    return "\n".join([*done, joined(row)])


def joined(row: Sequence[list[str]]) -> str:
    """One row of boxes."""
    widths = [len(box[0]) for box in row]
    lines = zip_longest(*row, fillvalue="")
    return "\n".join(
        " ".join(f"{part:<{width}}" for part, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


# The walks


def walk(files: Sequence[str], sentences: Mapping[str, str]) -> str:
    """A numbered list: each file with what happens in it."""
    return "\n".join(
        f"{number}. [{file}](../proxy/{file}): {sentences.get(file) or first_sentence(file)}"
        for number, file in enumerate(files, 1)
    )


def first_sentence(file: str) -> str:
    """How a file begins."""
    text = ast.get_docstring(ast.parse((PROXY / file).read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."


# The page


def updated(page: str) -> str:
    """The page with its four parts as they are now."""
    prompt, token, edit = walks.prompt(), walks.token(), walks.policy_edit()
    page = replaced(page, "drawing", f"```\n{drawing()}\n```")
    page = replaced(page, "prompt", walk(prompt, PROMPT))
    page = replaced(page, "token", walk(token, TOKEN))
    return replaced(page, "edit", walk(edit, POLICY_EDIT))


def replaced(page: str, part: str, text: str) -> str:
    """The page with another text between the marks of a part."""
    begin, end = BEGIN.format(part), END.format(part)
    before, _, rest = page.partition(f"{begin}\n")
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{PAGE.name} has no part between {begin!r} and {end!r}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.architecture", description=__doc__)
    parser.add_argument("--print", dest="show", action="store_true", help="to standard output, not into the page")
    show: bool = parser.parse_args().show
    page = updated(PAGE.read_text("utf-8"))
    if show:
        sys.stdout.write(page)
    else:
        PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
