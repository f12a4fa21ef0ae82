import asyncio
import json
import math
import time

import httpx2
import pytest

from consilience.errors import InputError
from consilience.models.base import Model, Request
from consilience.models.openai import OpenAIModel, open_openai
from consilience.models.server import RetryPolicy
from consilience.prompts.query import Query
from wire_client import FRAMINGS, KEYS, QUICK, TARGETS, all_requests, asked, found, request
from wire_model import IDS, VOCABULARY, PseudoModel, variants
from wire_server import DIALECTS, MODEL, serve


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def opened(url, requests_of, **options):
    """A model that was opened by a probe, and its answers to the requests of its style."""

    async def work():
        model = await open_openai(MODEL, url, **({"patience": QUICK} | options))
        try:
            # One at a time, so that the server's record is in the order of the answers.
            return model, [await model.ask(r) for r in requests_of(model.style)]
        finally:
            await model.close()

    return asyncio.run(work())


# ---- the right values, over every dialect -----------------------------------------------------

GRID = [
    (name, api)
    for name, dialect in DIALECTS.items()
    for api, shape in (("completions", dialect.completions), ("chat", dialect.chat))
    if shape not in (None, "null", "drop")
]


def check_answer(server, records, answer, names, first_token):
    """Compares one answer with the pseudo model's own values; `records` are its questions."""
    values = server.model.logprobs(server.text(records[0]["body"]))
    forced = {name: r for name, r in zip(answer.raw.get("forced", {}), records[-1:], strict=False)}
    main = [r for r in records if "logit_bias" not in r["body"]][-1]
    listed = {*main["listed"], main["drawn"]}
    mass = 0.0
    for name, logprob, exact in zip(names, answer.logprobs, answer.exact, strict=True):
        ids = variants(name)
        if not exact:
            assert all(values[i] <= logprob + 1e-9 for i in ids)
            continue
        mass += math.exp(logprob)
        hits = [i for i in ids if i in listed]
        if name in answer.raw.get("forced", {}):
            hits = [IDS[(first_token + name).encode()]]
        if len({VOCABULARY[i] for i in hits}) < len(hits) and server.collapses(main):
            continue  # the twins became one entry, with the value of either
        assert logprob == pytest.approx(math.log(sum(math.exp(values[i]) for i in hits)), abs=1e-6)
    assert answer.mass == pytest.approx(mass, abs=1e-9)
    assert not forced or all(answer.exact)


@pytest.mark.parametrize(("dialect", "api"), GRID)
def test_every_dialect_gives_the_model_s_own_values(dialect, api):
    with serve(dialect) as server:
        model, answers = opened(server.url, all_requests, api=api)
        assert isinstance(model, Model)
        questions = server.questions[-sum(spent(a) for a in answers) :]
        exact = 0
        for asked_for, answer in zip(all_requests(model.style), answers, strict=True):
            records, questions = questions[: spent(answer)], questions[spent(answer) :]
            first = "" if model.style == "chat" else " "
            check_answer(server, records, answer, asked_for.label_names, first)
            exact += sum(answer.exact)
        found = model.capabilities
        if found.label_ids or (found.forced == "raw" and found.tokenizer):
            assert exact == 2 * len(answers)
        assert exact > len(answers) / 2
        bodies = [json.dumps(r["body"], sort_keys=True) for r in server.questions]
        mine = bodies[-sum(spent(a) for a in answers) :]
        assert len(set(mine)) == len(mine)


def spent(answer):
    """The number of questions that an answer took."""
    if "choices" in answer.raw:
        return 1
    return 1 + ("longer" in answer.raw) + len(answer.raw.get("forced", {}))


def test_named_tokens_are_exact_in_one_request():
    with serve("vllm") as server:
        model, answers = opened(server.url, all_requests)
        assert model.settings["labels"] == ["ids", "forced"]
        assert all(all(a.exact) and spent(a) == 1 for a in answers)


def test_a_longer_list_then_force_then_bound():
    tail = {"tokenizer": "llama-server", "forced": "raw"}
    narrow = {"k": 2, "k_max": 2}
    with serve("llama-server") as server:
        # The list of two sometimes holds a label, and the sampled token sometimes is one.
        bounded = asked(found(server.url, **narrow), all_requests("text"))
        longer = asked(found(server.url, k=2, k_max=400), all_requests("text"))
        forced = asked(found(server.url, **narrow, **tail), all_requests("text"))
    assert not all(all(a.exact) for a in bounded)
    for few, wide, made in zip(bounded, longer, forced, strict=True):
        assert all(wide.exact) and all(made.exact)
        assert spent(wide) == (2 if "longer" in wide.raw else 1)
        assert made.mass <= 1
        for bound, value, sure in zip(few.logprobs, wide.logprobs, few.exact, strict=True):
            assert sure or value <= bound + math.log(6)
        count = wide.usage["prompt_tokens"] // spent(wide)
        assert wide.usage["prompt_tokens"] == spent(wide) * count
        assert made.usage["completion_tokens"] == spent(made)


def test_a_biased_value_is_never_taken_for_a_raw_one():
    with serve("sglang") as server:
        tail = {"tokenizer": "vllm", "forced": "raw", "k": 1, "k_max": 1}  # a wrong finding
        answers = asked(found(server.url, **tail), all_requests("text"))
    assert not any(all(a.exact) for a in answers)


def test_in_a_world_the_labels_follow_the_truth():
    with serve("vllm", model=PseudoModel(world=True)) as server:
        _, answers = opened(server.url, all_requests)
    picked = [
        r.label_names[a.logprobs.index(max(a.logprobs))]
        for r, a in zip(all_requests("text"), answers, strict=True)
    ]
    by_framing = [picked[i :: len(FRAMINGS)] for i in range(len(FRAMINGS))]
    classes = [
        [f.label_names.index(name) for name in names]
        for f, names in zip(FRAMINGS, by_framing, strict=True)
    ]
    agreement = [a == b for row in classes[1:] for a, b in zip(classes[0], row, strict=True)]
    assert sum(agreement) > 0.6 * len(agreement)
    assert len(set(classes[0])) == 2


# ---- what is sent ------------------------------------------------------------------------------


def test_a_question_is_one_token_at_temperature_one():
    extra = {"provider": {"only": ["x"], "allow_fallbacks": False}, "max_tokens": None, "user": "u"}
    with serve("openai-legacy") as server:
        asked(found(server.url, k=5, k_max=5), [request()], extra_body=extra | {"max_tokens": 1})
        assert server.questions[0]["body"] == {
            **{"model": MODEL, "prompt": request().prompt, "logprobs": 5, "max_tokens": 1},
            **{"temperature": 1, "top_p": 1, "user": "u", "provider": extra["provider"]},
        }
        asked(found(server.url, k=5, k_max=5), [request()], extra_body=extra)
        assert "max_tokens" not in server.questions[1]["body"]


def test_settings_are_what_changes_the_answers_and_no_more():
    one = OpenAIModel(found("http://localhost:1/v1"), requests_per_minute=5, patience=QUICK)
    two = OpenAIModel(found("http://localhost:2/v1", calls=7, repeat_difference=0.1))
    assert one.settings == two.settings
    assert one.settings == {
        **{"api": "completions", "style": "text", "temperature": 1, "top_p": 1, "k": 20},
        **{"labels": ["list"], "extra": {}},
    }
    assert one.settings == json.loads(json.dumps(one.settings))
    changed = [
        OpenAIModel(found("http://localhost:1/v1"), k=5),
        OpenAIModel(found("http://localhost:1/v1"), extra_body={"provider": {"only": ["x"]}}),
        OpenAIModel(found("http://localhost:1/v1", label_ids=True, tokenizer="vllm")),
        OpenAIModel(found("http://localhost:1/v1", api="chat", style="chat")),
    ]
    assert all(model.settings != one.settings for model in changed)


def test_names_that_share_a_token_are_refused_before_any_question():
    clash = Request(Query("x"), "x:", ("Mostly", "Mostlytrue"))
    with serve("vllm") as server:
        for tokenizer in (None, "vllm"):
            with pytest.raises(InputError, match="framing `letters`"):
                asked(found(server.url, tokenizer=tokenizer), [clash])
        assert server.questions == []
        # Only the tokenizer knows that these do not clash.
        asked(found(server.url, tokenizer="vllm"), [Request(Query("x"), "x:", ("Mostly", "Mo"))])


def test_misuse_is_refused_before_anything_is_sent():
    here = "http://localhost:1/v1"
    for options, said in (
        ({"k": 21}, "k is 1 to 20"),
        ({"extra_body": {"temperature": 0, "echo": True}}, "echo, temperature"),
        ({"requests_per_minute": 0}, "above zero"),
    ):
        with pytest.raises(InputError, match=said):
            OpenAIModel(found(here), **options)
    for url in ("localhost:8000/v1", "ftp://x/v1", "http://", "http://user:pass@x/v1"):
        with pytest.raises(InputError) as caught:
            OpenAIModel(found(url))
        assert "pass@" not in str(caught.value)
    with pytest.raises(InputError, match="above zero"):
        RetryPolicy(attempts=0)
    with pytest.raises(InputError, match="probe again"):
        asyncio.run(open_openai(MODEL, here, api="chat", capabilities=found(here)))


def test_requests_keep_a_pace():
    with serve("openai-legacy") as server:
        start = time.monotonic()
        requests = [request(t) for t in TARGETS[:4]]
        asked(found(server.url, k=5, k_max=5), requests, requests_per_minute=600)
        assert time.monotonic() - start >= 0.3


def test_a_model_lives_through_event_loops():
    with serve("vllm") as server:
        model = OpenAIModel(found(server.url, tokenizer="vllm", label_ids=True), patience=QUICK)

        async def work():
            answer = await model.ask(request())
            await model.close()
            return answer

        assert asyncio.run(work()).logprobs == asyncio.run(work()).logprobs
        asyncio.run(model.close())


def test_a_transport_can_be_given():
    def handle(sent):
        body = json.loads(sent.content)
        assert sent.url == "http://there/v1/completions"
        assert "authorization" not in sent.headers
        logprobs = {"tokens": [" B"], "token_logprobs": [-1.0], "top_logprobs": [{" A": -2.0}]}
        answer = {"model": "m", "provider": "p", "choices": [{"logprobs": logprobs}]}
        return httpx2.Response(200, json=answer | {"echo": body["model"]})

    transport = httpx2.MockTransport(handle)
    [answer] = asked(found("http://there/v1/"), [request(framing=FRAMINGS[2])], transport=transport)
    assert dict(zip(FRAMINGS[2].label_names, answer.logprobs, strict=True)) == {"A": -2, "B": -1}
    assert (answer.raw["provider"], answer.usage) == ("p", {})
