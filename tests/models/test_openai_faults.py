import json
import math
import re
import time
from dataclasses import replace

import httpx2
import pytest

from consilience.errors import AnswerError, InputError, ModelError, NoLogprobs, ServerError
from consilience.models.address import key_from_environment
from consilience.models.openai import OpenAIModel
from consilience.models.server import RetryPolicy
from consilience.models.wire import inner_status, refused, retry_after
from wire_client import KEYS, QUICK, all_requests, asked, found, request
from wire_model import IDS, VOCABULARY, Faults, variants
from wire_server import serve


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


# ---- what goes wrong ---------------------------------------------------------------------------

PASSING = ["429:0.01", "408", "409", "500", "502", "503", "cut", "malformed", "nan", "empty"]


HANG = pytest.param("hang", marks=pytest.mark.slow)  # a time-out passes


@pytest.mark.parametrize("fault", [*PASSING, HANG, "200-error"])
def test_a_passing_fault_ends_in_the_same_answer(fault):
    with serve("vllm", faults=Faults({1: fault, 2: fault}), hang=1.5) as server:
        here = found(server.url, tokenizer="vllm", label_ids=True)
        patience = replace(QUICK, timeout=1.0) if fault == "hang" else QUICK
        [answer] = asked(here, [request()], patience=patience)
        assert len(server.questions) == 3
        assert server.questions[0]["body"] == server.questions[2]["body"]
        values = server.model.logprobs(server.text(server.questions[0]["body"]))
        for name, logprob in zip(request().label_names, answer.logprobs, strict=True):
            ids = {IDS[VOCABULARY[i]] for i in variants(name)}
            assert logprob == pytest.approx(math.log(sum(math.exp(values[i]) for i in ids)))
        assert all(answer.exact)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("429:0.001", ServerError, r"HTTP 429 .*limits the rate.*lower the concurrency"),
        ("500", ServerError, r"HTTP 500 .*look at its log"),
        ("cut", ServerError, r"check that the server runs"),
        ("malformed", AnswerError, r"not JSON: '.\"choices\": \['; look at the server's log"),
        ("nan", AnswerError, r"nan stands where a log-probability should"),
        ("empty", AnswerError, r"no choices"),
        ("200-error", ServerError, r"HTTP 502 .*the provider failed"),
    ],
)
def test_a_lasting_fault_ends_in_one_line(fault, kind, said):
    with serve("openai-legacy", faults=Faults(always=fault)) as server:
        with pytest.raises(kind, match=said) as caught:
            asked(found(server.url, k=5, k_max=5), [request()])
        message = str(caught.value)
        assert f"POST {server.url}/completions, model 'tiny'" in message
        assert message.endswith("(after 5 attempts)")
        assert "\n" not in message
        assert not caught.value.fatal
        assert (caught.value.body is not None) == (fault not in ("cut", "hang"))
        assert len(server.questions) == 5


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (401, "set CONSILIENCE_API_KEY"),
        (402, "out of credit"),
        (403, "another model"),
        (404, "check the model's name"),
    ],
)
def test_a_refusal_is_final(status, cure):
    with serve("openai-legacy", faults=Faults(always=str(status))) as server:
        with pytest.raises(ServerError, match=rf"HTTP {status} .*as asked.*{cure}") as caught:
            asked(found(server.url, k=5, k_max=5), [request()])
        assert caught.value.fatal
        assert len(server.questions) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_that_may_be_of_the_row_is_not_tried_again_and_not_fatal(status):
    with serve("openai-legacy", faults=Faults(always=str(status))) as server:
        with pytest.raises(ServerError, match=rf"HTTP {status} .*as asked") as caught:
            asked(found(server.url, k=5, k_max=5), [request()])
        assert not caught.value.fatal
        assert caught.value.reason == ("too long" if status == 413 else "refused")
        assert len(server.questions) == 1


def test_a_time_out_says_so():
    with serve("openai-legacy", faults=Faults(always="hang")) as server:
        brief = RetryPolicy(timeout=0.05, attempts=2, pause=0.002)
        with pytest.raises(ServerError, match=r"no answer within 0.05 s; .*\(after 2 attempts\)"):
            asked(found(server.url, k=5, k_max=5), [request()], patience=brief)


def test_no_server_says_so():
    with serve("openai-legacy") as server:
        gone = server.url
    with pytest.raises(ServerError, match=r"check that the server runs.*\(after 5 attempts\)"):
        asked(found(gone), [request()])


def test_the_server_s_own_pause_is_kept_up_to_a_limit():
    with serve("openai-legacy", faults=Faults({1: "429:0.3"})) as server:
        patient = RetryPolicy(attempts=2, pause=0.001, longest_pause=1)
        start = time.monotonic()
        asked(found(server.url, k=5, k_max=5), [request()], patience=patient)
        assert time.monotonic() - start >= 0.3
    with serve("openai-legacy", faults=Faults(always="429:7200")) as server:
        said = r"it asks to wait 7200 s, longer than the 0.02 s allowed"
        with pytest.raises(ServerError, match=said):
            asked(found(server.url, k=5, k_max=5), [request()])


def test_without_log_probabilities_there_is_no_answer():
    for dialect in ("lm-studio", "transformers-serve"):
        with serve(dialect) as server:
            with pytest.raises(NoLogprobs, match=rf"{server.url} answered without"):
                asked(found(server.url), [request()])
            assert len(server.questions) == 1


def test_where_a_longer_list_is_refused_the_first_has_to_do():
    with serve("openai-legacy") as server:  # which gives five
        told = asked(found(server.url, k=2, k_max=9), all_requests("text"))
        longer = sum(r["body"]["logprobs"] == 9 for r in server.questions)
    assert longer == sum(not all(answer.exact) for answer in told) > 0
    assert not any("longer" in answer.raw for answer in told)


def test_many_faults_change_no_answer():
    requests = all_requests("text")
    with serve("vllm") as server:
        here = {"tokenizer": "vllm", "label_ids": True}
        calm = asked(found(server.url, **here), requests)
    with serve("vllm", faults=Faults(rate=0.5)) as server:
        stormy = asked(found(server.url, **here), requests)
        assert len(server.questions) > len(requests)
        assert len({json.dumps(r["body"]) for r in server.questions}) == len(requests)
    assert [a.logprobs for a in calm] == [a.logprobs for a in stormy]


# ---- the key -----------------------------------------------------------------------------------


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
    with serve("openai-legacy", key="sk-right") as server:
        with pytest.raises(ModelError, match="HTTP 401"):
            asked(found(server.url, k=5, k_max=5), [request()])
        assert "authorization" not in server.headers[-1]
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        here = found(server.url, k=5, k_max=5)
        [answer] = asked(here, [request()])
        assert server.headers[-1]["authorization"] == "Bearer sk-right"
        model = OpenAIModel(here)
        shown = [repr(model), json.dumps(model.settings), json.dumps(answer.raw), repr(answer)]
        assert not any("sk-right" in text for text in shown)
        monkeypatch.setenv("CONSILIENCE_API_KEY", "sk-wrong")
        with pytest.raises(ModelError, match=r"HTTP 401 .*\[key\].*set CONSILIENCE") as caught:
            asked(here, [request()])
        assert "sk-wrong" not in f"{caught.value} {caught.value.body} {caught.value!r}"


def test_openrouter_s_key_goes_to_openrouter_only():
    def key(url, **keys):
        return key_from_environment(httpx2.URL(url), keys)

    assert key("https://openrouter.ai/api/v1", OPENROUTER_API_KEY="r") == "r"
    assert key("http://openrouter.ai/api/v1", OPENROUTER_API_KEY="r") is None
    assert key("https://openrouter.ai.example.org", OPENROUTER_API_KEY="r") is None
    both = {"OPENROUTER_API_KEY": "r", "OPENAI_API_KEY": "o"}
    assert key("https://openrouter.ai/api/v1", **both) == "r"
    assert key("https://api.openai.com/v1", **both) == "o"
    assert key("https://x.openai.azure.com/openai", **both) == "o"
    assert key("https://api.openai.com.example.org/v1", **both) is None
    base = {"OPENAI_BASE_URL": "https://mine/v1", "OPENAI_API_KEY": "o"}
    assert key("https://mine/v1", **base) == "o"
    assert key("http://mine/v1", **base) is None
    assert key("https://mine:8443/v1", **base) is None
    assert key("http://localhost", CONSILIENCE_API_KEY=" c\n") == "c"
    with pytest.raises(InputError, match="OPENAI_API_KEY holds characters"):
        key("https://api.openai.com/v1", OPENAI_API_KEY="Schlüssel")


# ---- decisions ---------------------------------------------------------------------------------


def test_what_a_status_means():
    quota = refused("POST x", 429, {}, '{"code": "insufficient_quota"}')
    assert not quota.again and quota.error.fatal and "credit" in str(quota.error)
    assert not refused("POST x", 413, {}, "").error.fatal
    assert refused("POST x", 403, {}, "no access to this model").error.fatal
    long = refused("POST x", 400, {}, "This model's maximum context length is 4096 tokens")
    assert "fewer shots" in str(long.error)
    for status in (424, 498, 499):
        passing = refused("POST x", status, {}, "Flex tier capacity exceeded")
        assert passing.again and not passing.error.fatal and "run again later" in str(passing.error)
    unknown, key = (refused("POST x", status, {}, "no").error for status in (418, 401))
    assert unknown.fatal and unknown.doubtful and key.fatal and not key.doubtful
    many = refused("POST x", 400, {}, "Requested sample logprobs of 601, max allowed: 600")
    assert "smaller k" in str(many.error)
    assert "moved" in str(refused("POST x", 307, {}, "").error)
    body = "x\n" * 500
    shown = refused("POST x", 500, {}, body).error
    assert shown.body == body
    assert len(re.search("'(.*)'", str(shown)).group(1)) == 200


def test_an_error_that_came_with_http_200_has_a_status():
    broke = {"code": 502, "message": "Provider returned error"}
    assert inner_status({"error": broke}) == 502
    assert inner_status({"choices": [{"finish_reason": "error", "error": broke}]}) == 502
    assert inner_status({"choices": [{"logprobs": None}], "error": broke}) == 502
    fine = ({"choices": [{"error": None}]}, {"choices": [7]}, {"error": {"code": "x"}}, [], None)
    assert [inner_status(answer) for answer in fine] == [None] * 5


def test_retry_after():
    now = time.time()
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now + 100))
    assert retry_after({"retry-after": "3"}) == 3
    assert retry_after({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    assert 90 < retry_after({"retry-after": at}) < 101
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
    for far in ("21 Oct 2026 07:28:00 +99999999999999", "99999999999999999999 Oct 2026 07:28 GMT"):
        assert retry_after({"retry-after": f"Wed, {far}"}) is None
