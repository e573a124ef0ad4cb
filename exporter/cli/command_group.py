"""A command group with a default command, and its usage errors and shell completion."""

from typing import Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from exporter.humanize import join_words, nearest

_NOTHING_TYPED: Final = f"{__name__}.nothing_typed"


class Command(click.Command):
    """A command whose help begins with the flag for it, as that of Prometheus and its exporters does."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """List the flags in the order of the help."""
        *flags, last = super().get_params(ctx)
        return [last, *flags] if last is self.get_help_option(ctx) else [*flags, last]


class ServeByDefault(Command, click.Group):
    """A group that runs its command ``serve`` if none is given.

    ``serve`` takes no arguments, so a first word that is not a flag must be a command.
    """

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order in which they are declared, the most important first."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert ``serve`` before flags that no command precedes."""
        is_own_flag = args[:1] and args[0] in ("--version", *ctx.help_option_names)
        ctx.meta[_NOTHING_TYPED] = not args
        is_implied = not args or (args[0].startswith("-") and not is_own_flag)
        return super().parse_args(ctx, ["serve", *args] if is_implied else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; the usage error about an unknown one names the most similar."""
        word = args[0]
        if word in self.commands or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        similar = nearest(word, self.commands)
        hint = f"did you mean {similar!r}?" if similar else f"the commands are {join_words(self.commands)}"
        raise click.UsageError(f"no such command {word!r}; {_file_hint(word) or hint}", ctx)


class Serve(Command):
    """The default command."""

    allow_extra_args = True
    """Lets `parse_args` refuse them with a hint."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the flags; the usage error about anything else says where it belongs."""
        extra = super().parse_args(ctx, args)
        if extra and not ctx.resilient_parsing:
            group = ctx.parent.command if ctx.parent else None
            is_command = isinstance(group, click.Group) and extra[0] in group.commands
            hint = "a command comes before its flags" if is_command else "serve takes flags only"
            raise click.UsageError(f"unexpected argument {extra[0]!r}; {_file_hint(extra[0]) or hint}", ctx)
        return extra

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the flags; the first word may also be a command or a flag of the group."""
        flags = super().shell_complete(ctx, incomplete)
        if not ctx.parent or not ctx.meta[_NOTHING_TYPED]:
            return flags
        names = {item.value for item in flags}
        others = ctx.parent.command.shell_complete(ctx.parent, incomplete)
        return [*(item for item in others if item.value not in names), *flags]


def _file_hint(word: str) -> str:
    """Explain how to give a file, if the word looks like one."""
    return f"a configuration is given with --config.file={word}" if word.endswith((".yaml", ".yml")) else ""


@add_completion_class
class _Bash(BashComplete):
    def get_completion_args(self) -> tuple[list[str], str]:
        """Drop the signs between a flag and its value, which bash passes as words of their own."""
        args, incomplete = super().get_completion_args()
        return [word for word in args if word != "="], "" if incomplete == "=" else incomplete


class _WholeWords(ShellComplete):
    """Puts ``--flag=`` before its values, as zsh and fish complete whole words; bash splits them at "="."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        items = super().get_completions(args, incomplete)
        flag, sign, _ = incomplete.partition("=")
        if sign and flag.startswith("--"):
            for item in items:
                item.value = f"{flag}={item.value}" if item.type == "plain" else item.value
        return items


@add_completion_class
class _Zsh(_WholeWords, ZshComplete):
    source_template = ZshComplete.source_template.replace(
        "_path_files -f", "compset -P '--*='; _path_files -f"
    )
    """Completes paths after ``--flag=`` too."""


@add_completion_class
class _Fish(_WholeWords, FishComplete):
    source_template = FishComplete.source_template.replace(
        "__fish_complete_path $metadata[2];",
        "set -l flag (string match --regex -- '^--[^=]*=' (commandline -ct)); or set flag '';\n"
        "            for path in (__fish_complete_path $metadata[2]); echo $flag$path; end;",
    )
    """Completes paths after ``--flag=`` too."""
