"""A store with a little of everything in it, and what it is made of."""

from dataclasses import dataclass, field, replace

from consilience.data.dataset import Dataset, Example
from consilience.data.origin import Origin
from consilience.data.relations import Equal
from consilience.models.base import Answer, Completion, Request
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.prediction_keys import prediction_key
from consilience.store.rows import AnswerRows
from consilience.store.schema import encode
from consilience.store.texts import Note, failure_row


@dataclass
class Named:
    """A model as far as a store knows one."""

    name: str = "tiny"
    style: str = "text"
    settings: dict = field(default_factory=lambda: {"temperature": 0.0, "endpoint": "completions"})
    writing: dict = field(default_factory=lambda: {"temperature": 0, "stop": "\n\n"})


MODEL = Named()
TEXTS = [Example(f"text {i}", group=f"g{i // 2}") for i in range(6)]
IDS = sorted(e.id for e in TEXTS)
NOTE = Note("What is it?", 60)
WRITTEN = Completion(" déjà vu", {"prompt_tokens": 4}, {"choices": [{"text": " déjà vu"}]})
ORIGIN = Origin(("a", "b"), (IDS[1], IDS[0]), (0, 2), 3, "id", "text")
DATA = Dataset("tiny", TEXTS, [Equal((IDS[0], IDS[1]))], note="for tests", origin=ORIGIN)


def ask(i=0, *, target=IDS[0], framing="plain", prompt=None, repeat=0, shots=((IDS[1], 1),)):
    query = Query(target, shots, framing, repeat)
    return Request(query, prompt or f"prompt {i}", ("False", "True"))


def answer(low=-0.25, high=-1.5, **changes):
    usage = {"prompt_tokens": 11, "completion_tokens": 1}
    made = Answer((low, high), (True, True), 0.75, usage, {"choices": [{"text": " True"}]})
    return replace(made, **changes)


def filled(path=":memory:", n=20):
    store = Store(path)
    run = store.start_run(DATA, MODEL, {"calls": 4}, seed=0)
    rows, together = [], []
    for i in range(n):
        request = ask(i, target=IDS[i % 6], framing=("plain", "negated")[i // 6 % 2])
        got = answer(-0.1 * i, exact=(i % 3 > 0, True))
        key = prediction_key(MODEL, request)
        if i < 10:
            store.add(MODEL, request, got, 0.5)
        else:
            together.append(("predictions", AnswerRows(MODEL).row(key, request, got, 0.5)))
        rows.append((key, request.query))
    store.keep(together)
    store.add_round(run, 0, rows[: n // 2])
    store.add_round(run, 1, rows[n // 2 :])
    store.add_failure(prediction_key(MODEL, ask(99)), ask(99), "HTTP 500", "<html>")
    found = {"text": "text 1", "label": 1, "class": "True", "probability": 0.75, "open": 0}
    lost = {"text": "text 2", "label": None, "class": None, "probability": None, "open": 1}
    sure = {"epistemic": 0.25, "aleatoric": 0.5}
    store.save_labels(run, [{"example": IDS[0]} | found | sure, {"example": IDS[1]} | lost | sure])
    store.save_command(run, {"model": {"name": "openai:tiny"}})
    store.save_corrections(DATA, {IDS[2]: 1})
    store.save_probe("tiny", "http://localhost/v1", {"top_logprobs": 20})
    store.add_text(MODEL, NOTE, WRITTEN, 0.5)
    failure = failure_row(MODEL, replace(NOTE, max_tokens=9), "HTTP 500", "<html>")
    store.keep([("text_failures", encode("text_failures", failure))])
    return store
