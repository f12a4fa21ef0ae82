"""The asking as a progress bar on stderr: calls, rate, tokens, money, time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from consilience.errors import ModelError
from consilience.models.base import Answer


class ProgressBar:
    """A bar per round; it draws on a terminal and stays silent elsewhere.

    `price` is money per million prompt tokens.
    """

    def __init__(self, console: Console, price: float | None = None) -> None:
        self._console = console
        self._price = price
        self._round = 0
        self._tokens = 0
        self._failures = 0
        self._bar: Progress | None = None

    def start(self, total: int, known: int) -> None:
        """A new bar, which begins at what the store holds."""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[spent]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bar.start()
        self._task = self._bar.add_task(
            f"round {self._round}", total=total, completed=known, rate="", spent=""
        )
        self._round += 1

    def answered(self, answer: Answer) -> None:
        """One more."""
        self._tokens += int(answer.usage.get("prompt_tokens") or 0)
        self._advance()

    def failed(self, error: ModelError) -> None:
        """One that was given up; the reason is in the store."""
        self._failures += 1
        self._advance()

    def stop(self) -> None:
        """The bar goes away."""
        if self._bar is not None:
            self._bar.stop()

    def _advance(self) -> None:
        if self._bar is None:
            return
        speed = self._bar.tasks[0].speed
        spent = f"{self._tokens:,} tokens"
        if self._price is not None:
            spent += f", {self._tokens * self._price / 1e6:.2f}"
        if self._failures:
            spent += f", {self._failures} failed"
        rate = f"{speed:.1f}/s" if speed else ""
        self._bar.update(self._task, advance=1, rate=rate, spent=spent)
