"""docs/command-line.md: the help texts, at a fixed width."""

from collections.abc import Iterator

import click

from tools.reference.markdown import fence, page

PROGRAM = "codearts-build-exporter"
WIDTH = 100
VARIABLE = "_CODEARTS_BUILD_EXPORTER_COMPLETE"
COMPLETION = f"""\
eval "$({VARIABLE}=bash_source {PROGRAM})"             # ~/.bashrc
eval "$({VARIABLE}=zsh_source {PROGRAM})"              # ~/.zshrc
{VARIABLE}=fish_source {PROGRAM} | source              # ~/.config/fish/config.fish
"""


def help_of(group: click.Group, name: str = "") -> str:
    """Return what ``--help`` prints for the program, or for one of its commands."""
    context = click.Context(group, info_name=PROGRAM, **{**group.context_settings, "terminal_width": WIDTH})
    if not name:
        return group.get_help(context)
    return group.commands[name].get_help(click.Context(group.commands[name], parent=context, info_name=name))


def commands_page(group: click.Group) -> str:
    """Render the page."""
    return page(*_blocks(group))


def _blocks(group: click.Group) -> Iterator[str]:
    yield "# Command line"
    yield (
        f"`{PROGRAM}` without a command is `{PROGRAM} serve`, and `python -m exporter` is the same program. "
        "Exit codes: 0 success, 1 failure, 2 wrong usage or configuration."
    )
    yield fence(help_of(group))
    yield "## Completion in the shell"
    yield "A line in the shell's start-up file enables completion of commands, flags, their values and files:"
    yield fence(COMPLETION, "sh")
    yield (
        "Each new shell then starts the program once. To avoid that, write its output to a file and source "
        "the file instead. Bash must be 4.4 or newer. In zsh, the line comes after `compinit`."
    )
    for name in group.commands:
        yield f"## {name}"
        yield fence(help_of(group, name))
