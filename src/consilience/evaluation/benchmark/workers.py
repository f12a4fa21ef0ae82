"""Jobs of a benchmark one after the other, or shared out among processes; the rows are the same."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from consilience.errors import ConsilienceError, InputError
from consilience.evaluation.benchmark.benchmark import Job, Row, measure
from consilience.models.base import Model


def work_off(
    jobs: Sequence[Job], models: Mapping[str, Model], workers: int = 1
) -> Generator[Row, None, None]:
    """The rows of all jobs, each as soon as it is there.

    With one worker all is done in this process, with `models` by the name of the case; processes
    open their own, once per case. Closing the iterator ends them.
    """
    if workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield from measure(job, models[job.case.name])
        return
    # Started anew, not forked: PyTorch has threads, and a fork of them may wait for ever.
    context = get_context("spawn")
    turn = context.Value("i", 0)
    running: dict[Any, Any] = {}
    try:
        for _ in range(min(workers, len(jobs))):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(jobs, turn, theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = process
        while running:
            for pipe in wait(list(running)):
                yield from _heard(pipe, running)
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _heard(pipe: Any, running: dict[Any, Any]) -> Iterator[Row]:  # noqa: ANN401 (wait names no type)
    try:
        said = pipe.recv()
    except EOFError:
        process = running.pop(pipe)
        process.join()
        if process.exitcode:
            raise ConsilienceError(
                f"a worker process ended with exit code {process.exitcode}, and what it printed, "
                "if anything, stands above; what was written is kept, run the same command again"
            ) from None
        return
    if isinstance(said, Row):
        yield said
        return
    kind, words = said
    raise kind(words)


def _work(jobs: Sequence[Job], turn: Any, pipe: Connection) -> None:  # noqa: ANN401 (ctypes)
    """Takes the next job that nobody has, until there is none; sends rows, or a user's mistake.

    A bug ends the process, which prints its traceback and is missed by the one that listens.
    """
    # Ctrl-C reaches all processes of a terminal; the first of them ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)  # the other processes have the other cores
    models: dict[str, Model] = {}
    try:
        while True:
            with turn.get_lock():
                at, turn.value = turn.value, turn.value + 1
            if at >= len(jobs):
                return
            name = jobs[at].case.name
            if name not in models:
                models[name] = jobs[at].case.model()
            for row in measure(jobs[at], models[name]):
                pipe.send(row)
    except BrokenPipeError:
        # The process that listened is gone.
        return
    except ConsilienceError as error:
        pipe.send((InputError if isinstance(error, InputError) else ConsilienceError, str(error)))
    finally:
        pipe.close()
