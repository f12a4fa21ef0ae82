"""Every command of the command line, so that a test of all of them forgets none."""

from __future__ import annotations

from collections.abc import Iterator

import click

from consilience.cli import cli


def leaves(group: click.Group = cli, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Each command that is no group, under its whole name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield before + name, command
