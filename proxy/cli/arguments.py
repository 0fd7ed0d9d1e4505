"""The command line: its grammar, made from the table of settings, and how a failure looks.

Exit codes: 0 done; 1 a policy or an example is wrong (check, test, explain, replay), a model is not what it has to be
(models --require, audit --fail-under), something is wrong (doctor), or a guard failed a case (conformance); 2 the start
failed; 130 an audit was interrupted.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from proxy import __version__
from proxy.errors import PolicyError, SettingsError
from proxy.policy.command_line import add_commands
from proxy.settings import FILE_NAME, ROWS, flag, nearest

if TYPE_CHECKING:
    from proxy.checks.registry import Registry

EXAMPLES = """examples:
  safety-proxy serve                              find Ollama or LM Studio and stand in front of it
  safety-proxy serve --upstream localhost:8080    in front of this model server
  safety-proxy demo                               see a rewrite and a block, without a model
  safety-proxy init my-policies                   a directory of policies of your own
  safety-proxy models                             what each model claims to be, and why
  safety-proxy audit MODEL                        does it refuse what it should, and answer the rest?
  safety-proxy config                             which settings would be in force, and why
  safety-proxy doctor                             what a start would stumble over, and what to do
  safety-proxy explain policies "some text"       what each rule sees in it

Every flag of serve is also a variable SAFETY_PROXY_* and a key of safety-proxy.toml."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # argparse has no public name for it


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake raises SettingsError instead of printing usage, and flags cannot be abbreviated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        raise SettingsError(f"{message} ({self.prog} --help shows what is taken)")


def grammar() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the whole command, and those of its commands by name."""
    top: argparse.ArgumentParser = Parser(
        prog="safety-proxy",
        description="A guard between chat apps and a model on your own machine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=__version__)
    commands: Commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _add_settings(commands, "serve", "start the proxy", _serve)
    _add_demo(commands)
    _add_init(commands)
    _add_models(commands)
    _add_audit(commands)
    _add_settings(commands, "config", "show the settings in force, and where each came from", _config)
    _add_settings(commands, "doctor", "look at all that a start needs, and say what to do", _doctor)
    _add_completion(commands)
    add_commands(commands, _registry, _ask)
    _add_key(commands)
    _add_pause(commands)
    _add_store(commands)
    _add_checks(commands)
    _add_new_check(commands)
    _add_conformance(commands)
    return top, commands.choices


def _add_models(commands: Commands) -> None:
    about = "say what each model claims to be, why, and which policies apply to it"
    command = _add_settings(commands, "models", about, _models)
    command.add_argument("--json", action="store_true", help="print JSON for programs")
    command.add_argument(
        "--require", choices=["instruct"], help="exit code 1 if a model that answers in text is not such"
    )


def _add_audit(commands: Commands) -> None:
    about = "ask a model prompts that it should refuse and prompts that it should answer, and count"
    command = _add_settings(commands, "audit", about, _audit)
    command.add_argument(
        "model", metavar="MODEL", nargs="*", help="as `safety-proxy models` lists it; several: compared"
    )
    for name, metavar, default, text in AUDIT_VALUES:
        shown = f" (default: {default})" if default else ""
        command.add_argument(name, metavar=metavar, default=default or None, help=text + shown)
    command.add_argument("--system", metavar="TEXT", default="", help="a system prompt before each prompt")
    command.add_argument("--and-policies", metavar="DIR", action="append", default=[], help="more policies, compared")
    command.add_argument("--format", choices=["chat", "completion"], help="how to ask (default: as the model claims)")
    for name, text in AUDIT_SWITCHES:
        command.add_argument(name, action="store_true", help=text)


AUDIT_VALUES = (
    ("--prompts", "FILE", "", "CSV or JSON lines with your prompts (default: the 120 that come with it)"),
    ("--out", "DIR", "audit", "where the results and reports are"),
    ("--proxy", "URL", "", "ask through this proxy that runs, not through the policies in this process"),
    ("--repeats", "N", "1", "how often each prompt is asked"),
    ("--temperature", "T", "0", "of the answers"),
    ("--seed", "N", "1", "of the first repeat, each later one has the next; none: the model server chooses"),
    ("--max-tokens", "N", "512", "of an answer"),
    ("--concurrency", "N", "1", "requests at once"),
    ("--timeout", "SECONDS", "600", "for one answer"),
    ("--patience", "SECONDS", "600", "for a model server that does not answer"),
    ("--report", "FILE", "", "ask nothing: report the results.jsonl of an audit anew"),
    ("--corrections", "FILE", "", "what a person has said of the answers, as the page saves it"),
    (
        "--fail-under",
        "PERCENT",
        "",
        "exit code 1 if less is refused where it should be, or answered where it should be",
    ),
)
AUDIT_SWITCHES = (
    ("--direct", "only without the policies (default: both)"),
    ("--guarded", "only through the policies"),
    ("--resume", "go on with the audit that is in the directory"),
    ("--json", "print JSON for programs"),
)


def _add_settings(commands: Commands, name: str, about: str, run: Callable[..., int]) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=about, description=f"{about.capitalize()}.")
    command.set_defaults(run=run)
    command.add_argument("--config", metavar="FILE", help=f"settings file (default: {FILE_NAME}, if there is one)")
    for setting, row in ROWS.items():
        about = row.metadata["help"] + f" (default: {row.metadata['default']})"
        shape: dict[str, Any] = {"metavar": row.metadata["metavar"], "help": about.replace("%", "%%")}
        if shape["metavar"] == "BOOL":
            shape |= {"nargs": "?", "const": "true"}
        command.add_argument(flag(setting), default=argparse.SUPPRESS, **shape)
    return command


def _add_completion(commands: Commands) -> None:
    about = "print a shell's completion of this command"
    command = commands.add_parser("completion", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(run=_completion)
    command.add_argument("shell", choices=("bash", "zsh", "fish"), help="for which shell")


def _add_demo(commands: Commands) -> None:
    about = "show the raw stream beside the guarded one, in this terminal"
    command = commands.add_parser("demo", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(run=_demo)
    command.add_argument(
        "--speed", metavar="TIMES", default="1", help="times the pace of a reader; 0: at once (default: 1)"
    )
    command.add_argument("--policies", metavar="DIR", help="the policies to show (default: those of the demo)")
    command.add_argument("prompt", nargs="*", metavar="PROMPT", help="what to ask (default: the demo's own prompts)")


def _add_init(commands: Commands) -> None:
    about = "write a directory of policies of your own, from those that come with the proxy"
    command = commands.add_parser("init", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(run=_init)
    command.add_argument("directory", metavar="DIR", nargs="?", help="where to; it is made if it is not there")
    command.add_argument(
        "names", metavar="POLICY", nargs="*", help="which ones (default: asks on a terminal, else those of the default)"
    )
    command.add_argument("--all", action="store_true", help="all of them")
    command.add_argument("--list", action="store_true", help="say which there are, and write nothing")


def _add_checks(commands: Commands) -> None:
    about = "list the kinds of checks that rules can name, with their options"
    command = commands.add_parser("checks", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(run=_checks, find=_registry)
    command.add_argument("--json", action="store_true", help="print JSON for programs")
    command.add_argument("--plugins", metavar="DIR", default=argparse.SUPPRESS, help="the setting plugins")
    command.add_argument("--config", metavar="FILE", help="settings file, for the setting plugins")


def _add_new_check(commands: Commands) -> None:
    about = "write a package with a check of your own: it works, and has its test, a policy and a README"
    command = commands.add_parser("new-check", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(run=_new_check)
    command.add_argument("name", metavar="NAME", help="of the check: small letters, digits and _")
    command.add_argument("directory", metavar="DIR", nargs="?", help="where to (default: a new directory NAME)")


def _add_key(commands: Commands) -> None:
    about = "make a key for a client, and its entry for the file of keys"
    command = commands.add_parser("key", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(run=_key)
    command.add_argument("action", metavar="new", choices=("new",), help="what to do")
    command.add_argument("name", metavar="NAME", help="of the key: letters, digits, `_`, `.` and `-`")
    command.add_argument("--admin", dest="for_admin", action="store_true", help="it opens the admin listener too")
    command.add_argument("--scrape", dest="for_scrape", action="store_true", help="it opens /metrics, and nothing else")
    command.add_argument("--expires", metavar="DATE", help="the last day on which it is valid, such as 2027-01-31")
    command.add_argument("--write", action="store_true", help="add the entry to the file of keys (setting keys)")
    command.add_argument("--keys", metavar="FILE", default=argparse.SUPPRESS, help="the setting keys")
    command.add_argument("--config", metavar="FILE", help="settings file, for the setting keys")


def _add_conformance(commands: Commands) -> None:
    about = "put any guard to the test: what leaks through it, and what it breaks"
    command = commands.add_parser("conformance", help=about, description=f"{about.capitalize()}.")
    command.set_defaults(run=_conformance)
    command.add_argument("--target", metavar="URL", help="the guard; its model server has to be the one of --listen")
    command.add_argument(
        "--dialect", metavar="NAMES", default="openai", help="openai, ollama, anthropic, ... or all (default: openai)"
    )
    command.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default="127.0.0.1:9300",
        help="of the scripted model server (default: %(default)s)",
    )
    command.add_argument("--policy-hint", metavar="FILE", help="write the four rules as a policy of this proxy")
    command.add_argument("--cases", metavar="DIR", action="append", default=[], help="more cases; can be repeated")
    command.add_argument("--header", metavar="HEADER", action="append", default=[], help="'NAME: VALUE' for the guard")
    command.add_argument(
        "--patience", metavar="SECONDS", default="10", help="in which the guard has to go on (default: 10)"
    )
    command.add_argument("--wait", metavar="SECONDS", default="60", help="for the guard to be there (default: 60)")
    command.add_argument("--no-timing", action="store_true", help="leave out how long it takes")
    command.add_argument("--json", metavar="FILE", help="write the results for programs")
    command.add_argument("--junit", metavar="FILE", help="write JUnit's XML")
    command.add_argument("--html", metavar="FILE", help="write a page with a row for each case")


def _add_pause(commands: Commands) -> None:
    about = "refuse all generation, and end what runs, until `safety-proxy resume`"
    pause = commands.add_parser("pause", help=about, description=f"{about.capitalize()}.")
    pause.set_defaults(run=_pause)
    pause.add_argument("--message", metavar="TEXT", default="", help="what clients are told")
    about = "serve again after `safety-proxy pause`"
    resume = commands.add_parser("resume", help=about, description=f"{about.capitalize()}.")
    resume.set_defaults(run=_resume)
    for command in (pause, resume):
        command.add_argument("--admin", metavar="HOST:PORT", default=argparse.SUPPRESS, help="the setting admin")
        command.add_argument("--config", metavar="FILE", help="settings file, for admin, admin_key, tls_certificate")


def _add_store(commands: Commands) -> None:
    about = "export, import, prune or forget the stored records of exchanges"
    command = commands.add_parser("store", help=about, description=f"{about.capitalize()}.")
    actions: Commands = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser("export", help="write all records as lines of JSON, the oldest first")
    export.add_argument("file", metavar="FILE", nargs="?", default="-", help="a new file (default: standard output)")
    bring = actions.add_parser("import", help="store records from such lines, or from a decision log")
    bring.add_argument("files", metavar="FILE", nargs="+", help="- is the standard input")
    prune = actions.add_parser("prune", help="delete what is older or more than the settings allow, now")
    forget = actions.add_parser("forget", help="delete all records of a key, a request or a trace")
    forget.add_argument("--key", metavar="NAME", default="", help="the name of the key")
    forget.add_argument("--request", metavar="ID", default="", help="the id that the user sees")
    forget.add_argument("--trace", metavar="ID", default="", help="the trace_id of the records (traceparent)")
    for action in (export, bring, prune, forget):
        action.set_defaults(run=_store)
        for name in ("store", "state_dir", "store_days", "store_bytes"):
            metavar = ROWS[name].metadata["metavar"]
            action.add_argument(flag(name), metavar=metavar, default=argparse.SUPPRESS, help=f"the setting {name}")
        action.add_argument("--config", metavar="FILE", help="settings file, for these settings")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line. Raises SettingsError for an unknown command or flag, with the nearest known one."""
    top, commands = grammar()
    if argv and not argv[0].startswith("-") and argv[0] not in commands:
        raise SettingsError(f"{argv[0]} is not a command{nearest(argv[0], commands)} (safety-proxy --help lists them)")
    found, unknown = top.parse_known_args(argv)
    if unknown and getattr(found, "text", None) == [] and not any(word.startswith("-") for word in unknown):
        found.text, unknown = unknown, []  # argparse takes a list of words for empty if a flag comes before it
    if unknown:
        raise SettingsError(_unknown(unknown[0], commands.get(found.command, top)))
    if found.command is None:
        top.print_help()
        raise SystemExit(0)
    return found


def _unknown(argument: str, command: argparse.ArgumentParser) -> str:
    name = argument.partition("=")[0]
    if not name.startswith("-"):
        return f"{name!r} is one argument too many ({command.prog} --help shows what is taken)"
    return f"{name} is not a flag{nearest(name, command._option_string_actions)} ({command.prog} --help lists them)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Each problem is one line on stderr, without a traceback."""
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
        code: int = args.run(args)
        return code
    except PolicyError as error:
        problems = error.problems
    except SettingsError as error:
        problems = [str(error)]
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail too
        return 0
    for problem in problems:
        print(f"safety-proxy: {problem}", file=sys.stderr)
    return 2


# Each command imports what it needs when it runs: --help should not wait for a web server to load.


def _serve(args: argparse.Namespace) -> int:
    gc.disable()  # all that a start loads stays. `settle_memory` of proxy.server.app turns it on again
    try:
        from proxy.cli.serve import serve

        return serve(args)
    finally:
        gc.enable()


def _demo(args: argparse.Namespace) -> int:
    from proxy.cli.demo import demo

    return demo(args)


def _init(args: argparse.Namespace) -> int:
    from proxy.cli.init import init

    return init(args)


def _registry(args: argparse.Namespace) -> Registry:
    from proxy.cli.config import effective_settings
    from proxy.startup.plugins import find_registry

    return find_registry(effective_settings(args).settings)


def _ask(args: argparse.Namespace, questions: Sequence[Hashable]) -> Mapping[Hashable, object]:
    from proxy.cli.ask import ask

    return ask(args, questions)


def _checks(args: argparse.Namespace) -> int:
    from proxy.cli.checks import checks

    return checks(args)


def _new_check(args: argparse.Namespace) -> int:
    from proxy.cli.new_check import new_check

    return new_check(args)


def _models(args: argparse.Namespace) -> int:
    from proxy.cli.models import models

    return models(args)


def _audit(args: argparse.Namespace) -> int:
    from proxy.cli.audit import audit

    return audit(args)


def _key(args: argparse.Namespace) -> int:
    from proxy.cli.key import key

    return key(args)


def _store(args: argparse.Namespace) -> int:
    from proxy.cli.store import store

    return store(args)


def _pause(args: argparse.Namespace) -> int:
    from proxy.cli.pause import pause

    return pause(args)


def _resume(args: argparse.Namespace) -> int:
    from proxy.cli.pause import resume

    return resume(args)


def _conformance(args: argparse.Namespace) -> int:
    from proxy.cli.conformance import conformance

    return conformance(args)


def _config(args: argparse.Namespace) -> int:
    from proxy.cli.config import show

    return show(args)


def _doctor(args: argparse.Namespace) -> int:
    from proxy.cli.doctor import doctor

    return doctor(args)


def _completion(args: argparse.Namespace) -> int:
    from proxy.cli.completion import script

    print(script(args.shell, grammar()[1]), end="")
    return 0
