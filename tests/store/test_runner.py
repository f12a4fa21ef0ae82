"""Asking: what is known is not asked, what fails is kept, and nothing of it changes a request."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sqlite3
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consilience.data.dataset import Dataset, Example
from consilience.errors import (
    InputError,
    ModelError,
    NoLogprobs,
    Reason,
    ServerError,
    StoreError,
)
from consilience.models.base import Answer, Completion, Model, Request
from consilience.prompts.framing import Style, framings
from consilience.prompts.query import Query
from consilience.store.batches import Batches
from consilience.store.database import Store
from consilience.store.rows import failed_row
from consilience.store.runner import MOST_FAILURES, PLAINLY, CallCounts, Silent, ask, requests
from consilience.store.schema import encode
from recorder import Recorder, failing

DATA = Dataset("claims", [Example(f"The lamp number {i} is lit.") for i in range(24)])
FRAMINGS = framings(DATA.task, ["plain"])


def planned(model: Model, count: int = 24) -> list[tuple[str, Request]]:
    return requests([Query(id) for id in DATA.ids[:count]], DATA, FRAMINGS, model)


def failures(path: Path) -> list[tuple[str, str, str | None]]:
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT key, error, body FROM failures ORDER BY rowid").fetchall()
    db.close()
    return rows


@pytest.fixture
def store():
    with Store() as opened:
        yield opened


def test_what_is_known_is_not_asked_again(store: Store) -> None:
    first, second, third = Recorder(), Recorder(), Recorder()
    rows = planned(first)
    done = ask(rows[:10], first, store, concurrency=4)
    assert (done.calls, done.known, len(first.asked)) == (10, 0, 10)
    done = ask(rows, second, store, concurrency=4)
    assert (done.calls, done.known) == (14, 10)
    assert {r.query for r in second.asked} == {r.query for _, r in rows[10:]}
    done = ask(rows, third, store)
    assert (done.calls, done.known, third.asked) == (0, 24, [])


def test_a_prompt_that_is_planned_twice_is_asked_once(store: Store) -> None:
    model = Recorder()
    rows = planned(model, 3)
    done = ask([*rows, *rows, rows[0]], model, store, concurrency=4)
    assert (done.calls, len(model.asked), len(store.known([key for key, _ in rows]))) == (3, 3, 3)


def test_one_at_a_time_means_in_the_order_of_the_plan_and_in_this_thread(store: Store) -> None:
    model = Recorder(pause=0.01)
    rows = planned(model)[::-1]
    ask(rows, model, store, concurrency=1)
    assert model.asked == [request for _, request in rows]
    assert (model.most, model.threads) == (1, {threading.get_ident()})


@pytest.mark.parametrize("concurrency", [2, 5, 100])
def test_never_more_than_asked_for_are_under_way(store: Store, concurrency: int) -> None:
    model = Recorder(pause=0.02)
    ask(planned(model), model, store, concurrency=concurrency)
    assert model.most == min(concurrency, 24)
    assert len(model.asked) == 24


@pytest.mark.parametrize("concurrency", [0, -1])
def test_less_than_one_at_a_time_is_refused(store: Store, concurrency: int) -> None:
    with pytest.raises(InputError, match="concurrency"):
        ask(planned(Recorder()), Recorder(), store, concurrency=concurrency)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_failure_is_kept_with_what_came_back_and_the_rest_goes_on(
    tmp_path: Path, concurrency: int
) -> None:
    error = ServerError("the server is tired", body="half an answer")
    model = Recorder(failing(lambda call: call in (3, 7), lambda: error))
    rows = planned(model)
    with Store(tmp_path / "s.db") as store:
        done = ask(rows, model, store, concurrency=concurrency)
        known = store.known([key for key, _ in rows])
    failed = [key for key, _ in rows if key not in known]
    assert (done.calls, len(failed), len(model.asked)) == (22, 2, 24)
    assert done.failures == dict.fromkeys(failed, "the server is tired")
    kept = [(key, "the server is tired", "half an answer") for key in failed]
    assert sorted(failures(tmp_path / "s.db")) == sorted(kept)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_many_failures_in_a_row_end_the_asking(store: Store, concurrency: int) -> None:
    model = Recorder(failing(lambda call: call > 5, lambda: ServerError("gone")))
    rows = planned(model)
    with pytest.raises(ServerError, match="gone"):
        ask(rows, model, store, concurrency=concurrency)
    assert len(store.known([key for key, _ in rows])) == 5
    assert 5 + MOST_FAILURES <= len(model.asked) < 5 + MOST_FAILURES + concurrency


def test_failures_with_answers_between_them_do_not_add_up(store: Store) -> None:
    model = Recorder(failing(lambda call: call % MOST_FAILURES > 0, lambda: ServerError("busy")))
    done = ask(planned(model), model, store, concurrency=1)
    assert (done.calls, len(done.failures)) == (24 // MOST_FAILURES, 24 - 24 // MOST_FAILURES)


def test_one_answer_without_log_probabilities_among_others_is_a_failure_of_its_own(
    store: Store,
) -> None:
    model = Recorder(failing(lambda call: call in (5, 25), lambda: NoLogprobs("none")))
    done = ask(planned(model), model, store, concurrency=1)
    assert (done.calls, len(done.failures)) == (23, 1)
    # The first of another round, of a model that the store has answers of.
    done = ask(planned(model), model, store, concurrency=1)
    assert (done.calls, len(done.failures)) == (0, 1)


def test_without_any_log_probabilities_it_ends_at_once_and_later_after_some() -> None:
    for answered, more in ((0, 1), (3, MOST_FAILURES)):
        model = Recorder(failing(lambda call, n=answered: call > n, lambda: NoLogprobs("none")))
        with Store() as store, pytest.raises(NoLogprobs):
            ask(planned(model), model, store, concurrency=1)
        assert len(model.asked) == answered + more


ROWS = Dataset("rows", [Example(f"The row number {i} is here.") for i in range(150)])
PAIR = framings(ROWS.task, ["plain", "negated"])


def asked_of(model: Recorder, store: Store) -> CallCounts:
    """What comes of asking about all rows, each twice."""
    queries = [Query(id, framing=f.name) for id in ROWS.ids for f in PAIR]
    return ask(requests(queries, ROWS, PAIR, model), model, store, concurrency=4)


def test_rows_that_are_refused_together_end_nothing_while_others_are_answered(
    store: Store,
) -> None:
    stopped = set(ROWS.ids[40:100])

    class Filter(Recorder):
        async def ask(self, request: Request) -> Answer:
            answer = await super().ask(request)
            if request.query.target in stopped:
                raise ServerError("flagged", reason="filtered")
            return answer

    model = Filter()
    done = asked_of(model, store)
    assert (done.calls, set(done.refused)) == (180, stopped)
    assert 300 < len(model.asked) <= 300 + 120 // PLAINLY


@pytest.mark.parametrize(("reason", "most"), [("filtered", PLAINLY), ("refused", MOST_FAILURES)])
def test_where_what_was_answered_is_refused_too_it_ends(
    store: Store, reason: Reason, most: int
) -> None:
    error = ServerError("suspended", reason=reason)
    model = Recorder(failing(lambda call: call > 20, lambda: error))
    with pytest.raises(ServerError, match="suspended"):
        asked_of(model, store)
    assert 20 + most < len(model.asked) <= 20 + most + 1 + 4


def test_a_fatal_error_ends_it_at_once(store: Store, tmp_path: Path) -> None:
    model = Recorder(
        failing(lambda call: call == 4, lambda: ServerError("none", body="{}", fatal=True))
    )
    with Store(tmp_path / "s.db") as kept, pytest.raises(ServerError):
        ask(planned(model), model, kept, concurrency=1)
    assert len(model.asked) == 4
    assert [row[1:] for row in failures(tmp_path / "s.db")] == [("none", "{}")]


@pytest.mark.parametrize(
    "error",
    [lambda: ServerError("none", fatal=True), lambda: ZeroDivisionError("a bug")],
    ids=["fatal", "bug"],
)
def test_answers_that_were_under_way_at_an_error_are_kept(
    store: Store, error: Callable[[], Exception]
) -> None:
    class Slow(Recorder):
        async def ask(self, request: Request) -> Answer:
            if len(self.asked) > 1:
                await asyncio.sleep(0.05)
            return await super().ask(request)

    # The second call fails at once, while the others are still waited for.
    model = Slow(failing(lambda call: call == 2, error))
    rows = planned(model)
    with pytest.raises(type(error())):
        ask(rows, model, store, concurrency=6)
    assert len(model.asked) <= 7
    assert len(store.known([key for key, _ in rows])) == len(model.asked) - 1 >= 4


@pytest.mark.parametrize(
    "logprobs", [(math.nan, -1.0), (0.5, -1.0), (-math.inf, 0.1), (-1.0,)], ids=str
)
def test_an_answer_that_cannot_be_kept_is_a_failure_and_no_crash(
    store: Store, logprobs: tuple[float, ...]
) -> None:
    class Odd(Recorder):
        async def ask(self, request: Request) -> Answer:
            good = await super().ask(request)
            if len(self.asked) != 2:
                return good
            return Answer(logprobs, (True,) * len(logprobs), 1.0)

    model = Odd()
    done = ask(planned(model, 5), model, store, concurrency=1)
    assert (done.calls, len(done.failures)) == (4, 1)
    assert "yours" in next(iter(done.failures.values()))


@pytest.mark.parametrize("never", [-9001.0, -9999999.0, -1e9, -3.4e38, -math.inf])
def test_what_a_model_writes_for_never_is_kept_as_a_bound(store: Store, never: float) -> None:
    class Sure(Recorder):
        async def ask(self, request: Request) -> Answer:
            await super().ask(request)
            said = [(never, math.log(0.9)), (-0.5, -9000.0), (never, never)][len(self.asked) - 1]
            return Answer(said, (True, True), 0.94)

    model = Sure()
    rows = planned(model, 3)
    ask(rows, model, store, concurrency=1)
    first, second, third = store.predictions([key for key, _ in rows])
    assert first is not None and second is not None and third is not None
    assert first.logprobs == pytest.approx((math.log(0.04), math.log(0.9)), abs=1e-4)
    assert (first.exact, second.exact, third.exact) == ((False, True), (True, True), (False,) * 2)
    assert first.mass == pytest.approx(0.9) and second.logprobs == (-0.5, -9000.0)
    assert (third.logprobs[0], third.mass) == (pytest.approx(math.log(0.94), abs=1e-4), 0.0)


def test_calls_and_tokens_are_what_the_model_says_it_took(store: Store) -> None:
    model = Recorder(usage={"calls": 3, "prompt_tokens": 50})
    done = ask(planned(model, 4), model, store)
    assert (done.calls, done.prompt_tokens) == (12, 200)
    silent = Recorder(usage={"calls": None, "prompt_tokens": None})
    done += ask(planned(silent, 6), silent, store)
    assert (done.calls, done.prompt_tokens, done.known) == (14, 200, 4)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_it_works_where_an_event_loop_is_running(store: Store, concurrency: int) -> None:
    model = Recorder()

    async def notebook() -> int:
        return ask(planned(model), model, store, concurrency=concurrency).calls

    assert asyncio.run(notebook()) == 24


def test_an_interrupt_ends_it_where_an_event_loop_is_running(store: Store) -> None:
    here = threading.get_ident()

    def fault(call: int) -> None:
        if call == 3:
            signal.pthread_kill(here, signal.SIGINT)

    model = Recorder(fault, pause=0.1)

    async def notebook() -> None:
        ask(planned(model), model, store, concurrency=1)

    # Not asyncio.run, which has a handler of its own: as in a notebook the signal is an exception.
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(notebook())
    finally:
        loop.close()
    assert len(model.asked) <= 5


def test_a_bug_in_a_model_shows_its_own_line(store: Store) -> None:
    class Buggy(Recorder):
        async def ask(self, request: Request) -> Answer:
            return Answer((1 / len(self.asked), 0.0), (True, True), 1.0)

    with pytest.raises(ZeroDivisionError) as caught:
        ask(planned(Buggy()), Buggy(), store, concurrency=1)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.name) == (__file__, "ask")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_model_is_closed_in_the_loop_it_was_asked_in(
    store: Store, concurrency: int, fails: bool
) -> None:
    loops = []

    class Closing(Recorder):
        async def close(self) -> None:
            loops.append(asyncio.get_running_loop())

        async def ask(self, request: Request) -> Answer:
            loops.append(asyncio.get_running_loop())
            return await super().ask(request)

    model = Closing(failing(lambda call: fails, lambda: ServerError("none", fatal=True)))
    try:
        ask(planned(model, 3), model, store, concurrency=concurrency)
    except ModelError:
        assert fails
    assert len(loops) == len(model.asked) + 1
    assert len(set(loops)) == 1


class Watch:
    """A progress that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, total: int, known: int) -> None:
        self.told.append(("start", total, known))

    def answered(self, answer: Answer) -> None:
        self.told.append("answered")

    def failed(self, error: ModelError) -> None:
        self.told.append(str(error))

    def stop(self) -> None:
        self.told.append("stop")


@pytest.mark.parametrize("concurrency", [1, 4])
def test_looking_changes_nothing_that_is_sent(concurrency: int) -> None:
    sent = []
    for watch in (None, Watch()):
        model = Recorder(failing(lambda call: call == 2, lambda: ServerError("busy")))
        with Store() as store:
            ask(planned(model), model, store, concurrency=concurrency, progress=watch)
            sent.append((model.asked, store.known(key for key, _ in planned(model))))
    assert sent[0] == sent[1]
    assert watch is not None
    assert watch.told[0] == ("start", 24, 0)
    assert watch.told[-1] == "stop"
    assert sorted(watch.told[1:-1]) == ["answered"] * 23 + ["busy"]


def test_whoever_watches_is_told_of_the_end_also_after_an_error(store: Store) -> None:
    watch = Watch()
    model = Recorder(failing(lambda call: call == 2, lambda: ServerError("none", fatal=True)))
    with pytest.raises(ServerError):
        ask(planned(model), model, store, concurrency=1, progress=watch)
    assert watch.told == [("start", 24, 0), "answered", "none", "stop"]


@pytest.mark.parametrize("style", ["text", "chat", "chat-prefill"])
def test_a_request_is_the_query_rendered_in_the_style_of_the_model(style: Style) -> None:
    query = Query(DATA.ids[0], ((DATA.ids[1], 1), (DATA.ids[2], 0)), "plain")
    ((key, request),) = requests([query], DATA, FRAMINGS, Recorder(style=style))
    spoken = json.dumps(request.prompt)
    places = [spoken.index(DATA.texts[i]) for i in (1, 2, 0)]
    assert places == sorted(places)
    assert isinstance(request.prompt, str) == (style == "text")
    assert request.label_names == FRAMINGS[0].label_names
    others = requests([query], DATA, FRAMINGS, Recorder(style=style, settings={"top_p": 0.5}))
    assert others[0][1] == request
    assert others[0][0] != key


class Counting(Silent):
    """Looks through a connection of its own at what is on disk when it is told of an answer."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path)
        self.seen: list[int] = []

    def answered(self, answer: Answer | Completion) -> None:
        (count,) = self.db.execute("SELECT count(*) FROM predictions").fetchone()
        self.seen.append(count)

    def stop(self) -> None:
        self.db.close()


@pytest.mark.parametrize(("concurrency", "most"), [(1, 24), (24, 3)])
def test_what_comes_together_is_written_together_and_told_when_it_is_on_disk(
    tmp_path: Path, concurrency: int, most: int
) -> None:
    model = Recorder()
    with Store(tmp_path / "s.db") as store:
        begun: list[str] = []
        store._db.set_trace_callback(
            lambda sql: begun.append(sql) if sql.startswith("BEGIN IMMEDIATE") else None
        )
        watch = Counting(tmp_path / "s.db")
        ask(planned(model), model, store, concurrency=concurrency, progress=watch)
    assert len(watch.seen) == 24
    assert all(on_disk > told for told, on_disk in enumerate(watch.seen))
    assert 1 <= len(begun) <= most


def test_a_disk_that_fails_ends_it_and_is_told_to_nobody_as_kept(tmp_path: Path) -> None:
    class Long(Recorder):
        async def ask(self, request: Request) -> Answer:
            return replace(await super().ask(request), raw=os.urandom(3000).hex())

    model, watch = Long(), Watch()
    with Store(tmp_path / "s.db") as store:
        # As a full disk would: no page more than there are.
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match=r"could not keep what came back: .*full"):
            ask(planned(model), model, store, concurrency=6, progress=watch)
        told = watch.told.count("answered")
        assert told == len(store.known([key for key, _ in planned(model)])) < 24


def test_what_was_answered_when_the_asking_is_cut_off_is_kept(tmp_path: Path) -> None:
    async def cut() -> None:
        batches = Batches(store)
        row = failed_row(rows[0][0], rows[0][1], "gone", None)
        waiting = asyncio.ensure_future(batches.keep("failures", encode("failures", row)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        batches.write()

    rows = planned(Recorder(), 1)
    with Store(tmp_path / "s.db") as store:
        asyncio.run(cut())
    assert [row[1] for row in failures(tmp_path / "s.db")] == ["gone"]


def test_an_answer_that_is_no_data_takes_no_other_with_it(store: Store) -> None:
    class Odd(Recorder):
        async def ask(self, request: Request) -> Answer:
            good = await super().ask(request)
            return replace(good, raw=object()) if request.query.target == DATA.ids[2] else good

    model = Odd()
    with pytest.raises(StoreError, match="plain JSON"):
        ask(planned(model, 5), model, store, concurrency=5)
    assert len(store.known([key for key, _ in planned(model)])) == 4


@pytest.mark.parametrize("concurrency", [1, 5])
def test_what_is_heard_is_what_the_store_reads(store: Store, concurrency: int) -> None:
    model, heard = Recorder(), {}
    rows = planned(model)
    ask(rows[:3], model, store)
    ask(rows, model, store, concurrency=concurrency, heard=heard)
    left = [key for key, _ in rows[3:]]
    assert sorted(heard) == sorted(left)
    assert [heard[key] for key in left] == store.predictions(left)


def test_nothing_is_heard_where_another_process_was_quicker(tmp_path: Path) -> None:
    class Late(Recorder):
        async def ask(self, request: Request) -> Answer:
            answer = await super().ask(request)
            if request.query.target == DATA.ids[2]:
                with Store(tmp_path / "s.db") as other:
                    other.add(self, request, replace(answer, mass=0.25), 1.0)
            return answer

    model, heard = Late(), {}
    with Store(tmp_path / "s.db") as store:
        rows = planned(model, 4)
        ask(rows, model, store, concurrency=1, heard=heard)
        masses = [p.mass for p in store.predictions([key for key, _ in rows]) if p is not None]
    assert heard == {} and masses.count(0.25) == 1


def test_those_who_wait_for_the_first_of_a_family_ask_nothing_after_a_fatal_error(
    store: Store,
) -> None:
    class Slow(Recorder):
        async def ask(self, request: Request) -> Answer:
            self.asked.append(request)
            wrong = request.query.shots[0][1] == 0
            await asyncio.sleep(0.05 if wrong else 0.2)
            if wrong:
                raise ServerError("none", fatal=True)
            return Answer((-0.1, -3.0), (True, True), 0.9)

    data = Dataset("d", [Example(f"row {i}") for i in range(62)])
    made = framings(data.task)
    first, *others = data.ids
    queries = [Query(first, ((others[0], 0),), made[0].name)]
    queries += [Query(id, ((first, 1),), made[0].name) for id in others]
    model = Slow()
    with pytest.raises(ServerError):
        ask(requests(queries, data, made, model), model, store, concurrency=16)
    assert len(model.asked) == 2
