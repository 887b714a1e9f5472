"""Completion of commands and options for a shell, written from the parser itself.

Decides: the scripts. Must never: know a command or an option that the parser does not have.
"""

import argparse
from typing import Final, NamedTuple


class Completed(NamedTuple):
    """One command: what it does, and the words that may follow it."""

    name: str
    help: str
    words: list[str]


_BASH: Final = """\
_fillwright() {{
  local words
  case "${{COMP_WORDS[1]}}" in
{cases}
    *) words="" ;;
  esac
  [ "$COMP_CWORD" -eq 1 ] && words="{commands}"
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _fillwright fillwright
"""
_ZSH: Final = """\
#compdef fillwright
_fillwright() {{
  local -a commands
  commands=({commands})
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case "$words[2]" in
{cases}
  esac
  _files
}}
if [ "$funcstack[1]" = _fillwright ]; then _fillwright "$@"; else compdef _fillwright fillwright; fi
"""


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    commands = commands_of(parser)
    match shell:
        case "bash":
            cases = "\n".join(f'    {each.name}) words="{" ".join(each.words)}" ;;' for each in commands)
            return _BASH.format(cases=cases, commands=" ".join(each.name for each in commands))
        case "zsh":
            cases = "\n".join(f"    {each.name}) compadd -- {' '.join(each.words)} ;;" for each in commands)
            return _ZSH.format(cases=cases, commands=" ".join(_quoted(f"{each.name}:{each.help}") for each in commands))
        case _:
            return "".join(_fish(each) for each in commands)


def _fish(command: Completed) -> str:
    what = f"complete -c fillwright -n __fish_use_subcommand -f -a {command.name} -d {_quoted(command.help)}\n"
    after = f"complete -c fillwright -n '__fish_seen_subcommand_from {command.name}'"
    lines = [f"{after} -l {word[2:]}\n" if word.startswith("--") else f"{after} -a {word}\n" for word in command.words]
    return what + "".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "’") + "'"  # noqa: RUF001 - a quote that ends no quoting in any of the shells


def commands_of(parser: argparse.ArgumentParser) -> list[Completed]:
    """Every command of the parser, in its order."""
    choosing = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {action.dest: action.help or "" for action in choosing._choices_actions}
    return [Completed(name, helps[name], _words(command)) for name, command in choosing.choices.items()]


def _words(command: argparse.ArgumentParser) -> list[str]:
    words: list[str] = []
    for action in command._actions:
        words += [option for option in action.option_strings if option.startswith("--")]
        if not action.option_strings:
            words += [str(choice) for choice in action.choices or ()]
        if isinstance(action, argparse._SubParsersAction):
            words += [word for nested in action.choices.values() for word in _words(nested)]
    return list(dict.fromkeys(words))
