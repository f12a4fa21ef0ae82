"""A model in this process: against a naive loop, in every batch, and through a whole run."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import sys
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers  # its parts load where they are used, in one worker only
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from consilience.concepts.description import DescribeOptions, describe
from consilience.data.dataset import Dataset
from consilience.data.task import Task
from consilience.elicitation.session import elicit
from consilience.errors import InputError, MissingExtra, ModelError
from consilience.models import open_model
from consilience.models.base import Answer, Completion, Model, Request, Writer
from consilience.models.local import LocalModel
from consilience.models.prefix import Question, Scorer, batches, groups, products
from consilience.models.simulated import world_dataset
from consilience.models.threads import given_threads, one_thread
from consilience.planning.planner import PlanSettings
from consilience.prompts.framing import Framing, framings, render
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.runner import ask, requests

DATA, _ = world_dataset("easy", 40)
POSITIONS = 1024
BOS, EOS = "<|begin|>", "<|end|>"

CHAT = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SPACED = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[ASK] {{ m['content'] }} [END]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
"""A template that opens no turn, and puts a space before what the assistant says."""


def tokenizer(split: bool = True) -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE trained on the made-up examples; without `split` it joins across words."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)
    bpe.decoder = decoders.ByteLevel()
    labels = [" True False True", " right: True", "Answer: Yes", " A B C", "\nTrue\nFalse"]
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator([*DATA.texts, *labels * 20], trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, chat_template=CHAT
    )


def save(folder: Path, seed: int = 0, split: bool = True) -> Path:
    """A small Llama with random weights, and its tokenizer."""
    made = tokenizer(split)
    torch.manual_seed(seed)
    network = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(made),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=POSITIONS,
            initializer_range=0.2,
            bos_token_id=made.bos_token_id,
            eos_token_id=made.eos_token_id,
        )
    )
    network.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """The model's folder, to be spoilt."""
    return Path(shutil.copytree(folder, tmp_path / "tiny"))


def opened(folder: Path, **options) -> LocalModel:
    model = open_model(f"local:{folder}", **options)
    assert isinstance(model, LocalModel)
    return model


def answers(model: Model, asked: list[Request], together: bool = True) -> list[Answer]:
    async def serve() -> list[Answer]:
        if together:
            return await asyncio.gather(*map(model.ask, asked))
        return [await model.ask(request) for request in asked]

    return asyncio.run(serve())


def question(names=("False", "True"), texts=DATA.texts[:6], shots=0, style="text", lead="Answer:"):
    """One request for each text, with label names of one's own and some shots in common."""
    framing = Framing("own", "own", "Judge each claim.", lead, tuple(names))
    shown = [(text, i % len(names)) for i, text in enumerate(DATA.texts[-shots:] if shots else [])]
    query = Query("target", (), "own")
    return [Request(query, render(framing, t, shown, style), framing.label_names) for t in texts]


def naive(folder: Path, text: str, label: str, special: bool = True) -> list[float]:
    """The log-probability of each token of a label after a text: all of it read at once."""
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    spell = transformers.AutoTokenizer.from_pretrained(folder)
    before = spell(text, add_special_tokens=special)["input_ids"]
    both = spell(text + label, add_special_tokens=special)["input_ids"]
    assert both[: len(before)] == before
    with torch.inference_mode():
        logprobs = network(torch.tensor([both]), use_cache=False).logits[0].log_softmax(-1)
    return [float(logprobs[i - 1, both[i]]) for i in range(len(before), len(both))]


def logprobs(found: list[Answer]) -> np.ndarray:
    return np.array([answer.logprobs for answer in found])


# --- what an answer is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("False", "True"),
        ("lamp is leaking", "lamp is turning", "lamp was turning"),
        ("Zürich", "Zürcher", "正しいです", "C"),
    ],
    ids=["one token each", "a shared beginning", "letters of other scripts"],
)
@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
def test_a_label_has_the_probability_of_all_its_tokens(folder, names, together):
    asked = question(names, texts=DATA.texts[:3], shots=4)
    for request, answer in zip(asked, answers(opened(folder), asked, together), strict=True):
        assert answer.exact == (True,) * len(names)
        one_token = {"False", "True", "C"}
        for c, name in enumerate(names):
            spoken = answer.raw["labels"][name]
            assert next(iter(spoken)) == f" {name}"
            for text, values in spoken.items():
                expected = naive(folder, request.prompt, text)
                assert len(values) == len(expected)
                np.testing.assert_allclose(values, expected, atol=1e-5)
            assert (len(spoken[f" {name}"]) == 1) == (name in one_token)
            # The label itself, and the declared variants that are one token.
            assert {*spoken} - {f" {name}"} <= {
                space + word
                for word in (name, name.lower(), name.upper(), name.capitalize())
                for space in ("", " ")
            }
            whole = math.fsum(math.exp(sum(values)) for values in spoken.values())
            assert answer.logprobs[c] == pytest.approx(math.log(whole), abs=2e-6)
        assert answer.mass == pytest.approx(sum(map(math.exp, answer.logprobs)), abs=2e-6)


def test_the_bare_spelling_of_a_label_counts_and_that_of_two_labels_does_not(folder):
    (answer,) = answers(opened(folder), question(("False", "True"))[:1])
    assert set(answer.raw["labels"]["True"]) == {" True", "True"}
    (answer,) = answers(opened(folder), question(("true", "True"))[:1])
    assert [list(spoken) for spoken in answer.raw["labels"].values()] == [[" true"], [" True"]]
    # Nor does one with which another label's own text begins.
    (answer,) = answers(opened(folder), question(("true", "True lamp"))[:1])
    assert set(answer.raw["labels"]["true"]) == {" true", "True"}


def test_a_label_that_joins_the_prompt_s_last_token_is_read_after_it(tmp_path):
    folder = save(tmp_path / "joined", split=False)
    asked = question(lead="This is right:")[:1]
    spell = transformers.AutoTokenizer.from_pretrained(folder)
    text = asked[0].prompt
    before, both = (spell(t)["input_ids"] for t in (text, text + " True"))
    assert both[: len(before)] != before
    (answer,) = answers(opened(folder), asked)
    own = spell("\n True", add_special_tokens=False)["input_ids"][1:]
    assert spell.decode(own) == " True"
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        table = network(torch.tensor([before + own])).logits[0].log_softmax(-1)
    expected = [float(table[len(before) - 1 + i, token]) for i, token in enumerate(own)]
    np.testing.assert_allclose(answer.raw["labels"]["True"][" True"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("the lamp", "the lamp is"), "'the lamp' and 'the lamp is' cannot be told apart"),
        (("same", "same"), "cannot be told apart"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(folder, names, said):
    with pytest.raises(InputError, match=said):
        answers(opened(folder), question(names))


def test_a_label_that_the_tokenizer_cannot_write_is_refused(copy):
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "True": 1, "Answer:": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(
        copy
    )
    with pytest.raises(InputError, match="cannot write the label name 'False'"):
        answers(opened(copy), question(("False", "True")))


# --- how it is asked -------------------------------------------------------------------------


def test_a_text_is_what_auto_asks_with_as_the_probe_of_a_server_would(folder):
    auto, text, chat = (opened(folder, api=api) for api in ("auto", "completions", "chat"))
    assert auto.settings == text.settings == {
        "api": "completions", "style": "text", "dtype": "float32",
    }  # fmt: skip
    assert (chat.style, chat.settings["api"]) == ("chat", "chat")
    assert isinstance(auto, Model)


@pytest.mark.parametrize("template", [CHAT, SPACED], ids=["turns", "spaced"])
def test_in_a_chat_the_label_begins_the_assistants_turn(copy, template):
    spell = transformers.AutoTokenizer.from_pretrained(copy)
    spell.chat_template = template
    spell.save_pretrained(copy)
    gap = " " if template == SPACED else ""
    asked = question(("False", "True", "lamp is on"), shots=3, style="chat")
    for request, answer in zip(asked, answers(opened(copy, api="chat"), asked), strict=True):
        text = spell.apply_chat_template(request.prompt, tokenize=False, add_generation_prompt=True)
        for name, spoken in answer.raw["labels"].items():
            assert next(iter(spoken)) == gap + name
            for said, values in spoken.items():
                expected = naive(copy, text, said, special=False)
                np.testing.assert_allclose(values, expected, atol=1e-5)


def test_a_model_without_a_template_cannot_chat(copy):
    (copy / "chat_template.jinja").unlink()
    assert opened(copy).style == "text"
    with pytest.raises(InputError, match="no chat template; use the api completions"):
        opened(copy, api="chat")


def test_a_template_that_refuses_ends_the_asking_in_one_line(copy):
    (copy / "chat_template.jinja").write_text(
        "{% if messages | length > 2 %}{{ raise_exception('too many turns') }}{% endif %}" + CHAT
    )
    model = opened(copy, api="chat")
    with pytest.raises(ModelError, match="refused the messages: too many turns") as caught:
        answers(model, question(shots=2, style="chat"))
    assert caught.value.fatal


# --- batches and prefixes --------------------------------------------------------------------


def mixed() -> list[Request]:
    """Requests of two framings and of several shared beginnings, labels of different lengths."""
    names = ("lamp is leaking", "True", "no")
    return [
        *question(shots=8, texts=DATA.texts[:9]),
        *question(texts=DATA.texts[3:8]),
        *question(names, shots=8, texts=DATA.texts[:4], lead="Which:"),
        *question(shots=5, texts=DATA.texts[9:20]),
        *question(shots=5, texts=DATA.texts[9:12], names=names),
    ]


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 3}, {"reuse": False}], ids=str)
@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
def test_how_requests_are_grouped_does_not_change_an_answer(folder, options, together):
    asked = mixed()
    one = logprobs_of_all(answers(opened(folder), asked))
    other = logprobs_of_all(answers(opened(folder, **options), asked, together))
    np.testing.assert_allclose(one, other, atol=1e-5)


def logprobs_of_all(found: list[Answer]) -> np.ndarray:
    return np.concatenate([answer.logprobs for answer in found])


def test_in_64_bits_an_answer_is_the_same_to_the_last_digit(folder):
    asked = mixed()
    one = answers(opened(folder, dtype="float64"), asked)
    again = answers(opened(folder, dtype="float64", batch=2), asked[::-1], together=False)[::-1]
    assert [a.logprobs for a in one] == [a.logprobs for a in again]
    assert [a.raw for a in one] == [a.raw for a in again]
    single = answers(opened(folder), asked)
    np.testing.assert_allclose(logprobs_of_all(one), logprobs_of_all(single), atol=1e-5)
    assert opened(folder, dtype="float64").settings["dtype"] == "float64"


def test_a_shared_prefix_is_computed_once(folder):
    asked = question(shots=8, texts=DATA.texts[:10])
    spell = transformers.AutoTokenizer.from_pretrained(folder)
    ids = [spell(request.prompt)["input_ids"] for request in asked]
    shared = min(
        next(i for i, (x, y) in enumerate(zip(ids[0], other, strict=False)) if x != y)
        for other in ids[1:]
    )

    def cached(found: list[Answer]) -> list[int]:
        assert [a.usage["prompt_tokens"] for a in found] == list(map(len, ids))
        return [a.usage["prompt_tokens_details"]["cached_tokens"] for a in found]

    model = opened(folder)
    assert cached(answers(model, asked)) == [0, *[shared] * 9]
    # The next ones with the same beginning find it there, also after they came one by one.
    assert cached(answers(model, asked)) == [shared] * 10
    first, *others = cached(answers(opened(folder), asked, together=False))
    assert first == 0
    assert all(n >= shared for n in others)
    asyncio.run(model.close())
    assert cached(answers(model, asked))[0] == 0
    assert set(cached(answers(opened(folder, reuse=False), asked))) == {0}


def test_prompts_are_grouped_by_their_beginnings() -> None:
    stem, block, other = tuple(range(20)), tuple(range(100, 300)), tuple(range(400, 500))
    in_block = [stem + block + (n, 0, 1) for n in range(5)]
    in_other = [stem + other + (n, 0) for n in range(3)]
    short = stem + block[:50] + (7, 7)
    mixed = [in_other[0], *in_block, short, *in_other[1:]]
    found = {(tuple(g.members), g.shared) for g in groups(mixed)}
    assert found == {((0, 7, 8), 120), ((1, 2, 3, 4, 5), 220), ((6,), 70)}
    # What was asked last is computed last, and so is kept.
    assert groups(mixed)[-1].members == [0, 7, 8]
    # A few tokens in common are not worth a batch of their own.
    alike = [(*stem, n, n // 2, n) for n in (1, 2, 3)] + [(*stem, 9, 8, n) for n in (1, 2)]
    assert [(g.members, g.shared) for g in groups(alike)] == [([0, 1, 2, 3, 4], 20)]
    # The same prompt twice keeps its last token to itself.
    assert [(g.members, g.shared) for g in groups([stem, stem])] == [([0, 1], 19)]
    assert [(g.members, g.shared) for g in groups([stem])] == [([0], 19)]
    assert groups([]) == []


class Narrow(torch.nn.Module):
    """An output head that notes how many places of how many rows it is asked about."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head, self.seen = head, []

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(hidden.shape[:2]))
        return self.head(hidden)


def ragged() -> list[Question]:
    """Prompts of many lengths on one beginning, with labels of one token and of several."""
    stem = tuple(range(3, 40))
    return [
        Question(stem + tuple(range(50, 52 + n)), ((3,), (4, 9), (4, 9, 2), (5, 6)))
        for n in range(0, 30, 2)
    ]


def flat(scores) -> list[float]:
    return [value for score in scores for values in score.logprobs for value in values]


@pytest.mark.parametrize("reuse", [True, False], ids=["on a prefix", "in full"])
def test_the_head_sees_the_wanted_places_alone_and_gives_the_same(folder, reuse):
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    gathers, plain = (Scorer(network, reuse=reuse, batch=40) for _ in range(2))
    plain._head = None
    expected = flat(plain.score(ragged()))
    network.lm_head = gathers._head = Narrow(network.lm_head)
    np.testing.assert_allclose(flat(gathers.score(ragged())), expected, rtol=0, atol=1e-12)
    assert all(rows == 1 for rows, _ in network.lm_head.seen)
    # Two rows a prompt: after it and its `5`; after it, its `4` and its `4 9`. Then the prefix.
    assert sum(n for _, n in network.lm_head.seen) == 15 * (2 + 3) + reuse
    assert not network.lm_head._forward_pre_hooks
    # One by one as well.
    alone = [flat(gathers.score([one])) for one in ragged()]
    np.testing.assert_allclose([v for one in alone for v in one], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["beside", "reshaped", "none"])
@pytest.mark.parametrize("reuse", [True, False], ids=["on a prefix", "in full"])
def test_a_network_that_reads_its_head_in_another_way_gives_the_same(
    folder, monkeypatch, kind, reuse
):
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    expected = flat(Scorer(network, reuse=reuse).score(ragged()))
    if kind == "reshaped":

        def turned(_, __, out):
            if out.logits.shape[0] == 1 and network.lm_head._forward_pre_hooks:
                out.logits = out.logits.transpose(0, 1)[:, :0]
            return out

        network.register_forward_hook(turned)
    else:
        head = torch.nn.Identity() if kind == "beside" else None
        monkeypatch.setattr(network, "get_output_embeddings", lambda: head)
    other = Scorer(network, reuse=reuse)
    np.testing.assert_allclose(flat(other.score(ragged())), expected, rtol=0, atol=1e-12)
    assert other._head is None


@pytest.mark.parametrize("most", [2**27, 10], ids=["held at once", "too many"])
@pytest.mark.parametrize("own", [True, False], ids=["a mask for each row", "one mask"])
def test_attention_by_products_is_that_of_pytorch(monkeypatch, most, own):
    monkeypatch.setattr("consilience.models.prefix.SCORES", most)
    draw = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(3, heads, n, 8, generator=draw, dtype=torch.float64)
        for heads, n in ((4, 5), (2, 12), (2, 12))
    )
    mask = torch.ones(3 if own else 1, 1, 5, 12, dtype=torch.bool).tril(7)
    mask[0, ..., :3] = False
    layer = torch.nn.Module()
    layer.num_key_value_groups = 2
    for scaling in (None, 0.2):
        expected = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, enable_gqa=True, scale=scaling
        )
        found, _ = products(layer, query, key, value, mask, scaling=scaling)
        np.testing.assert_allclose(found, expected.transpose(1, 2), atol=1e-12)


def test_only_half_precision_on_a_cpu_attends_by_products(folder):
    for dtype, kind in (("float32", "sdpa"), ("float64", "sdpa"), ("bfloat16", "consilience")):
        model = opened(folder, device="cpu", dtype=dtype)
        assert model._engine.network.config._attn_implementation == kind


def test_rows_are_cut_into_batches_where_padding_costs_more_than_a_batch() -> None:
    assert batches([2, 2, 2, 2, 50, 50], 32, 100) == [(0, 4), (4, 6)]
    assert batches([2, 2, 2, 2, 50, 50], 32, 1000) == [(0, 6)]
    assert batches([2, 2, 2, 50], 3, 1000) == [(0, 3), (3, 4)]
    assert batches([3] * 5, 2, 7)[-1][1] == 5
    assert batches([], 4, 10) == []


def test_a_layer_that_cannot_be_cut_is_computed_in_full(folder):
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    asked = [Question((1, 5, 6, 7, n), ((3,), (4, 9))) for n in range(10, 14)]
    plain = Scorer(network)
    network.config.layer_types = ["full_attention", "linear_attention"]
    careful = Scorer(network)
    assert (plain.reuse, careful.reuse) == (True, False)
    for one, other in zip(plain.score(asked), careful.score(asked), strict=True):
        assert other.cached == 0
        for a, b in zip(one.logprobs, other.logprobs, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("around", [nullcontext, one_thread, given_threads])
@pytest.mark.parametrize(("small", "inside"), [(True, 1), (False, 3)])
def test_a_small_network_is_asked_in_one_thread(folder, monkeypatch, small, inside, around):
    """A larger one in all, also where what is around it keeps to one, as a benchmark does."""
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if not small:
        monkeypatch.setattr("consilience.models.prefix.SMALL", network.num_parameters())
    threads = []
    network.register_forward_pre_hook(lambda *_: threads.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with around(), around():
            there = torch.get_num_threads()
            Scorer(network).score([Question((1, 5, n), ((3,), (4,))) for n in range(6, 9)])
            assert set(threads) == {inside}
            assert torch.get_num_threads() == there
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_label_is_read_on_the_way_to_a_longer_one(folder):
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    network.register_forward_pre_hook(
        lambda _, __, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    Scorer(network, reuse=False).score(
        [Question((1, 5), ((3,), (4, 9), (4, 9, 2), (6, 7), (4, 8)))]
    )
    assert rows == [2]


def test_one_that_gives_up_or_is_too_long_takes_nothing_from_the_others(folder):
    fine = question(texts=DATA.texts[:3])
    (long,) = question(texts=["word " * 2 * POSITIONS])
    model = opened(folder)

    async def serve():
        tasks = [asyncio.ensure_future(model.ask(r)) for r in [*fine, long]]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(serve())
    assert isinstance(found[1], asyncio.CancelledError)
    assert isinstance(found[3], ModelError)
    assert "takes at most 1,024; show fewer shots" in str(found[3])
    assert "\n" not in str(found[3])
    np.testing.assert_allclose(
        logprobs([found[0], found[2]]), logprobs(answers(model, fine[::2])), atol=1e-5
    )


def test_what_fails_in_the_network_reaches_everybody_who_waits(folder, monkeypatch):
    model = opened(folder)

    def fails(error):
        def score(questions):
            raise error

        monkeypatch.setattr(model._engine, "score", score)

        async def serve():
            return await asyncio.gather(*map(model.ask, question()), return_exceptions=True)

        return asyncio.run(serve())

    assert all(isinstance(e, ZeroDivisionError) for e in fails(ZeroDivisionError()))
    for error in fails(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")):
        assert isinstance(error, ModelError)
        assert error.fatal and "smaller batch" in str(error)


def test_a_value_that_is_no_number_is_an_error(copy):
    network = transformers.LlamaForCausalLM.from_pretrained(copy)
    with torch.no_grad():
        network.lm_head.weight[3] = math.nan
    network.save_pretrained(copy)
    with pytest.raises(ModelError, match="a log-probability that is no number"):
        answers(opened(copy), question())


# --- opening ---------------------------------------------------------------------------------


def test_the_name_pins_the_weights_and_not_the_place(folder, copy, tmp_path):
    name = opened(folder).name
    assert name.startswith("local:tiny@") and len(name) == len("local:tiny@") + 12
    assert opened(copy).name == name
    (copy / "README.md").write_text("What it is.")
    assert opened(copy).name == name
    other = save(tmp_path / "again" / "tiny", seed=1)
    assert opened(other).name != name
    (copy / "chat_template.jinja").write_text(SPACED)
    assert opened(copy).name != name


def test_a_folder_that_holds_no_model_is_refused_in_one_line(copy, tmp_path):
    def refused(path, **options) -> str:
        with pytest.raises(InputError) as caught:
            opened(path, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "it has no config.json" in refused(tmp_path)
    assert "there is no such folder" in refused(tmp_path / "nothing")
    assert "there is no such folder" in refused("./nothing")
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "cannot load the model" in refused(copy)
    (copy / "model.safetensors").unlink()
    assert "cannot load the model" in refused(copy)
    (copy / "config.json").write_text(json.dumps({"model_type": "no such type"}))
    assert "cannot load the model" in refused(copy)


def test_weights_that_are_missing_are_not_made_up(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(InputError, match=r"its files lack 9 weights \(model.layers.2"):
        opened(copy)


def test_the_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"no model 'nobody/nothing'.*give a folder") as caught:
        open_model("local:nobody/nothing")
    assert "\n" not in str(caught.value)


def test_a_model_of_the_hub_is_named_by_its_commit(folder, monkeypatch, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "models--some--tiny"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    shutil.copytree(folder, kept / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = open_model("local:some/tiny")
    assert model.name == "local:some/tiny@0123456789ab"
    found = logprobs(answers(model, question()))
    np.testing.assert_array_equal(found, logprobs(answers(opened(folder), question())))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api": "responses"}, "api is auto, completions or chat"),
        ({"dtype": "int8"}, "no dtype 'int8'; use one of float64"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"device": "abacus"}, "the device 'abacus' cannot be used here"),
        ({"base_url": "http://localhost:1/v1"}, "is not on a server"),
        ({"k": 20}, "what it takes is: api, device, dtype, batch, reuse"),
    ],
)
def test_an_option_that_means_nothing_is_refused(folder, options, said):
    with pytest.raises(InputError, match=said):
        opened(folder, **options)


def test_without_the_extra_it_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'consilience\[local\]'"):
        opened(folder)


@pytest.mark.parametrize("has", [True, False], ids=["has bfloat16", "has none"])
@pytest.mark.parametrize("large", [True, False], ids=["large", "small"])
def test_a_large_model_on_a_cpu_is_in_bfloat16_where_the_processor_is(
    folder, monkeypatch, has, large
):
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: has, raising=False)
    if large:
        monkeypatch.setattr("consilience.models.local.SMALL", 1000)
    model = opened(folder, device="cpu")
    assert model.settings["dtype"] == ("bfloat16" if has and large else "float32")
    assert model._engine.network.lm_head.weight.dtype == getattr(torch, model.settings["dtype"])
    assert opened(folder, device="cpu", dtype="float32").settings["dtype"] == "float32"
    # Where PyTorch has no such checks it is as before.
    monkeypatch.delattr("torch.cpu._is_amx_tile_supported")
    monkeypatch.delattr("torch.cpu._is_avx512_bf16_supported")
    assert opened(folder, device="cpu").settings["dtype"] == "float32"


def test_half_precision_is_a_setting_that_moves_answers_a_little(folder):
    half = opened(folder, dtype="bfloat16")
    assert half.settings["dtype"] == "bfloat16"
    asked = mixed()
    gap = logprobs_of_all(answers(half, asked)) - logprobs_of_all(answers(opened(folder), asked))
    assert 0 < np.abs(gap).max() < 0.5


# --- a whole run -----------------------------------------------------------------------------


def run(model: Model, concurrency: int):
    settings = PlanSettings(shots=6, block=10)
    from consilience.elicitation.settings import Settings

    return elicit(
        DATA,
        model,
        settings=Settings(calls_per_example=5, plan=settings, settled=0),
        concurrency=concurrency,
    )


@pytest.mark.slow
def test_serial_and_concurrent_runs_end_in_the_same_bytes(folder):
    serial, wide = (run(opened(folder, dtype="float64"), n) for n in (1, 16))
    assert serial.asked.failures == {} == wide.asked.failures
    assert serial.asked.calls == wide.asked.calls == 5 * len(DATA)
    assert serial.labels.to_csv() == wide.labels.to_csv()
    # In 32 bits the last digits hang on the batch, and the labels do not.
    single = run(opened(folder), 16)
    assert list(single.labels["label"]) == list(wide.labels["label"])
    np.testing.assert_allclose(single.labels["probability"], wide.labels["probability"], atol=1e-3)


def test_an_asking_is_stored_with_what_the_cache_served(folder):
    dataset = Dataset("four", DATA.examples[:12], task=Task())
    model = opened(folder)
    queries = [Query(id, (), f.name) for f in framings(dataset.task) for id in dataset.ids]
    with Store(":memory:") as store:
        planned = requests(queries, dataset, framings(dataset.task), model)
        asked = ask(planned, model, store)
        assert (asked.calls, asked.failures) == (len(planned), {})
        assert store.verify() == []
        kept = store.predictions([key for key, _ in planned])
        assert all(p is not None and all(p.exact) for p in kept)
        cached = sum(p.usage["prompt_tokens_details"]["cached_tokens"] for p in kept if p)
        assert asked.prompt_tokens / 4 < cached < asked.prompt_tokens
        assert ask(planned, model, store).calls == 0


# ---- writing ------------------------------------------------------------------------------------


def written(model: LocalModel, *notes: tuple[object, int]) -> list[Completion]:
    async def work() -> list[Completion]:
        return [await model.write(prompt, most) for prompt, most in notes]

    return asyncio.run(work())


def naive_text(folder: Path, text: str, most: int, special: bool = True) -> str:
    """The most likely token after a text, again and again: all of it read each time."""
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    spell = transformers.AutoTokenizer.from_pretrained(folder)
    ids = spell(text, add_special_tokens=special)["input_ids"]
    begin = len(ids)
    with torch.inference_mode():
        while len(ids) < begin + most and "\n\n" not in spell.decode(ids[begin:]):
            ids.append(int(network(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == spell.eos_token_id:
                break
    return spell.decode(ids[begin:], skip_special_tokens=True).partition("\n\n")[0]


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_text_is_the_most_likely_one_token_by_token(folder, api):
    model = opened(folder, api=api, dtype="float32", device="cpu")
    assert isinstance(model, Writer)
    prompts = [f"{text}\nAnswer:" for text in DATA.texts[:3]]
    if api == "chat":
        asked = [[{"role": "user", "content": prompt}] for prompt in prompts]
        wholes = [f"{BOS}<|user|>\n{prompt}{EOS}\n<|assistant|>\n" for prompt in prompts]
    else:
        asked = wholes = prompts
    made = written(model, *((prompt, 12) for prompt in asked))
    texts = [naive_text(folder, whole, 12, special=api != "chat") for whole in wholes]
    assert [w.text for w in made] == texts and len(set(texts)) == 3
    for one in made:
        assert one.usage["completion_tokens"] == len(one.raw["tokens"]) <= 12
        assert one.usage["prompt_tokens"] > 5
    # The same again, and not another for having been asked for labels between.
    answers(model, question())
    assert written(model, (asked[0], 12)) == made[:1]
    assert model.writing["temperature"] == 0 and model.writing["api"] == api


def favouring(folder: Path, into: Path, tokens: str, config: dict | None = None) -> Path:
    """The same model with an output layer that makes it write some tokens, one after the other."""
    shutil.copytree(folder, into)
    spell = transformers.AutoTokenizer.from_pretrained(into)
    network = transformers.AutoModelForCausalLM.from_pretrained(into)
    ids = spell(tokens, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        # Each token is known by its own direction, and points at the one that follows it.
        network.model.embed_tokens.weight.zero_()
        network.lm_head.weight.zero_()
        for layer in network.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        network.model.norm.weight.fill_(1.0)
        begin, second = (spell(c, add_special_tokens=False)["input_ids"][-1] for c in ":z")
        for at, (one, following) in enumerate(pairwise([begin, *ids])):
            network.model.embed_tokens.weight[one, at] = 1.0
            network.lm_head.weight[following, at] = 1.0
            # What comes second, should anything speak against the first.
            network.lm_head.weight[second, at] = 0.4
    for key, value in (config or {}).items():
        setattr(network.generation_config, key, value)
    network.save_pretrained(into)
    return into


@pytest.mark.parametrize("end", ["\n\n", EOS])
def test_a_text_ends_at_a_blank_line_or_where_the_model_ends_it(folder, tmp_path, end):
    made = favouring(folder, tmp_path / "made", f" A B{end} C")
    [one, short] = written(opened(made), ("Answer:", 30), ("Answer:", 2))
    assert one.text == " A B"
    assert 2 < len(one.raw["tokens"]) < 6
    assert len(short.raw["tokens"]) == 2


def test_the_settings_that_came_with_a_model_do_not_make_its_texts_random(folder, tmp_path):
    usual = {"do_sample": True, "temperature": 9.0, "top_k": 2, "repetition_penalty": 5.0}
    made = favouring(folder, tmp_path / "made", " A B C", usual)
    model = opened(made)
    assert {w.text for w in written(model, *[(" A B C:", 3)] * 5)} == {" A B C"}


def test_a_prompt_that_leaves_no_room_for_a_text_is_refused(folder):
    with pytest.raises(ModelError, match=r"the prompt and what is to be written are 1,\d+ tokens"):
        written(opened(folder), ("word " * 300, POSITIONS - 10))


def test_a_run_of_a_local_model_is_described_by_it(folder):
    model = opened(folder)
    framed = framings(Task())
    rows = requests(
        [Query(id, framing=f.name) for id in DATA.ids for f in framed], DATA, framed, model
    )
    with Store() as store:
        ask(rows, model, store)
        q = np.tile([0.8, 0.2], (len(DATA), 1))
        q[::2] = q[::2, ::-1]
        how = DescribeOptions(orders=2, shown=3, check=4, max_tokens=8)
        made = describe(DATA, q, model, store=store, how=how)
        assert len(made.descriptions) + made.empty == 2
        again = describe(DATA, q, model, store=store, how=how)
        assert again.descriptions == made.descriptions and again.asked.calls == 0
        assert store.verify() == []
