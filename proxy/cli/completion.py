"""`safety-proxy completion SHELL`: a static script, made from the grammar of the command line.

Static, because a script that asks the program (as argcomplete's does) starts Python at each Tab: a tenth of a second
and more. It is made anew by the installed program, so it fits its version. Files are completed where no flag begins.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

Commands = Mapping[str, argparse.ArgumentParser]

BASH = """\
# safety-proxy completion bash > /etc/bash_completion.d/safety-proxy
_safety_proxy() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands} --help --version"
    else
        case ${{COMP_WORDS[1]}} in
{cases}
        esac
        case $word in
            -*) ;;
            *) COMPREPLY=($(compgen -f -- "$word")); return ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o filenames -F _safety_proxy safety-proxy
"""
ZSH = """\
#compdef safety-proxy
# safety-proxy completion zsh > ~/.zfunc/_safety-proxy, with ~/.zfunc in fpath
autoload -U +X bashcompinit && bashcompinit
"""
FISH_HEAD = "# safety-proxy completion fish > ~/.config/fish/completions/safety-proxy.fish\n"


def script(shell: str, commands: Commands) -> str:
    """The script for `bash`, `zsh` or `fish`."""
    if shell == "fish":
        return FISH_HEAD + _fish(commands)
    text = BASH.format(commands=" ".join(commands), cases="\n".join(_cases(commands)))
    return text if shell == "bash" else ZSH + text.partition("\n")[2]


def _cases(commands: Commands) -> list[str]:
    return [f'            {name}) words="{" ".join(flags(parser))}" ;;' for name, parser in commands.items()]


def flags(parser: argparse.ArgumentParser) -> list[str]:
    """The long flags of a command."""
    return [option for option in parser._option_string_actions if option.startswith("--")]


def _fish(commands: Commands) -> str:
    lines = []
    for name, parser in commands.items():
        about = (parser.description or "").partition(".")[0].replace("'", "\\'")
        lines.append(f"complete -c safety-proxy -n __fish_use_subcommand -f -a {name} -d '{about}'")
        given = f"'__fish_seen_subcommand_from {name}'"
        lines += [f"complete -c safety-proxy -n {given} -l {flag.removeprefix('--')}" for flag in flags(parser)]
    return "\n".join(lines) + "\n"
