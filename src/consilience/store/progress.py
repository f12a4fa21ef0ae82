"""The asking as a progress bar on stderr: calls, rate, tokens, money, time left."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from consilience.data.counted import counted
from consilience.errors import ModelError
from consilience.models.base import Answer, Completion, count_in
from consilience.models.price import Price

_LOG = logging.getLogger(__name__)


class ProgressBar:
    """A bar over the run on a terminal; elsewhere one line as each round begins, for a log.

    Where the most queries of a run are not known, a bar per round. With a `price` it counts money
    too.
    """

    def __init__(self, console: Console, price: Price | None = None) -> None:
        self._console = console
        self._price = price
        self._what = ""
        self._round = 0
        self._most = 0
        self._planned = 0
        self._tokens = 0
        self._money = 0.0
        self._failures = 0
        self._bar: Progress | None = None

    def begin(self, what: str, round: int = 0, most: int = 0) -> None:
        """The rounds that follow belong to `what`, and are counted from `round`.

        They have `most` queries in all, 0 where nobody knows.
        """
        self._what = f"{what}, "
        self._round = round
        self._most = most
        self._planned = 0

    def start(self, total: int, known: int) -> None:
        """A new bar, which begins at what the store holds."""
        title = f"{self._what}round {self._round}"
        before = self._planned
        self._round += 1
        self._planned += total
        held = f", {known:,} of them in the store" if known else ""
        end = f"; {self._planned:,} of at most {self._most:,} in all" if self._most else ""
        _LOG.info("%s: %d queries, %d of them in the store", title, total, known)
        if not self._console.is_terminal:
            line = f"{title}: {counted(total, 'query')}{held}{end}"
            self._console.print(line, soft_wrap=True, markup=False)
            return
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[spent]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(
            title,
            total=self._most or total,
            completed=known + (before if self._most else 0),
            rate="",
            spent="",
        )

    def answered(self, answer: Answer | Completion) -> None:
        """One more."""
        self._tokens += count_in(answer.usage, "prompt_tokens")
        if self._price is not None:
            self._money += self._price.charged(answer.usage or {})
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
            spent += f", {self._price.called(self._money)}"
        if self._failures:
            spent += f", {self._failures} failed"
        rate = f"{speed:.1f}/s" if speed else ""
        self._bar.update(self._task, advance=1, rate=rate, spent=spent)
