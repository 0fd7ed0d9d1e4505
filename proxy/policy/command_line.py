"""The grammar of the commands that work on policies without a server. What they do is in `commands`.

That file and all that it needs are imported when one of them runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from proxy.core.types import Direction, Kind

if TYPE_CHECKING:
    from proxy.checks.registry import Registry

Run = Callable[[argparse.Namespace], int]
Find = Callable[[argparse.Namespace], "Registry"]
"""Finds the kinds of checks that rules can name, for a parsed command line."""


Ask = Callable[[argparse.Namespace, Sequence[Hashable]], Mapping[Hashable, object]]
"""Asks those who know: guards, services. Gives the answers by question."""


def no_plugins(args: argparse.Namespace) -> Registry:
    """The kinds that come with the proxy."""
    from proxy.checks.registry import BUILT_IN_ONLY

    return BUILT_IN_ONLY


def add_commands(commands: argparse._SubParsersAction[Any], find: Find = no_plugins, ask: Ask | None = None) -> None:
    """Add the commands to the program's own; each sets `run`, a function from the parsed arguments to the exit code.
    Without `ask` nobody is asked."""
    known = set(commands.choices)
    _add(commands, _check, "check", "say whether the policies in a directory can be loaded, and what is wrong")
    _add(commands, _test, "test", "run the examples that the policies carry")
    _add_explain(commands)
    replays = _add(commands, _replay, "replay", "show what policies would do with recorded texts")
    replays.add_argument(
        "--against", metavar="OTHER_DIR", type=Path, help="the policies to compare with (default: what the records say)"
    )
    replays.add_argument(
        "file", metavar="FILE.jsonl", type=Path, help='a line: a JSON string, {"text": ...}, or a record'
    )
    for name in set(commands.choices) - known:
        commands.choices[name].set_defaults(find=find, ask=ask)


def _add(commands: argparse._SubParsersAction[Any], run: Run, name: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about.capitalize() + ".")
    parser.add_argument("directory", metavar="DIR", type=Path, help="the directory of policies")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument("--plugins", metavar="DIR", default=argparse.SUPPRESS, help="the setting plugins")
    parser.add_argument("--config", metavar="FILE", help="settings file, for the setting plugins")
    parser.set_defaults(run=run)
    return parser


def _add_explain(commands: argparse._SubParsersAction[Any]) -> None:
    from proxy.policy.schema import Alignment, Role

    parser = _add(commands, _explain, "explain", "show what each rule sees in a text, and what becomes of it")
    parser.add_argument("text", metavar="TEXT", nargs="*", help="the text; left out: standard input")
    parser.add_argument("--direction", type=Direction, choices=list(Direction), default=Direction.OUTPUT)
    parser.add_argument("--channel", type=Kind, choices=list(Kind), default=Kind.CONTENT)
    parser.add_argument("--role", choices=get_args(Role), help="input: whose text it is")
    parser.add_argument("--system", default="", metavar="TEXT", help="output: the system text of the request")
    parser.add_argument("--model", default="", help="name of the model")
    parser.add_argument("--key", help="name of the API key")
    parser.add_argument("--alignment", choices=get_args(Alignment), default="unknown")
    parser.add_argument("--no-guards", action="store_true", help="ask no model and no service")


def _check(args: argparse.Namespace) -> int:
    from proxy.policy.commands import check

    return check(args)


def _test(args: argparse.Namespace) -> int:
    from proxy.policy.commands import test

    return test(args)


def _explain(args: argparse.Namespace) -> int:
    from proxy.policy.commands import explain

    return explain(args)


def _replay(args: argparse.Namespace) -> int:
    from proxy.policy.commands import replay

    return replay(args)
