import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from consilience.errors import InputError, NoLogprobs, ServerError
from consilience.models.capabilities import Capabilities, capability_rows
from consilience.models.listing import only_model
from consilience.models.openai import open_openai
from consilience.models.probe import probe
from consilience.models.server import RetryPolicy
from wire_model import Faults
from wire_server import DIALECTS, MODEL, serve

QUICK = RetryPolicy(timeout=10, total=60, attempts=3, pause=0.002, longest_pause=0.02)
SILENT = ("null", "drop")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("CONSILIENCE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def probed(url, api="auto", model=MODEL, **options):
    return asyncio.run(probe(url, model, api, **({"patience": QUICK} | options)))


def longest(cap):
    return cap or 200


def answers(shape):
    return shape is not None and shape not in SILENT


USABLE = [
    (name, api)
    for name, dialect in DIALECTS.items()
    for api in ("auto", "completions", "chat")
    if (api != "chat" and answers(dialect.completions))
    or (api != "completions" and answers(dialect.chat))
]


@pytest.mark.parametrize(("name", "api"), USABLE)
def test_the_probe_finds_what_the_dialect_declares(name, api):
    dialect = DIALECTS[name]
    with serve(dialect) as server:
        found = probed(server.url, api)
        assert found.calls == len(server.requests) <= 18
        counts = [r["prompt_tokens"] for r in server.questions if "prompt_tokens" in r]
        assert found.prompt_tokens == sum(counts) > 0
    text = api != "chat" and answers(dialect.completions)
    chat = api != "completions" and answers(dialect.chat)
    k_max = longest(dialect.cap if text else dialect.chat_cap)
    prefill = dialect.prefill if chat else None
    style = "text" if text else "chat-prefill" if prefill else "chat"
    assert (found.api, found.style) == ("completions" if text else "chat", style)
    assert (found.k_max, found.k) == (k_max, min(20, k_max))
    assert found.prefill == prefill
    assert found.count_logprobs == (chat and dialect.counts)
    assert found.listed is True
    assert found.tokenizer == dialect.tokenizer
    assert found.boundary == (True if dialect.tokenizer else None)
    assert found.label_ids == dialect.label_ids
    ids_known = dialect.tokenizer is not None or dialect.with_ids
    assert found.forced == (dialect.bias if ids_known else None)
    assert found.cached_tokens == dialect.cached
    assert found.context == dialect.context
    assert found.lists == (text and dialect.lists == "each")
    shape = {"entries": "entries", "arrays": "arrays", "flat": "arrays"}
    for asked, note, real in (
        (api != "chat", found.completions, dialect.completions),
        (api != "completions", found.chat, dialect.chat),
    ):
        said = f"log-probabilities as {shape.get(real)}" if real in shape else "log-probabilities"
        assert said in note if asked and real else note in ("not tried", "HTTP 404")
    if shape[dialect.completions if text else dialect.chat] == "entries":
        assert found.repeat_difference == 0.0
    assert Capabilities.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert all(left and right for left, right in capability_rows(found))


def test_a_text_that_several_tokens_share_is_not_compared_with_itself():
    asked = 0

    def answer(request):
        nonlocal asked
        if not request.url.path.endswith("/completions"):
            return httpx2.Response(404, json={})
        asked += 1
        # One of several tokens is kept under such a text, each time another.
        shared = {"": -5.0 - asked, " ": -6.0 - asked, "\ufffd": -7.0 - asked}
        top = {" True": -0.5, " False": -1.5, **shared}
        drawn = {"tokens": [" True"], "token_logprobs": [-0.5], "top_logprobs": [top]}
        return httpx2.Response(200, json={"choices": [{"logprobs": drawn}]})

    found = probed("http://localhost:1/v1", transport=httpx2.MockTransport(answer))
    assert asked > 1 and found.repeat_difference == 0.0


@pytest.mark.parametrize("name", ["lm-studio", "transformers-serve", "openrouter-null"])
@pytest.mark.parametrize("api", ["auto", "chat"])
def test_without_log_probabilities_the_cure_is_named(name, api):
    with serve(name) as server:
        with pytest.raises(NoLogprobs, match=r"no log-probabilities.*vLLM.*--logits_all") as caught:
            probed(server.url, api)
        assert str(caught.value).startswith(server.url)
        assert caught.value.fatal
        assert len(server.questions) <= 4


def test_refusals_end_the_probe_with_their_cure(monkeypatch):
    with serve("vllm") as server:
        with pytest.raises(ServerError, match=r"HTTP 404 .*`absent` does not exist.*model's name"):
            probed(server.url, model="absent")
        with pytest.raises(ServerError, match=r"HTTP 404 .*base URL ends where the API begins"):
            probed(server.url.removesuffix("/v1"))
        with pytest.raises(InputError, match="auto, completions or chat"):
            probed(server.url, "responses")
    with serve("vllm", key="right") as server:
        monkeypatch.setenv("CONSILIENCE_API_KEY", "wrong")
        with pytest.raises(ServerError, match=r"HTTP 401 .*set CONSILIENCE_API_KEY"):
            probed(server.url)
        # The list, which may be another key's, and one question.
        assert len(server.requests) == 2
    with pytest.raises(ServerError, match="check that the server runs"):
        probed(server.url)


def test_a_server_in_trouble_is_never_taken_for_one_that_cannot():
    in_trouble = pytest.raises(ServerError, match=r"HTTP 503 .*after 3 attempts")
    with serve("vllm", faults=Faults(always="503")) as server, in_trouble:
        probed(server.url)
    with serve("vllm", faults=Faults({2: "429:0.01", 4: "cut", 5: "nan"})) as server:
        stormy = probed(server.url)
    with serve("vllm") as server:
        calm = probed(server.url)
    spent = ("base_url", "calls", "prompt_tokens")
    same = [{k: v for k, v in c.to_json().items() if k not in spent} for c in (stormy, calm)]
    assert same[0] == same[1]


def test_a_server_that_always_fails_is_told_soon():
    def handle(request):
        return httpx2.Response(502, text="bad gateway")

    began = time.monotonic()
    with pytest.raises(ServerError, match=r"HTTP 502 .*after 3 attempts"):
        probed("http://there/v1", transport=httpx2.MockTransport(handle), patience=None)
    assert time.monotonic() - began < 10


def test_an_endpoint_that_breaks_leaves_the_other():
    def handle(request):
        if request.url.path == "/v1/chat/completions":
            top = [{"token": t, "logprob": -1.0 - i} for i, t in enumerate("ABCDE")]
            choice = {"logprobs": {"content": [{**top[0], "top_logprobs": top}]}}
            return httpx2.Response(200, json={"choices": [choice]})
        status = 500 if request.url.path == "/v1/completions" else 405
        return httpx2.Response(status, text="logits_all must be true")

    found = probed("http://there/v1", transport=httpx2.MockTransport(handle))
    assert (found.api, found.style, found.k_max) == ("chat", "chat", 5)  # capped silently
    assert found.completions == "HTTP 500"
    assert found.listed is None
    assert "the server has no list, or it may not be read" in dict(capability_rows(found)).values()


def listing_alone(request):
    """The list of models, of a server that has one; None for a question."""
    if request.url.path == "/v1/models":
        return httpx2.Response(200, json={"data": [{"id": MODEL}]})
    return None


def listed(body, most):
    """A list of as many entries as a question asks for, and of at most so many."""
    count = min(body.get("top_logprobs") or body["logprobs"], most)
    top = [{"token": f"w{i}", "logprob": -1.0 - i} for i in range(count)]
    content = [{**top[0], "top_logprobs": top}]
    return httpx2.Response(200, json={"choices": [{"logprobs": {"content": content}}]})


def breaking(most, broken):
    """A server of chats alone, which breaks where it is asked for more than so many."""

    def handle(request):
        if (answer := listing_alone(request)) is not None:
            return answer
        body = json.loads(request.content or b"{}")
        if "chat" not in request.url.path:
            return broken(request)
        return broken(request) if body["top_logprobs"] > most else listed(body, 200)

    return httpx2.MockTransport(handle)


def cut(request):
    raise httpx2.RemoteProtocolError("Server disconnected")


@pytest.mark.parametrize("broken", [cut, lambda r: httpx2.Response(500)], ids=["cut", "500"])
@pytest.mark.parametrize(("most", "k_max"), [(10, 5), (20, 20), (64, 20)])
def test_a_server_that_breaks_at_a_long_list_is_asked_for_a_shorter(broken, most, k_max):
    found = probed("http://there/v1", transport=breaking(most, broken))
    assert (found.api, found.k_max) == ("chat", k_max)
    assert found.completions == ("a cut connection" if broken is cut else "HTTP 500")


@pytest.mark.parametrize("broken", [cut, lambda r: httpx2.Response(500)], ids=["cut", "500"])
def test_a_server_that_breaks_at_every_list_is_told_soon_and_as_it_is(broken):
    sent = []

    def handle(request):
        sent.append(request.url.path)
        return broken(request) if "completions" in sent[-1] else listing_alone(request)

    said = "Server disconnected; check that" if broken is cut else "HTTP 500"
    with pytest.raises(ServerError, match=said):
        probed("http://there/v1", transport=httpx2.MockTransport(handle))
    assert len(sent) <= 9


def test_a_server_that_is_not_there_is_asked_once_with_patience():
    sent = []

    def handle(request):
        sent.append(request.url.path)
        raise httpx2.ConnectError("connection refused")

    with pytest.raises(ServerError, match="check that the server runs"):
        probed("http://there/v1", transport=httpx2.MockTransport(handle))
    assert len(sent) == 1 + QUICK.attempts


@pytest.mark.parametrize(("given", "api"), [(0, "chat"), (3, "chat"), (5, "completions")])
def test_an_endpoint_with_hardly_a_list_is_left_for_one_with_a_longer(given, api):
    def handle(request):
        if (answer := listing_alone(request)) is not None:
            return answer
        body = json.loads(request.content or b"{}")
        if "chat" in request.url.path:
            return listed(body, 20)
        if not request.url.path.endswith("/completions"):
            return httpx2.Response(404)
        if given:
            return listed(body, given)
        drawn = {"tokens": [" True"], "token_logprobs": [-0.5], "top_logprobs": None}
        return httpx2.Response(200, json={"choices": [{"logprobs": drawn}]})

    found = probed("http://there/v1", transport=httpx2.MockTransport(handle))
    assert (found.api, found.k_max) == (api, 20 if api == "chat" else given)
    if not given:
        assert found.completions == "the log-probability of the drawn token alone"
        with pytest.raises(NoLogprobs, match="drawn token alone"):
            probed("http://there/v1", "completions", transport=httpx2.MockTransport(handle))


def test_extra_fields_reach_every_question():
    extra = {"provider": {"only": ["x"], "require_parameters": True}}
    with serve("openai-chat") as server:
        probed(server.url, extra_body=extra)
        assert all(r["body"]["provider"] == extra["provider"] for r in server.questions)
        with pytest.raises(InputError, match="messages"):
            probed(server.url, extra_body={"messages": []})


def test_capabilities_open_a_model_without_a_probe():
    with serve("vllm") as server:
        found = probed(server.url)
        before = len(server.requests)
        model = asyncio.run(open_openai(MODEL, server.url, capabilities=found))
        assert len(server.requests) == before
        again = asyncio.run(open_openai(MODEL, server.url, patience=QUICK))
        assert model.settings == again.settings
        assert (model.name, model.style) == (MODEL, "text")
    with pytest.raises(InputError, match="unknown fields \\['colour'\\]"):
        Capabilities.from_json(found.to_json() | {"colour": "red"})


def test_the_table_says_how_labels_outside_the_list_are_read():
    base = {"base_url": "u", "model": "m", "api": "completions", "style": "text"}
    cases = {
        "exact in one request": {"label_ids": True},
        "bounded": {},
        "asked again with k 200, then forced, one request each, then bounded": {
            **{"k_max": 200, "tokenizer": "vllm", "forced": "raw"}
        },
    }
    for said, more in cases.items():
        found = Capabilities(**({"k": 20, "k_max": 20} | base | more))
        assert dict(capability_rows(found))["labels outside the list"] == said


def test_the_fixture_runs_as_a_process(tmp_path):
    script = Path(__file__).parents[1] / "helpers" / "wire_server.py"
    log = tmp_path / "log.jsonl"
    command = [sys.executable, str(script), "--dialect", "tgi", "--log", str(log), "--delay", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = probed(process.stdout.readline().strip())
        finally:
            process.kill()
    assert found.k_max == 5
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == found.calls


def test_the_only_model_of_a_server_needs_no_name() -> None:
    with serve("vllm") as server:
        assert asyncio.run(only_model(server.url)) == "tiny"
        assert not server.questions
