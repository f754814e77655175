"""`completion`: print a script that completes the commands in a shell, made from their parsers."""

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

PURPOSE = "Print a script that completes the commands in your shell."
EXAMPLES = (
    "completion bash >> ~/.bashrc",
    "completion zsh >> ~/.zshrc",
)
SHELLS = ("bash", "zsh")

ZSH = """\
autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
"""
# Where there are no words, the shell completes names of files.
SCRIPT = """\
_batchpush() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command= option= words= at first=1
    COMPREPLY=()
    if [[ ${{COMP_WORDS[0]##*/}} != batchpush ]]; then
        [[ "${{COMP_WORDS[*]:1:2}}" == "-m batchpush" ]] && ((COMP_CWORD > 2)) || return 0
        first=3
    fi
    for ((at = first; at < COMP_CWORD; at++)); do
        case ${{COMP_WORDS[at]}} in
            {commands}) command=${{COMP_WORDS[at]}} && break ;;
        esac
    done
    for ((at = COMP_CWORD - 1; at > first; at--)); do
        [[ ${{COMP_WORDS[at]}} == -* ]] && option=${{COMP_WORDS[at]}} && break
    done
    case "$command $option" in
        {lists}) [[ $current == -* ]] && option= ;;
        *) ((COMP_CWORD - at > 1)) && option= ;;
    esac
    case "$command" in
{words}
    esac
    case "$command $option" in
{values}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return 0
}}
complete -o default -F _batchpush python python3 batchpush
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash or zsh")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell; zsh runs the one for bash."""
    commands = commands_of(parser)
    words = {"": [*commands, *_options(parser)]}
    values: dict[str, Sequence[str]] = {}
    lists: list[str] = []
    for name, command in commands.items():
        words[name] = [*_options(command), *_choices_of_arguments(command)]
        for action in actions_of(command):
            valued = () if action.nargs == 0 else action.option_strings
            values |= {f"{name} {option}": _choices(action) for option in valued}
            lists += [f"{name} {option}" for option in valued if action.nargs == "+"]
    text = SCRIPT.format(
        commands="|".join(commands),
        lists="|".join(map(shlex.quote, lists)),
        words="\n".join(_rows(words)),
        values="\n".join(_rows(values)),
    )
    return (ZSH if shell == "zsh" else "") + text


def _rows(words: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The branches of a `case`."""
    for key, each in words.items():
        yield f"        {shlex.quote(key)}) words={shlex.quote(' '.join(each))} ;;"


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands by their names."""
    (commands,) = (each.choices for each in actions_of(parser) if isinstance(each.choices, dict))
    return commands


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # argparse has no public name for them


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [text for each in actions_of(parser) for text in each.option_strings if len(text) > 2]


def _choices_of_arguments(parser: argparse.ArgumentParser) -> list[str]:
    arguments = (each for each in actions_of(parser) if not each.option_strings)
    return [choice for each in arguments for choice in _choices(each)]


def _choices(action: argparse.Action) -> list[str]:
    return [str(each.value if isinstance(each, Enum) else each) for each in action.choices or ()]
