"""A server on this machine that speaks like each kind of OpenAI-compatible server, over real HTTP.

    with serve("vllm") as server: ...server.url, server.requests, server.model.logprobs(text)

or as a process of its own, which prints its base URL:

    python tests/helpers/wire_server.py --dialect vllm --port 0 --log FILE [--delay MS] [--world]

Behind every dialect is one pseudo language model whose next-token distribution is a hash of the
prompt, so that what a client recovers can be compared with what is true. Faults come on request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from wire_model import VOCABULARY, Faults, PseudoModel, number_of, tokenize
from wire_run import running

MODEL = "tiny"


@dataclass(frozen=True)
class Dialect:
    """What one kind of server does; see `DIALECTS`.

    An endpoint answers in `arrays`, in `entries`, in `flat` arrays for chat, with `null`, by
    leaving the key out (`drop`), or not at all (None). A cap is a refusal above it. A list of
    prompts is `refused`, `each` is answered, or it is answered as hostile servers do: `first` and
    `joined` with one answer, `reversed` in the wrong order, `unnumbered` without an index.
    """

    name: str
    completions: str | None = "arrays"
    chat: str | None = "entries"
    cap: int | None = None
    chat_cap: int | None = None
    counts: bool = False
    with_ids: bool = False
    with_bytes: bool = True
    strict: bool = False
    bias: str = "raw"
    prefill: str | None = None
    tokenizer: str | None = None
    label_ids: bool = False
    zero: float | None = None
    cached: bool = False
    sampled_first: bool = False
    context: int | None = None
    lists: str = "refused"


DIALECTS = {
    d.name: d
    for d in (
        Dialect("openai-legacy", chat=None, cap=5, strict=True, bias="biased", lists="each"),
        Dialect("openai-chat", completions=None, chat_cap=20, strict=True, cached=True),
        Dialect(
            "vllm", cap=20, chat_cap=20, prefill="flag", tokenizer="vllm", label_ids=True,
            zero=-9999.0, cached=True, sampled_first=True, context=4096, lists="each",
        ),
        Dialect("sglang", bias="biased", prefill="flag", tokenizer="vllm", lists="each"),
        Dialect(
            "llama-server", completions="entries", with_ids=True, prefill="trailing",
            tokenizer="llama-server", zero=-3.4028235e38, cached=True, context=2048,
        ),
        Dialect("llama-cpp-python", with_bytes=False, tokenizer="llama-cpp-python"),
        Dialect("together", chat="flat", cap=20, chat_cap=20, counts=True),
        Dialect("ollama", completions="entries", cap=20, chat_cap=20, bias="ignored"),
        Dialect("tgi", completions="null", chat_cap=5, with_bytes=False, prefill="trailing",
                bias="ignored"),
        Dialect("lm-studio", completions="null", chat="null"),
        Dialect("transformers-serve", completions="drop", chat="drop"),
        Dialect("openrouter-null", completions=None, chat="null"),
    )
}  # fmt: skip

KNOWN_FIELDS = {
    *("model", "prompt", "messages", "max_tokens", "temperature", "top_p", "logprobs"),
    *("top_logprobs", "logit_bias", "user", "provider", "stop"),
}


class Refusal(Exception):
    """An HTTP status other than success, with its message and headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class Cut(Response):
    """A response that ends in the middle."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"choices"', "more_body": True})


@dataclass
class WireServer:
    """The fixture itself: what it was asked, in order, and how it answers."""

    dialect: Dialect
    model: PseudoModel = field(default_factory=PseudoModel)
    faults: Faults = field(default_factory=Faults)
    key: str | None = None
    delay: float = 0.0
    hang: float = 1.0
    log: Path | None = None
    writes: Callable[[str], str] = lambda prompt: f" {number_of('text', prompt) % 1000} are warm."
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: Counter[str] = field(default_factory=Counter)

    @property
    def notes(self) -> list[dict[str, Any]]:
        """The requests for a text."""
        return [r for r in self.questions if "logprobs" not in r["body"]]

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The requests to the model, without those to a list of models or a tokenizer."""
        return [r for r in self.requests if r["path"].endswith("completions")]

    def collapses(self, record: Mapping[str, Any]) -> bool:
        """Whether the answer to a question was a mapping from strings, where twins are one."""
        chat = record["path"].endswith("chat/completions")
        shape = self.dialect.chat if chat else self.dialect.completions
        return shape in ("arrays", "flat") and "logprob_token_ids" not in record["body"]

    def app(self) -> Starlette:
        """The application with every address that some server has."""
        paths = ("/v1/completions", "/v1/chat/completions", "/tokenize", "/extras/tokenize")
        routes = [Route(path, self._handle, methods=["POST"]) for path in paths]
        asked = (Route(path, self._handle, methods=["GET"]) for path in ("/v1/models", "/props"))
        return Starlette(routes=[*routes, *asked])

    async def _handle(self, request: Request) -> Response:
        path = request.url.path
        body = json.loads(await request.body() or b"{}")
        asked = path.endswith("completions")
        text = self.text(body) if asked else ""
        self.times[text] += 1
        self.headers.append(dict(request.headers))
        record = {"path": path, "body": body, "nth": self.times[text]}
        self.requests.append(record)
        if self.log:
            with self.log.open("a") as file:
                file.write(json.dumps(record) + "\n")
                file.flush()
        await asyncio.sleep(self.delay)
        fault = self.faults.of(len(self.questions), text, self.times[text]) if asked else None
        try:
            self._check_key(request)
            if fault == "hang":
                await asyncio.sleep(self.hang)
            if fault == "cut":
                return Cut()
            if fault and fault[0] in "45":
                status, _, wait = fault.partition(":")
                raise Refusal(int(status), "as asked", {"retry-after": wait} if wait else None)
            if not asked:
                answer = self._other(path, body)
            elif isinstance(body.get("prompt"), list):
                answer = self._listed(record)
            else:
                answer = self._completion(record, text)
        except Refusal as refusal:
            error = {"error": {"message": str(refusal), "code": refusal.status}}
            return _json(error, refusal.status, refusal.headers)
        if fault == "malformed":
            return Response('{"choices": [', media_type="application/json")
        if fault == "empty":
            answer["choices"] = []
        if fault == "200-error":
            answer = {"error": {"message": "the provider failed", "code": 502}}
        if fault == "nan":
            answer["choices"] = [{"logprobs": {"content": [{"token": "A", "logprob": math.nan}]}}]
        return _json(answer)

    def _check_key(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if self.key is not None and given != f"Bearer {self.key}":
            raise Refusal(401, f"Incorrect API key provided: {given}")

    def _other(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if path == "/v1/models":
            entry: dict[str, Any] = {"id": MODEL, "object": "model"}
            if self.dialect.tokenizer == "vllm" and self.dialect.context:
                entry["max_model_len"] = self.dialect.context
            return {"object": "list", "data": [entry]}
        kind = self.dialect.tokenizer
        if path == "/props" and kind == "llama-server":
            return {"default_generation_settings": {"n_ctx": self.dialect.context}}
        own = "/extras/tokenize" if kind == "llama-cpp-python" else "/tokenize"
        if kind is None or path != own:
            raise Refusal(404, "Not Found")
        field = {"vllm": "prompt", "llama-server": "content", "llama-cpp-python": "input"}[kind]
        return {"tokens": tokenize(body.get(field, ""))}

    def text(self, body: Mapping[str, Any]) -> str:
        """The whole prompt as the model sees it, the chat template applied."""
        if "messages" not in body:
            return "".join(body["prompt"])
        messages = body["messages"]
        parts = [f"<|{m['role']}|>{m['content']}<|end|>" for m in messages]
        last_is_open = messages[-1]["role"] == "assistant" and (
            self.dialect.prefill == "trailing"
            or (self.dialect.prefill == "flag" and body.get("continue_final_message"))
        )
        if last_is_open:
            return "".join(parts).removesuffix("<|end|>")
        return "".join(parts) + "<|assistant|>"

    def _completion(self, record: dict[str, Any], text: str) -> dict[str, Any]:
        body, dialect = record["body"], self.dialect
        chat = record["path"].endswith("chat/completions")
        shape = dialect.chat if chat else dialect.completions
        if shape is None:
            raise Refusal(404, "Not Found")
        if body["model"] != MODEL:
            raise Refusal(404, f"The model `{body['model']}` does not exist.")
        unknown = set(body) - KNOWN_FIELDS
        if dialect.strict and unknown:
            raise Refusal(400, f"Unrecognized request argument supplied: {', '.join(unknown)}")
        if "logprobs" not in body:
            return self._written(body, chat, text)
        k = self._k(body, chat)
        values = self.model.logprobs(text)
        drawn, reported = self._draw(body, text, values)
        ids = sorted(range(len(values)), key=lambda i: -values[i])[:k]
        named = body.get("logprob_token_ids") if dialect.label_ids else None
        if named:
            ids = named
        if drawn not in ids:
            ids = self._with_drawn(ids, drawn, k, shape, bool(named))
        record |= {"drawn": drawn, "listed": ids}
        as_ids = dialect.label_ids and body.get("return_tokens_as_token_ids", False)
        entries = [self._entry(i, reported, as_ids) for i in ids]
        sampled = self._entry(drawn, reported, as_ids)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        said = VOCABULARY[drawn].decode(errors="replace")
        choice |= {"message": {"role": "assistant", "content": said}} if chat else {"text": said}
        if shape != "drop":
            choice["logprobs"] = _SHAPES[shape](sampled, entries)
        count = record["prompt_tokens"] = len(tokenize(text))
        usage: dict[str, Any] = {"prompt_tokens": count, "completion_tokens": 1}
        usage["total_tokens"] = count + 1
        if dialect.cached:
            seen = self.times[text] > 1
            usage["prompt_tokens_details"] = {"cached_tokens": count - 1 if seen else 0}
        return {"id": "x", "model": MODEL, "choices": [choice], "usage": usage}

    def _listed(self, record: dict[str, Any]) -> dict[str, Any]:
        """The answer to a list of prompts; what each was asked is in the record's `each`."""
        body, kind = record["body"], self.dialect.lists
        if kind == "refused":
            raise Refusal(400, "prompt: a list is not supported")
        prompts = {"first": body["prompt"][:1], "joined": ["".join(body["prompt"])]}
        record["each"] = [
            {**record, "body": body | {"prompt": prompt}}
            for prompt in prompts.get(kind, body["prompt"])
        ]
        self.times.update(each["body"]["prompt"] for each in record["each"])
        made = [self._completion(each, each["body"]["prompt"]) for each in record["each"]]
        record["prompt_tokens"] = sum(each["prompt_tokens"] for each in record["each"])
        choices = [one["choices"][0] | {"index": i} for i, one in enumerate(made)]
        if kind == "reversed":
            choices = [c | {"index": i} for i, c in enumerate(choices[::-1])]
        if kind == "unnumbered":
            choices = [c | {"index": 0} for c in choices]
        usage: dict[str, Any] = {}
        for one in made:
            for name, count in one["usage"].items():
                if isinstance(count, int):
                    usage[name] = usage.get(name, 0) + count
        if self.dialect.cached:
            seen = [one["usage"]["prompt_tokens_details"]["cached_tokens"] for one in made]
            usage["prompt_tokens_details"] = {"cached_tokens": sum(seen)}
        return {"id": "x", "model": MODEL, "choices": choices, "usage": usage}

    def _written(self, body: Mapping[str, Any], chat: bool, text: str) -> dict[str, Any]:
        """A text, cut off after `max_tokens` words or where it is told to stop."""
        said = self.writes(text)
        for mark in body.get("stop", ()):
            said = said.partition(mark)[0]
        most = body.get("max_tokens") or body["max_completion_tokens"]
        words = said.split(" ")[: most + 1]
        said = " ".join(words)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        choice |= {"message": {"role": "assistant", "content": said}} if chat else {"text": said}
        usage = {"prompt_tokens": len(tokenize(text)), "completion_tokens": len(words)}
        return {"id": "x", "model": MODEL, "choices": [choice], "usage": usage}

    def _k(self, body: Mapping[str, Any], chat: bool) -> int:
        """The number of log-probabilities that is asked for, if it is allowed."""
        wanted = body.get("logprobs")
        if chat and not self.dialect.counts:
            wanted = body.get("top_logprobs", 0) if wanted else 0
        elif isinstance(wanted, bool):
            raise Refusal(422, "logprobs: the input should be a number")
        cap = self.dialect.chat_cap if chat else self.dialect.cap
        if cap is not None and wanted > cap:
            raise Refusal(400, f"Requested logprobs of {wanted}, greater than max allowed: {cap}")
        return int(wanted)

    def _draw(
        self, body: Mapping[str, Any], text: str, values: list[float]
    ) -> tuple[int, list[float]]:
        """The token that is sampled, and the log-probabilities that are reported."""
        bias = body.get("logit_bias", {}) if self.dialect.bias != "ignored" else {}
        logits = [v + bias.get(str(i), 0.0) for i, v in enumerate(values)]
        most = max(logits)
        total = most + math.log(math.fsum(math.exp(v - most) for v in logits))
        biased = [v - total for v in logits]
        draw = random.Random(number_of("draw", text, self.times[text]))
        drawn = draw.choices(range(len(values)), [math.exp(v) for v in biased])[0]
        return drawn, values if self.dialect.bias == "raw" else biased

    def _with_drawn(self, ids: list[int], drawn: int, k: int, shape: str, named: bool) -> list[int]:
        """The list with the sampled token in it, where the server puts it there."""
        if shape == "arrays" or named:
            return [drawn, *ids]
        return [drawn, *ids[: max(k - 1, 0)]] if self.dialect.sampled_first else ids

    def _entry(self, id: int, values: Sequence[float], as_ids: bool) -> dict[str, Any]:
        data = VOCABULARY[id]
        value: float | None = values[id]
        if value == -math.inf:
            value = self.dialect.zero
        entry = {"token": data.decode(errors="replace"), "logprob": value}
        if as_ids:
            entry["token"] = f"token_id:{id}"
        entry["bytes"] = list(data) if self.dialect.with_bytes else None
        if self.dialect.with_ids:
            entry["id"] = id
        return entry


def _arrays(sampled: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Arrays beside each other; the mapping from strings keeps the last of what decodes alike."""
    top = {entry["token"]: entry["logprob"] for entry in entries}
    return {
        "tokens": [sampled["token"]],
        "token_logprobs": [sampled["logprob"]],
        "top_logprobs": [top],
        "text_offset": [0],
    }


def _entries(sampled: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": [sampled | {"top_logprobs": entries}], "refusal": None}


def _null(sampled: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    return None


_SHAPES = {"arrays": _arrays, "flat": _arrays, "entries": _entries, "null": _null}


def _json(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    # Python's own writer, because it writes NaN, as some servers do.
    return Response(json.dumps(content), status, headers, media_type="application/json")


@contextmanager
def serve(dialect: str | Dialect, *, port: int = 0, **options: Any) -> Iterator[WireServer]:
    """A server in a thread, for the length of a `with` block; options are WireServer's fields."""
    spoken = DIALECTS[dialect] if isinstance(dialect, str) else dialect
    server = WireServer(spoken, **options)
    with running(server.app(), port) as address:
        server.url = f"{address}/v1"
        yield server


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dialect", choices=DIALECTS, default="vllm")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds before each answer")
    parser.add_argument("--world", action="store_true", help="answer by a rule")
    given = parser.parse_args()
    model = PseudoModel(given.world)
    options = {"model": model, "log": given.log, "delay": given.delay / 1000}
    with serve(given.dialect, port=given.port, **options) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
