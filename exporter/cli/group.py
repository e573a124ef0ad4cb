"""A program whose command may be left out: usage errors and shell completion that know so."""

from typing import Final

import click
from click.shell_completion import CompletionItem, FishComplete, ZshComplete, add_completion_class

from exporter.config.problems import join_words, nearest

_NOTHING_TYPED: Final = f"{__name__}.nothing_typed"


class ServeByDefault(click.Group):
    """A group that runs its command ``serve`` if none is given.

    ``serve`` takes no arguments, so a first word that is not a flag is meant as a command.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``serve`` before flags that no command precedes."""
        own = args[:1] and args[0] in ("--version", *ctx.help_option_names)
        ctx.meta[_NOTHING_TYPED] = not args
        implied = not args or (args[0].startswith("-") and not own)
        return super().parse_args(ctx, ["serve", *args] if implied else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a usage error about a word that is none names the nearest."""
        word = args[0]
        if word in self.commands or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        meant = nearest(word, self.commands)
        hint = f"did you mean {meant!r}?" if meant else f"the commands are {join_words(self.commands)}"
        raise click.UsageError(f"no such command {word!r}; {_as_file(word) or hint}", ctx)


class Serve(click.Command):
    """The command that may be left out."""

    allow_extra_args = True
    """So that `parse_args` gets to refuse them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the flags; a usage error about anything else says where it belongs."""
        extra = super().parse_args(ctx, args)
        if extra and not ctx.resilient_parsing:
            group = ctx.parent.command if ctx.parent else None
            known = isinstance(group, click.Group) and extra[0] in group.commands
            hint = "a command stands before its flags" if known else "serve takes flags only"
            raise click.UsageError(f"unexpected argument {extra[0]!r}; {_as_file(extra[0]) or hint}", ctx)
        return extra

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the flags; the first word may also be a command or a flag of the group."""
        found = super().shell_complete(ctx, incomplete)
        if not ctx.parent or not ctx.meta[_NOTHING_TYPED]:
            return found
        known = {item.value for item in found}
        others = ctx.parent.command.shell_complete(ctx.parent, incomplete)
        return [*(item for item in others if item.value not in known), *found]


def _as_file(word: str) -> str:
    """Say how a file is given, if the word looks like one."""
    return f"a configuration is given with --config.file={word}" if word.endswith((".yaml", ".yml")) else ""


def _whole_words(found: list[CompletionItem], incomplete: str) -> list[CompletionItem]:
    """Put ``--flag=`` before its values: zsh and fish complete whole words, while bash splits them at "="."""
    flag, sign, _ = incomplete.partition("=")
    if sign and flag.startswith("--"):
        for item in found:
            item.value = f"{flag}={item.value}" if item.type == "plain" else item.value
    return found


@add_completion_class
class _Zsh(ZshComplete):
    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        return _whole_words(super().get_completions(args, incomplete), incomplete)


@add_completion_class
class _Fish(FishComplete):
    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        return _whole_words(super().get_completions(args, incomplete), incomplete)
