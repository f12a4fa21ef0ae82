"""Requests whose prompts are written as they are needed: the same prompts, not all at once."""

from __future__ import annotations

import gc
import math
from itertools import pairwise

import pytest

from consilience.data.dataset import Dataset, Example
from consilience.models.base import Answer, Request
from consilience.prompts.framing import Style, framings, render
from consilience.prompts.query import Query
from consilience.prompts.shared_prefixes import flat, shared
from consilience.store.database import Store
from consilience.store.planned_requests import unasked
from consilience.store.prediction_keys import prediction_key
from consilience.store.runner import ask, requests
from recorder import Recorder

DATA = Dataset("claims", [Example(f"The lamp number {i} is lit.") for i in range(40)])
FRAMINGS = framings(DATA.task, ["plain", "letters"])


def queries() -> list[Query]:
    """Blocks under several lists of shots, some of the same ids with other labels, and none."""
    made = [Query(id, framing="plain") for id in DATA.ids[:5]]
    for label in (0, 1):
        shots = ((DATA.ids[30], label), (DATA.ids[31], 1))
        made += [Query(id, shots, f.name) for f in FRAMINGS for id in DATA.ids[5:9]]
    return made


@pytest.mark.parametrize("style", ["text", "chat", "chat-prefill"])
def test_prompts_and_keys_are_those_of_each_query_by_itself(style: Style) -> None:
    model, asked = Recorder(style=style), queries()
    texts = dict(zip(DATA.ids, DATA.texts, strict=True))
    by_name = {framing.name: framing for framing in FRAMINGS}
    wanted = []
    for query in asked:
        framing = by_name[query.framing]
        shots = [(texts[id], label) for id, label in query.shots]
        prompt = render(framing, texts[query.target], shots, style)
        request = Request(query, prompt, framing.label_names)
        wanted.append((prediction_key(model, request), request))
    made = requests(asked, DATA, FRAMINGS, model)
    assert list(made) == wanted == [made[i] for i in range(len(made))]
    # In any order, as many at a time ask.
    assert [made[i] for i in (9, 0, 15, 3)] == [wanted[i] for i in (9, 0, 15, 3)]
    assert made[-2:] == wanted[-2:]
    assert made.all_keys == [key for key, _ in wanted]
    assert [request for _, request in wanted] == list(made.written())


def test_what_is_known_is_left_out_and_what_comes_twice_comes_once() -> None:
    once = queries()
    made = requests([*once, *once[:3]], DATA, FRAMINGS, Recorder())
    left = unasked(made, {made.all_keys[1], made.all_keys[7]})
    assert list(left) == [
        key for i, key in enumerate(made.all_keys[: len(once)]) if i not in (1, 7)
    ]
    assert len(left) == len(once) - 2
    assert dict(left) == {key: dict(made)[key] for key in left}
    assert dict(left) == dict(unasked(list(made), {made.all_keys[1], made.all_keys[7]}))


@pytest.mark.parametrize("wrong", [Query("nobody"), Query(DATA.ids[0], framing="odd")])
def test_a_query_that_does_not_fit_is_refused_before_anything_is_asked(wrong: Query) -> None:
    with pytest.raises(LookupError):
        requests([wrong], DATA, FRAMINGS, Recorder())


class Forgetful(Recorder):
    """Keeps no request, and counts those that were made since and are there as it is asked."""

    seen = 0

    async def ask(self, request: Request) -> Answer:
        alive = sum(type(thing) is Request for thing in gc.get_objects())
        self.seen = max(self.seen, alive)
        return Answer((math.log(0.5),) * 2, (True, True), 1.0)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_more_prompts_are_there_than_are_being_asked(concurrency: int) -> None:
    model = Forgetful()
    gc.freeze()  # what is there already is not looked at: it is millions of objects
    try:
        with Store() as store:
            made = requests([Query(id) for id in DATA.ids], DATA, FRAMINGS, model)
            counts = ask(made, model, store, concurrency=concurrency)
    finally:
        gc.unfreeze()
    assert counts.calls == 40
    assert 1 <= model.seen <= 2 * concurrency + 1


@pytest.mark.parametrize("style", ["text", "chat", "chat-prefill"])
def test_in_the_order_of_their_prefixes_the_last_prompt_serves_as_much_as_all(style: Style) -> None:
    made = requests(queries()[::-1], DATA, FRAMINGS, Recorder(style=style))
    sent = made.by_prefix()
    assert sorted(sent.all_keys) == sorted(made.all_keys)
    assert dict(sent) == dict(made)
    prompts = [flat(request.prompt) for _, request in sent]
    served = sum(shared(two)[1] for two in pairwise(prompts))
    assert 0.99 * shared(prompts).sum() < served <= shared(prompts).sum()


def test_families_begin_alike() -> None:
    ids = DATA.ids
    four = tuple((id, 0) for id in ids[:4])
    made = [
        *(Query(id, framing="plain") for id in ids[10:12]),  # no shots: each by itself
        *(Query(id, four, "plain") for id in ids[10:12]),
        Query(ids[12], (*four[:2], four[3]), "plain"),  # half of the list
        Query(ids[13], four[:1], "plain"),
        Query(ids[14], four[:1], "letters-1"),
    ]
    planned = requests(made, DATA, FRAMINGS, Recorder())
    keys = planned.all_keys
    wanted = [[keys[0]], [keys[1]], keys[2:5], [keys[5]], [keys[6]]]
    assert unasked(planned, set()).families() == wanted == unasked(list(planned), set()).families()
