"""The way to a server: secrets, redirects, proxies, certificates, and bodies beyond reason."""

from __future__ import annotations

import asyncio
import csv
import gzip
import html
import json
import re
import stat
import sys
import tracemalloc
from dataclasses import replace
from urllib.parse import quote

import httpx2
import pytest
import trustme

from command import consilience
from consilience.cli import opening
from consilience.cli.config import built
from consilience.cli.opening import open_embedder
from consilience.errors import AnswerError, InputError, MissingExtra, ServerError
from consilience.models.address import Address
from consilience.models.server import Server
from consilience.store.schema import json_text
from made_up import TASK_OPTIONS
from odd_server import said, serve_odd
from proxies import proxied
from wire_client import KEYS, QUICK, asked, found, request
from wire_server import serve

SECRETS = {"key": "sk-secret-of-mine", "header": "hush-hush-1", "query": "quiet+please 2"}


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch):
    proxies = [name + "_proxy" for name in ("http", "https", "all", "no")]
    for name in (*KEYS, *proxies, *(p.upper() for p in proxies), "CONSILIENCE_CA_FILE"):
        monkeypatch.delenv(name, raising=False)


# ---- secrets -----------------------------------------------------------------------------------


def telltale(request, status):
    """A server that repeats all that it was sent."""
    told = {"h": dict(request.headers), "q": request.url.query}
    return said(status, {"error": {"message": f"no: {json.dumps(told)}"}})


@pytest.mark.parametrize("lasting", [False, True])
def test_secrets_are_in_no_file_and_no_output(lasting, tmp_path, monkeypatch):
    path = tmp_path / "claims.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["text"], *([f"The lamp number {i} is lit."] for i in range(9))]
        )
    monkeypatch.setenv("CONSILIENCE_API_KEY", SECRETS["key"])

    def reply(request, body, text):
        if "number 3" in text or (lasting and "lamp" in text):
            return telltale(request, 400)
        return None

    with serve_odd(reply, key=SECRETS["key"]) as server:
        url = f"{server.url}?api-version=7&code=quiet%2Bplease+2"
        done = consilience(
            "run", path, *TASK_OPTIONS, "--model", "openai:tiny", "--base-url", url,
            "--set", "planning.census=0",
            "--store", tmp_path / "s.db", "--output", tmp_path / "l.csv",
            "--set", "model.retries=0",
            "--set", f"model.headers.X-Gate={SECRETS['header']}", "--calls-per-example", "2",
            code=int(lasting),
        )  # fmt: skip
        [odd] = [h for h in server.headers if h.get("x-gate") != SECRETS["header"]] or [None]
        assert odd is None
        assert server.headers[-1]["authorization"] == f"Bearer {SECRETS['key']}"
    shown = [done.stdout, done.stderr]
    shown += [p.read_bytes().decode("latin-1") for p in tmp_path.iterdir() if p != path]
    for secret in (*SECRETS.values(), "quiet%2Bplease", "quiet+please+2"):
        assert not any(secret in text for text in shown), secret
    assert "[hidden]" in "".join(shown) and "[key]" in "".join(shown)
    assert "api-version=7" in "".join(shown)


KEY = "Zk9+aa/Qw3rT==xY7&z"
FORMS = {
    "plain": KEY,
    "percent": quote(KEY, safe=""),
    "a path": quote(KEY),
    "lower case": re.sub("%..", lambda found: found[0].lower(), quote(KEY, safe="")),
    "twice": quote(quote(KEY, safe=""), safe=""),
    "html": html.escape(KEY),
    "html by numbers": KEY.replace("&", "&#38;").replace("+", "&#x2B;"),
    "json": json.dumps(KEY).strip('"').replace("&", "\\u0026").replace("/", "\\/"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("held", ["key", "header", "cookie", "query"])
def test_a_secret_is_hidden_however_a_server_writes_it(held, form, monkeypatch):
    url, headers = "http://h/v1", {}
    if held == "key":
        monkeypatch.setenv("CONSILIENCE_API_KEY", KEY)
    elif held == "query":
        url += f"?sig={quote(KEY, safe='/')}"
    else:
        headers = {"header": {"X-Gate": KEY}, "cookie": {"Cookie": f"a=1; sid={KEY}; b=2"}}[held]
    shown = hidden(url, headers, f"no such key: /login?key={FORMS[form]}&more")
    assert shown == f"no such key: /login?key={'[key]' if held == 'key' else '[hidden]'}&more"


@pytest.mark.parametrize("sent", ["ab+cd+efgh+Q9", "Zk9aa%2bQw3rT/%2f", "k%C3%A4se%2Dbrot1"])
def test_a_query_is_hidden_as_it_was_sent(sent):
    assert hidden(f"http://h/v1?key={sent}", {}, f"/v1/x?key={sent}") == "/v1/x?key=[hidden]"


def test_the_scheme_of_a_key_is_not_hidden():
    headers = {"Authorization": "Bearer abc123def456"}
    shown = hidden("http://h/v1", headers, "abc123def456 is no Bearer token")
    assert shown == "[hidden] is no Bearer token"


def hidden(url, headers, text):
    """What is kept of a refusal by a server of that address."""

    async def work():
        transport = httpx2.MockTransport(lambda request: httpx2.Response(401, text=text))
        server = Server(url, "m", headers=headers, transport=transport)
        with pytest.raises(ServerError) as caught:
            await server.call("POST", "/completions", {}, bool)
        return caught.value.body

    return asyncio.run(work())


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("word", [None, "header", "query", "key"])
def test_what_is_hidden_changes_no_answer(word, lists, monkeypatch):
    """A name of a class may stand in a header, and a key may be any word."""
    with serve("vllm") as server:
        here = found(server.url, lists=lists)
        [plain] = asked(here, [request()])
        if word == "key":
            monkeypatch.setenv("CONSILIENCE_API_KEY", "logprobs")
        url = server.url + ("?project=logprobs" if word == "query" else "")
        headers = {"X-Title": "logprobs or not"} if word == "header" else None
        answers = asked(here, [request()] * (3 if lists else 1), base_url=url, headers=headers)
    for answer in answers:
        assert (answer.logprobs, answer.exact) == (plain.logprobs, plain.exact)
        assert ("logprobs" in json.dumps(answer.raw)) == (word != "key")


@pytest.mark.parametrize("lists", [False, True])
def test_an_answer_is_stored_without_secrets_and_stays_json(lists, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_API_KEY", "123456")

    def reply(request, body, text):
        prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
        drawn = {"tokens": [" True"], "token_logprobs": [-0.9]}
        listed = drawn | {"top_logprobs": [{" False": -1.0, " True": -0.9, "\n": -4.0}]}
        choices = [{"index": i, "text": " True", "logprobs": listed} for i, _ in enumerate(prompts)]
        return said(200, {"id": "call-\\123456", "created": 1234567, "choices": choices})

    with serve_odd(reply) as server:
        answers = asked(found(server.url, lists=lists), [request()] * 3)
    for answer in answers:
        assert answer.logprobs == (-1.0, -0.9)
        kept = json.loads(json_text(answer.raw))
        assert kept["id"] in ("call-[key]", "call-\\[key]") and kept["created"] == 1234567


def test_files_with_texts_are_for_their_owner(tmp_path, monkeypatch):
    path = tmp_path / "claims.csv"
    path.write_text("text\na\nb\nc\nd\n")
    with serve("openai-legacy") as server:
        words = ["run", path, *TASK_OPTIONS, "--model", "openai:tiny", "--base-url", server.url]
        consilience(*words, "--store", tmp_path / "s.db", "--output", tmp_path / "l.csv")
    consilience("store", "export", tmp_path / "s.db", tmp_path / "s.jsonl")
    consilience("export", tmp_path / "e.parquet", "--store", tmp_path / "s.db")
    for name in ("s.db", "l.csv", "s.jsonl", "e.parquet"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "tiny" in consilience("store", "stats", "~/s.db").stdout


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status, monkeypatch):
    monkeypatch.setenv("CONSILIENCE_API_KEY", SECRETS["key"])
    with serve("openai-legacy") as other:
        to = {"location": f"{other.url}/completions"}
        moved = pytest.raises(ServerError, match=rf"HTTP {status}.*address that it redirects to")
        with serve_odd(lambda r, b, text: said(status, "", **to)) as server, moved:
            asked(found(server.url, k=5, k_max=5), [request()])
        assert not other.headers


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/v1/", "http://h/v1"),
        ("http://h/o?api-version=1&key=hush-hush", "http://h/o?api-version=1&key=[hidden]"),
        ("https://h:8/v1?token=a%20b", "https://h:8/v1?token=[hidden]"),
        ("http://h/v1/a%2Fb/o/?k=1", "http://h/v1/a%2Fb/o?k=[hidden]"),
        ("http://h/v1%3Fx/y%20z", "http://h/v1%3Fx/y%20z"),
    ],
)
def test_what_of_an_address_is_shown(url, shown):
    address = Address.of(url)
    assert address.shown == shown
    assert str(address.at("/x")).startswith(shown.partition("?")[0] + "/x")
    assert Server(url, "m").base_url == shown


@pytest.mark.parametrize(
    "url",
    ["http://u:hush-hush@h/v1", "ftp://h/?k=hush-hush", "http://h:hush-hush/v1", "hush-hush\x00"],
)
def test_an_address_that_is_none_is_refused_without_its_secrets(url):
    with pytest.raises(InputError, match="base URL") as caught:
        Address.of(url)
    assert "hush-hush" not in str(caught.value) or url.startswith("hush")


@pytest.mark.parametrize("header", ["Schlüssel=x", "a b=x", "x=\ny", "Host=x", "x"])
def test_headers_that_cannot_be_sent_are_refused(header):
    done = consilience(
        "probe", "http://127.0.0.1:9", "--model", "m", "--set", f"model.headers.{header}", code=2
    )
    assert len(done.stderr.splitlines()) == 1


def test_headers_come_from_the_environment_too(monkeypatch):
    def reply(request, body, text):
        return None if request.headers.get("x-api-key") == "hush-hush" else said(401, "no")

    with serve_odd(reply) as server:
        words = ["probe", server.url, "--model", "tiny"]
        assert "model.headers" in consilience(*words, code=1).stderr
        consilience(*words, "--set", "model.headers.x-api-key=hush-hush")
        monkeypatch.setenv("CONSILIENCE_HEADERS", '{"X-API-Key": "hush-hush"}')
        consilience(*words)
        monkeypatch.setenv("CONSILIENCE_HEADERS", "x-api-key: hush-hush")
        assert "JSON object" in consilience(*words, code=2).stderr


def test_a_server_of_embeddings_gets_the_key_that_is_its_own(monkeypatch):
    monkeypatch.setenv("CONSILIENCE_API_KEY", SECRETS["key"])
    with serve_odd(lambda r, b, t: said(400, "no")) as server:
        embed = {"relations": {"embed": "openai:e", "embed_url": server.url}}
        model = {"headers": {"X-Gate": SECRETS["header"]}, "timeout": 7.0, "rate": 600.0}
        other = built(0, None, embed, {"model": model | {"base_url": "http://other/v1"}})
        for own in (None, "sk-of-embeddings"):
            if own:
                monkeypatch.setenv("CONSILIENCE_EMBED_API_KEY", own)
            with pytest.raises(ServerError, match="HTTP 400"):
                open_embedder(other).embed(["a"])
            sent = server.headers[-1]
            assert sent.get("authorization") == (own and f"Bearer {own}") and "x-gate" not in sent
        same = built(0, None, embed, {"model": model | {"base_url": server.url}})
        with pytest.raises(ServerError, match="HTTP 400"):
            open_embedder(same).embed(["a"])
        assert server.headers[-1]["authorization"] == f"Bearer {SECRETS['key']}"
        # It is reached as the model there is.
        assert server.headers[-1]["x-gate"] == SECRETS["header"]
        reached = open_embedder(same).options
        assert (reached["patience"].timeout, reached["requests_per_minute"]) == (7, 600)


# ---- proxies and certificates ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_a_proxy_of_the_environment_is_used(kind, monkeypatch):
    with serve("openai-legacy") as server, proxied(kind, int(server.url.split(":")[2][:-3])) as way:
        monkeypatch.setenv("ALL_PROXY", way.address)
        [answer] = asked(found("http://model.example/v1", k=5, k_max=5), [request()])
        assert way.hosts[0].startswith("model.example")
        # This machine itself is spoken to directly.
        [direct] = asked(found(server.url, k=5, k_max=5), [request()])
        assert len(way.hosts) == 1
    assert answer.logprobs[0] == direct.logprobs[0]


def test_a_host_that_needs_no_proxy_is_spoken_to_directly(monkeypatch):
    with (
        serve("openai-legacy") as server,
        proxied("http", int(server.url.split(":")[2][:-3])) as way,
    ):
        monkeypatch.setenv("HTTP_PROXY", way.address)
        here = found("http://127.0.0.9:9/v1", k=5, k_max=5)
        assert asked(here, [request()])
        monkeypatch.setenv("NO_PROXY", "10.0.0.1, 127.0.0.9")
        with pytest.raises(ServerError, match="check that the server runs"):
            asked(here, [request()], patience=replace(QUICK, attempts=1))
    assert len(way.hosts) == 1


def test_a_header_of_the_user_s_stands_in_the_place_of_the_usual_one():
    with serve("openai-legacy") as server:
        here = found(server.url, k=5, k_max=5)
        asked(here, [request()])
        asked(here, [request()], headers={"user-agent": "mine", "Accept": "application/json"})
        usual, own = server.headers[0], server.headers[-1]
    assert (usual["user-agent"], usual["content-type"]) == ("consilience", "application/json")
    assert (own["user-agent"], own["accept"]) == ("mine", "application/json")


@pytest.mark.parametrize(
    "value", ["htp://127.0.0.1:1", "http://user:p#ss@127.0.0.1:1", "socks4://x"]
)
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(value, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(InputError, match="proxy in HTTP_PROXY") as caught:
        asked(found("http://model.example/v1"), [request()])
    assert "p#ss" not in str(caught.value)


def test_a_proxy_that_needs_a_package_names_the_extra(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(MissingExtra, match=r"ALL_PROXY.*consilience\[socks\]"):
        asked(found("http://model.example/v1"), [request()])


def test_a_private_authority_is_named_in_a_variable(tmp_path, monkeypatch):
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = {"ssl_certfile": str(tmp_path / "server.pem")}
    with serve_odd(lambda r, b, t: None, tls=tls) as server:
        here = found(server.url, k=5, k_max=5)
        with pytest.raises(ServerError, match="CONSILIENCE_CA_FILE") as caught:
            asked(here, [request()])
        assert caught.value.fatal
        monkeypatch.setenv("CONSILIENCE_CA_FILE", str(tmp_path / "none.pem"))
        with pytest.raises(InputError, match="no file of certificates"):
            asked(here, [request()])
        monkeypatch.setenv("CONSILIENCE_CA_FILE", str(tmp_path / "ca.pem"))
        assert asked(here, [request()])


# ---- bodies beyond reason ----------------------------------------------------------------------

DEEP = "[" * 100_000 + "]" * 100_000
ODD = {
    "deep": (DEEP, "deep"),
    "deeper than real": (json.dumps({"choices": json.loads("[" * 90 + "]" * 90)}), "deep"),
    "a stream": ("data: {}\n\ndata: [DONE]\n\n", "stream of events"),
    "a page": ("<!doctype html><html></html>", r"usually in /v1"),
    "a number": ("7", "not a JSON object"),
    "an endless number": ('{"x": ' + "9" * 10_000 + "}", "not JSON"),
    "lists for objects": ('{"choices": [{"logprobs": {"content": [[]]}}]}', "not an object"),
    "numbers for tokens": (
        '{"choices": [{"logprobs": {"tokens": [1], "token_logprobs": [2], "top_logprobs": [3]}}]}',
        "unknown shape",
    ),
    "objects for numbers": (
        '{"choices": [{"logprobs": {"tokens": ["a"], "token_logprobs": [0], '
        '"top_logprobs": [{"a": {"b": 1}}]}}]}',
        "stands where a log-probability",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_body_is_one_line_and_is_kept(kind):
    body, why = ODD[kind]
    unusable = pytest.raises(AnswerError, match=why)
    with serve_odd(lambda r, b, text: said(200, body)) as server, unusable as caught:
        asked(found(server.url, k=5, k_max=5), [request()])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert caught.value.body == body


USAGES = [
    {"prompt_tokens": "many"}, {"prompt_tokens": 1e400}, {"prompt_tokens": -5}, [1, 2], "x", 7,
    {"prompt_tokens": True}, {"prompt_tokens": {"a": 1}}, {"prompt_tokens_details": [1]},
    {"prompt_tokens_details": {"cached_tokens": None}}, {"prompt_tokens": 10**30}, {"": {"": 1}},
]  # fmt: skip


@pytest.mark.parametrize("usage", USAGES, ids=str)
def test_a_strange_usage_costs_nothing_but_itself(usage):
    entries = [{"token": t, "logprob": v} for t, v in ((" True", -0.4), (" False", -1.2))]
    content = {"choices": [{"logprobs": {"content": [{**entries[0], "top_logprobs": entries}]}}]}
    answer = json.dumps(content | {"usage": usage})
    with serve_odd(lambda r, b, text: said(200, answer) if text else None) as server:
        [got] = asked(found(server.url, k=5, k_max=5), [request()])
        assert got.exact == (True, True)
        if not isinstance(usage, dict) or "prompt_tokens_details" in usage:
            consilience("probe", server.url, "--model", "tiny")


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_that_is_too_large_is_not_read(packed):
    huge = b'{"x": "' + b"a" * (50 * 2**20) + b'"}'
    body = gzip.compress(huge) if packed else huge

    def reply(request, _, text):
        answer = said(200, "")
        answer.body = body
        answer.headers["content-length"] = str(len(body))
        if packed:
            answer.headers["content-encoding"] = "gzip"
        return answer

    with serve_odd(reply) as server:
        tracemalloc.start()
        with pytest.raises(AnswerError, match=r"larger than 4,194,304 bytes") as caught:
            asked(found(server.url, k=5, k_max=5), [request()], patience=QUICK)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # What is sent as it stands is in the memory of this process, because the server is.
    assert most < 40 * 2**20 or not packed
    assert caught.value.body.startswith('{"x": "aaa')


def test_a_packed_body_that_is_small_is_read():
    entries = [{"token": t, "logprob": v} for t, v in ((" True", -0.4), (" False", -1.2))]
    content = {"choices": [{"logprobs": {"content": [{**entries[0], "top_logprobs": entries}]}}]}

    def reply(request, _, text):
        answer = said(200, "")
        answer.body = gzip.compress(json.dumps(content).encode())
        answer.headers["content-length"] = str(len(answer.body))
        answer.headers["content-encoding"] = "gzip"
        return answer

    with serve_odd(reply) as server:
        assert asked(found(server.url, k=5, k_max=5), [request()])[0].mass > 0.9


def test_a_model_list_that_may_not_be_read_stops_nothing(monkeypatch):
    # Each of the probe's small requests to a server in trouble waits for it to come back.
    monkeypatch.setattr(opening, "patience", lambda said: QUICK)
    for status in (401, 502):
        with serve_odd(lambda r, b, t, s=status: None if t else said(s, "no")) as server:
            assert "may not be read" in consilience("probe", server.url, "--model", "tiny").stdout
            with pytest.raises(AssertionError, match="--model"):
                consilience("probe", server.url)


def test_the_field_for_the_length_is_found():
    def reply(request, body, text):
        if "max_tokens" in body:
            return said(
                400, {"error": "Unsupported parameter. Use 'max_completion_tokens' instead."}
            )
        return None

    with serve_odd(reply, "ollama") as server:
        done = consilience("probe", server.url, "--model", "tiny", "--json")
        assert json.loads(done.stdout)["length"] == "max_completion_tokens"
        assert any("max_completion_tokens" in r["body"] for r in server.questions)


@pytest.mark.parametrize("switch", ["chat_template_kwargs", "reasoning_effort", None])
def test_thinking_is_switched_off_or_refused(switch):
    first = {"token": "<think>", "logprob": -0.0005}
    entries = [first, {"token": "True", "logprob": -9.0}]

    def reply(request, body, text):
        if request.url.path == "/v1/completions":
            return said(404, "not here")
        if not text or (switch and switch in body):
            return None
        return said(
            200, {"choices": [{"logprobs": {"content": [{**first, "top_logprobs": entries}]}}]}
        )

    with serve_odd(reply, "openai-chat" if switch is None else "sglang") as server:
        words = ["probe", server.url, "--model", "tiny", "--json"]
        if switch is None:
            said_so = consilience(*words, code=1).stderr
            assert "begins with '<think>'" in said_so and "0.00012 falls on the labels" in said_so
        else:
            known = json.loads(consilience(*words).stdout)
            assert list(known["thinking_off"]) == [switch]
            assert known["mass"] > 0.1


def test_an_error_that_nobody_foresaw_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("consilience.models.listing.only_model", lambda *a, **k: 1 / 0)
    done = consilience("probe", "http://127.0.0.1:9", code=1)
    assert done.stderr.startswith("consilience: ZeroDivisionError: division by zero; nobody")
    assert len(done.stderr.splitlines()) == 1
    monkeypatch.setenv("CONSILIENCE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        consilience("probe", "http://127.0.0.1:9")
