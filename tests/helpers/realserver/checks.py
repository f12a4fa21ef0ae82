"""The contract suite: what a real server must do for this client, checked one by one.

Each check asks a running server through `consilience` itself and compares with the same weights
in this process (`reference.Reference`). It ends as a row: passed, failed, or not offered by the
server, with the largest difference in nats where there is one. `benchmarks/contract.py` starts the
servers.
"""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import httpx2
from reference import Reference

from consilience.data.task import Task
from consilience.errors import ConsilienceError, InputError, NoLogprobs, ServerError
from consilience.models.base import Answer, Request
from consilience.models.capabilities import Capabilities
from consilience.models.label_logprobs import FirstToken, next_tokens
from consilience.models.openai import OpenAIModel
from consilience.models.probe import probe
from consilience.models.server import RetryPolicy
from consilience.models.tokens import tail_of
from consilience.prompts.framing import Prompt, Style, framings, render
from consilience.prompts.query import Query

MODEL_NAME = "tiny"
PATIENCE = RetryPolicy(timeout=120, total=240, attempts=2, pause=0.2)
FRAMINGS = framings(Task(), ["plain", "negated", "letters"])
SHOTS = [
    ("Snow is warmer than fire.", 0),
    ("Two and three make five.", 1),
    ("A spider is a bird.", 0),
    ("Monday comes before Tuesday.", 1),
]
TARGETS = ("Seven is more than four.", "A rose is a plant.", "The opposite of hot is wet.")
ALIKE = (("Zqzqa", "Zqzqb"), ("Incorrect", "Incomplete"), ("unproven", "unprovoked"))
"""Pairs of names, some of which begin with the same token by any tokenizer."""
FOREIGN = (("Так", "Ні"), ("真", "偽"), ("Réel", "Étrange"), ("हाँ", "नहीं"))


class NotOffered(Exception):
    """What a server does not have and does not claim to have."""


@dataclass(frozen=True)
class Found:
    """What a check found: in words, and the largest difference in nats if that is what counts."""

    said: str
    nats: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of the results."""

    server: str
    endpoint: str
    check: str
    outcome: Literal["passed", "failed", "not offered"]
    nats: float | None
    said: str


class Recorder(httpx2.AsyncHTTPTransport):
    """The way to a server, which notes the path of every request and every broken connection."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.broken: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Passes a request on."""
        self.paths.append(request.url.path)
        try:
            return await super().handle_async_request(request)
        except httpx2.TransportError as error:
            self.broken.append(type(error).__name__)
            raise

    @property
    def questions(self) -> int:
        """How many requests asked the model for something."""
        return sum(path.endswith("completions") for path in self.paths)


@dataclass
class Subject:
    """One endpoint of one running server, and what it should say."""

    url: str
    found: Capabilities
    reference: Reference
    folder: Path
    tolerance: float
    kept: dict[str, Any] = field(default_factory=dict)
    recorder: Recorder = field(default_factory=Recorder)

    @property
    def style(self) -> Style:
        """How prompts are rendered for the endpoint."""
        return self.found.style

    def request(self, target: str, names: tuple[str, ...] | None = None, n: int = 0) -> Request:
        """A question in the n-th framing, under other label names where they are given."""
        framing = FRAMINGS[n % len(FRAMINGS)]
        prompt = render(framing, target, SHOTS, self.style)
        return Request(Query(target, framing=framing.name), prompt, names or framing.label_names)

    def requests(self) -> list[Request]:
        """A dozen questions."""
        return [self.request(t, n=n) for t in TARGETS for n in range(len(FRAMINGS))]

    def ask(self, requests: Sequence[Request], **changed: Any) -> list[Answer]:
        """The answers to some questions, one after the other, with capabilities changed."""
        return asyncio.run(self._ask(requests, changed, at_once=False))

    def ask_at_once(self, requests: Sequence[Request], **changed: Any) -> list[Answer]:
        """The same, all at once."""
        return asyncio.run(self._ask(requests, changed, at_once=True))

    async def _ask(
        self, requests: Sequence[Request], changed: dict[str, Any], *, at_once: bool
    ) -> list[Answer]:
        self.recorder = Recorder()
        model = OpenAIModel(
            replace(self.found, **changed), patience=PATIENCE, transport=self.recorder
        )
        try:
            if at_once:
                return list(await asyncio.gather(*(model.ask(r) for r in requests)))
            return [await model.ask(r) for r in requests]
        finally:
            await model.close()

    def first(self, name: str, prompt: Prompt) -> FirstToken | None:
        """How a name begins after a prompt, by the tokenizer in this process."""
        return self.reference.first_token(name, *tail_of(prompt, self.style))

    def expected(self, name: str, prompt: Prompt) -> float:
        """A label's log-probability: that of all its variants together."""
        known = self.first(name, prompt)
        assert known is not None, f"{name!r} changes the prompt's own tokens"
        ids = known.ids
        if not known.whole and not self.found.label_ids:
            # A list of texts cannot tell a single letter that begins the name from another's.
            ids = ids - {known.id} or ids
        values = self.reference.logprobs(prompt)
        return math.log(math.fsum(math.exp(values[i]) for i in ids))

    def lone_names(self, prompt: Prompt, low: int, high: int) -> tuple[str, str]:
        """Two names that are one token and have no other variant, of these ranks after a prompt."""
        values = self.reference.logprobs(prompt)
        ranked = sorted(range(len(values)), key=lambda i: -values[i])
        picked: list[str] = []
        for i in ranked[low:high]:
            name = self.reference.texts[i].removeprefix(" ")
            if not (name.isascii() and name.isalpha() and len(name) > 2):
                continue
            known = self.first(name, prompt)
            if (
                known
                and known.whole
                and known.ids == {i}
                and name.lower() not in map(str.lower, picked)
            ):
                picked.append(name)
            if len(picked) == 2:
                return picked[0], picked[1]
        raise NotOffered(f"no two names of ranks {low} to {high} stand for one token each")


def differences(subject: Subject, answers: Sequence[Answer]) -> Iterator[tuple[float, bool]]:
    """For each listed token that can be told apart: how far it is off, and whether it was drawn."""
    for request, answer in zip(subject.requests(), answers, strict=True):
        values = subject.reference.logprobs(request.prompt)
        for token in next_tokens(answer.raw):
            i = subject.reference.id_of(token)
            if i is not None:
                yield abs(token.logprob - values[i]), token.sampled


ONE_LIST: dict[str, Any] = {"label_ids": False, "forced": None, "k": 20, "k_max": 20}


# ---- the checks ---------------------------------------------------------------------------------


def values_listed(subject: Subject) -> Found:
    """Every listed value is the model's own."""
    answers = subject.ask(subject.requests(), **ONE_LIST)
    each = [off for off, _ in differences(subject, answers)]
    return Found(f"{len(each)} values of {len(answers)} questions", max(each))


def most_probable(subject: Subject) -> Found:
    """The list holds the k most probable tokens and no other, but for the one that was drawn."""
    worst, lost = 0.0, 0
    requests = subject.requests()
    for request, answer in zip(requests, subject.ask(requests, **ONE_LIST), strict=True):
        values = sorted(subject.reference.logprobs(request.prompt), reverse=True)
        listed = [t for t in next_tokens(answer.raw) if not t.sampled]
        # A mapping keyed by text may lose tokens, never hold a less probable one.
        worst = max(worst, *(values[19] - t.logprob for t in listed))
        lost += max(0, 19 - len(listed))
    return Found(f"{lost} of {20 * len(requests)} lost to equal texts", worst)


def labels(subject: Subject) -> Found:
    """The labels as the client reads them, asked in the way that the probe recommends."""
    requests = subject.requests()
    worst, exact, number = 0.0, 0, 0
    for request, answer in zip(
        requests, subject.ask(requests, **_everything(subject)), strict=True
    ):
        for name, value, sure in zip(
            request.label_names, answer.logprobs, answer.exact, strict=True
        ):
            expected = subject.expected(name, request.prompt)
            number += 1
            exact += sure
            worst = max(worst, abs(value - expected) if sure else expected - value)
    assert exact == number, f"only {exact} of {number} labels are exact"
    return Found(f"{number} labels, all exact", worst)


def _everything(subject: Subject) -> dict[str, Any]:
    """A list so long that it holds every variant of a label, where tokens cannot be named."""
    if subject.found.label_ids:
        return {}
    return {"k": subject.reference.size, "k_max": subject.reference.size}


def in_process(subject: Subject) -> Found:
    """The labels are those of `consilience`'s own model in this process."""
    from consilience.models.local import open_local

    if subject.style == "chat-prefill":
        raise NotOffered("the model in this process has no prefill")
    local = open_local(
        str(subject.folder), api=subject.found.api, device="cpu", dtype="float32", batch=1
    )

    async def work() -> list[Answer]:
        try:
            return [await local.ask(request) for request in subject.requests()]
        finally:
            await local.close()

    own = asyncio.run(work())
    theirs = subject.ask(subject.requests(), **_everything(subject))
    pairs = [
        pair
        for a, b in zip(own, theirs, strict=True)
        for pair in zip(a.logprobs, b.logprobs, strict=True)
    ]
    return Found(f"{len(pairs)} labels", max(abs(a - b) for a, b in pairs))


def list_limit(subject: Subject) -> Found:
    """A list longer than the server gives is refused in a line that says so, or is there."""
    size = subject.reference.size
    wanted = {"k": size, "k_max": size, "label_ids": False, "forced": None}
    try:
        (answer,) = subject.ask([subject.request(TARGETS[0])], **wanted)
    except ServerError as error:
        assert "log-probabilities" in str(error), f"an unclear refusal: {error}"
        return Found(f"{size} refused in a clear line; {subject.found.k_max} given")
    given = len(next_tokens(answer.raw))
    assert 2 * given > size, f"{given} of {size} asked for"
    return Found(f"{given} of {size} given")


def named_tokens(subject: Subject) -> Found:
    """A label beyond the longest list is exact in one request, by its token's id."""
    if not subject.found.label_ids:
        raise NotOffered("no named tokens")
    low = min(subject.found.k_max + 20, subject.reference.size // 2)
    return _ladder(subject, low, subject.reference.size, "exact", requests=1)


def longer_list(subject: Subject) -> Found:
    """A label beyond a short list is found in the longest."""
    more = {"label_ids": False, "forced": None, "k": 2}
    return _ladder(subject, 5, subject.found.k_max // 2, "exact", requests=2, **more)


def forced_token(subject: Subject) -> Found:
    """A label beyond the list is exact once its token is forced."""
    if subject.found.forced != "raw":
        raise NotOffered(f"forced tokens: {subject.found.forced}")
    more = {"label_ids": False, "k": 2, "k_max": 2}
    return _ladder(subject, 5, subject.reference.size, "exact", requests=3, **more)


def bound(subject: Subject) -> Found:
    """A label beyond the list, with no way to ask for it, is bounded from above."""
    more = {"label_ids": False, "forced": None, "k": 2, "k_max": 2}
    return _ladder(subject, 5, subject.reference.size, "bounded", requests=1, **more)


def _ladder(
    subject: Subject, low: int, high: int, end: str, *, requests: int, **changed: Any
) -> Found:
    """Labels of given ranks, asked with capabilities that leave one step of the ladder."""
    asked = [subject.request(t, n=n) for n, t in enumerate(TARGETS)]
    asked = [replace(r, label_names=subject.lone_names(r.prompt, low, high)) for r in asked]
    worst, slack, reached = 0.0, math.inf, 0
    for request, answer in zip(asked, subject.ask(asked, **changed), strict=True):
        for name, value, sure in zip(
            request.label_names, answer.logprobs, answer.exact, strict=True
        ):
            expected = subject.expected(name, request.prompt)
            reached += sure == (end == "exact")
            if sure:
                worst = max(worst, abs(value - expected))
            else:
                worst = max(worst, expected - value)
                slack = min(slack, value - expected)
    spent = subject.recorder.questions
    assert spent <= requests * len(asked), f"{spent} requests for {len(asked)} questions"
    # A label that happens to be drawn is exact without a step.
    assert reached >= 2 * len(asked) - 1, f"{reached} of {2 * len(asked)} labels are {end}"
    said = f"{reached} of {2 * len(asked)} labels {end}"
    if end == "exact":
        return Found(said, worst)
    assert worst <= subject.tolerance, f"a bound is {worst:.2g} nats too low"
    return Found(f"{said}, at least {slack:.2g} nats above")


def alike(subject: Subject) -> Found:
    """Labels that begin with one token are refused before anything is asked of the model."""
    prompt = subject.request(TARGETS[0]).prompt
    pairs = [p for p in (*ALIKE, *FOREIGN) if _collide(subject, p, prompt)]
    assert pairs, "no names that begin alike by this tokenizer"
    for pair in pairs:
        try:
            subject.ask([subject.request(TARGETS[0], pair)])
        except InputError:
            questions = subject.recorder.questions
            assert questions == 0, f"{questions} questions were sent for {pair}"
        else:
            raise AssertionError(f"{pair} were not refused")
    return Found(f"{len(pairs)} pairs refused, nothing asked")


def _collide(subject: Subject, pair: tuple[str, str], prompt: Prompt) -> bool:
    one, two = (subject.first(name, prompt) for name in pair)
    return bool(one and two and (one.id in two.ids or two.id in one.ids))


def foreign(subject: Subject) -> Found:
    """Labels of letters beyond ASCII have the right value or the right bound."""
    prompt = subject.request(TARGETS[0]).prompt
    pairs = [p for p in FOREIGN if not _collide(subject, p, prompt)]
    assert pairs, "all of them begin alike by this tokenizer"
    requests = [subject.request(TARGETS[0], pair) for pair in pairs]
    worst, exact = 0.0, 0
    for request, answer in zip(
        requests, subject.ask(requests, **_everything(subject)), strict=True
    ):
        for name, value, sure in zip(
            request.label_names, answer.logprobs, answer.exact, strict=True
        ):
            expected = subject.expected(name, request.prompt)
            worst = max(worst, abs(value - expected) if sure else expected - value)
            exact += sure
    return Found(f"{exact} of {2 * len(pairs)} exact, the others bounded", worst)


def tokenizer(subject: Subject) -> Found:
    """The server's tokenizer and the one in this process split texts alike."""
    from consilience.models.server import Server
    from consilience.models.tokens import find_tokenizer

    texts = ["\n" + text for text in (*TARGETS, *(n for p in (*ALIKE, *FOREIGN) for n in p))]

    async def work() -> list[list[int]]:
        server = Server(subject.url, MODEL_NAME, patience=PATIENCE)
        try:
            found = await find_tokenizer(server)
            if found is None:
                raise NotOffered("no tokenizer")
            empty = await found.ids("")  # what the server puts before every text
            return [(await found.ids(text))[len(empty) :] for text in texts]
        finally:
            await server.close()

    theirs = asyncio.run(work())
    own = [subject.reference.tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
    same = sum(a == b for a, b in zip(own, theirs, strict=True))
    assert same == len(texts), f"{same} of {len(texts)} texts are split alike"
    return Found(f"{same} texts split alike")


def _long(subject: Subject, opening: str) -> Request:
    """A question behind so many shots that a server keeps their keys and values."""
    framing = FRAMINGS[0]
    shots = [(f"{opening} {text}", label) for text, label in SHOTS * 6]
    prompt = render(framing, TARGETS[0], shots, subject.style)
    # The longest prompt that the model takes, in whole shots.
    while len(subject.reference.ids(prompt)) > min(subject.reference.longest - 16, 900):
        shots = shots[4:]
        prompt = render(framing, TARGETS[0], shots, subject.style)
    return Request(Query(TARGETS[0], framing=framing.name), prompt, framing.label_names)


def prefix_cache(subject: Subject) -> Found:
    """A prompt whose beginning is in the cache gives what it gave when it was new."""
    request, other = _long(subject, "One:"), _long(subject, "Two:")
    cold, warm, _, again = subject.ask([request, request, other, request], **ONE_LIST)
    subject.kept["cold"] = cold
    expected = subject.reference.logprobs(request.prompt)
    off = max(_apart(subject, cold, answer) for answer in (warm, again))
    off = max(off, _from(subject, warm, expected))
    details = warm.usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens")
    told = "not reported" if cached is None else f"{cached} of {warm.usage['prompt_tokens']}"
    assert cached is None or cached > 0, "nothing came from the cache"
    return Found(f"cached tokens: {told}", off)


def prefix_cache_off(subject: Subject) -> Found:
    """Without a cache, the same values as the server with one gave to `prefix_cache`."""
    request, before = _long(subject, "One:"), subject.kept["cold"]
    first, second = subject.ask([request, request], **ONE_LIST)
    cached = (second.usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    assert not cached, f"{cached} tokens came from a cache that was off"
    expected = subject.reference.logprobs(request.prompt)
    off = max(_apart(subject, before, first), _apart(subject, first, second))
    return Found("cached tokens: none", max(off, _from(subject, second, expected)))


def _told_apart(subject: Subject, answer: Answer) -> dict[int, float]:
    each = ((subject.reference.id_of(t), t.logprob) for t in next_tokens(answer.raw))
    return {i: value for i, value in each if i is not None}


def _apart(subject: Subject, a: Answer, b: Answer) -> float:
    """The largest difference between two lists."""
    one, two = _told_apart(subject, a), _told_apart(subject, b)
    return max(abs(one[i] - two[i]) for i in one.keys() & two.keys())


def _from(subject: Subject, answer: Answer, expected: Sequence[float]) -> float:
    return max(abs(value - expected[i]) for i, value in _told_apart(subject, answer).items())


def many_at_once(subject: Subject) -> Found:
    """A hundred questions at once get what they got one by one."""
    requests = subject.requests()
    alone = subject.ask(requests, **ONE_LIST)
    crowd = subject.ask_at_once(requests * 10, **ONE_LIST, lists=False)
    each = [_apart(subject, alone[i % len(requests)], answer) for i, answer in enumerate(crowd)]
    broken = ", ".join(sorted(set(subject.recorder.broken))) or "no connection broke"
    return Found(f"{len(crowd)} at once, {broken}", max(each))


def prompt_lists(subject: Subject) -> Found:
    """A hundred questions in lists of prompts get what they got one by one, and are charged it."""
    if not subject.found.lists:
        raise NotOffered("the probe found no lists")
    requests = subject.requests()
    alone = subject.ask(requests, **ONE_LIST)
    listed = subject.ask_at_once(requests * 10, **ONE_LIST, cached_tokens=False)
    sent = subject.recorder.questions
    assert sent < len(listed) / 2, f"{len(listed)} questions took {sent} requests"
    charged, once = (
        sum(answer.usage["prompt_tokens"] for answer in answers) for answers in (listed, alone)
    )
    assert charged == 10 * once, f"{charged} prompt tokens were charged, alone {10 * once}"
    each = [_apart(subject, alone[i % len(requests)], answer) for i, answer in enumerate(listed)]
    return Found(f"{len(listed)} in {sent} requests", max(each))


def unknown_model(subject: Subject) -> Found:
    """A model that is not there is refused in a line that says so."""
    try:
        subject.ask([subject.request(TARGETS[0])], **ONE_LIST, model="nobody")
    except ServerError as error:
        assert "model" in str(error), f"an unclear refusal: {error}"
        return Found("refused in a clear line")
    raise NotOffered("any name is answered")


def too_long(subject: Subject) -> Found:
    """A prompt beyond the context is refused in a line that says what to do."""
    words = TARGETS[0] * subject.reference.longest
    try:
        subject.ask([subject.request(words)], **ONE_LIST)
    except ServerError as error:
        assert "fewer shots" in str(error), f"an unclear refusal: {error}"
        return Found("refused in a clear line")
    raise AssertionError("it was answered")


CHECKS: dict[str, Callable[[Subject], Found]] = {
    "log-probabilities as in this process": values_listed,
    "the list is the k most probable": most_probable,
    "labels as in this process": labels,
    "labels as `local:` reads them": in_process,
    "a list as long as the vocabulary": list_limit,
    "label not listed: named token": named_tokens,
    "label not listed: longer list": longer_list,
    "label not listed: forced token": forced_token,
    "label not listed: bound": bound,
    "labels that begin with one token": alike,
    "labels beyond ASCII": foreign,
    "tokens as in this process": tokenizer,
    "prefix cache on": prefix_cache,
    "many questions at once": many_at_once,
    "lists of prompts": prompt_lists,
    "unknown model": unknown_model,
    "prompt too long": too_long,
}
"""The checks by name, in the order of the table; "prefix cache off" needs a second server."""

CACHE_OFF = "prefix cache off"
DROPPED = "dropped log-probabilities are named"
REFUSED = "`run` refuses before it asks"


# ---- a server that drops what was asked for -----------------------------------------------------


def endpoint_answers(url: str, api: str) -> Found:
    """The endpoint answers HTTP 200, and without log-probabilities."""
    try:
        asyncio.run(probe(url, MODEL_NAME, "chat" if api == "chat" else "completions"))
    except NoLogprobs as error:
        said = str(error)
        assert "\n" not in said and "without log-probabilities" in said, f"unclear: {said}"
        return Found("dropped in silence; the probe says so in one line")
    raise AssertionError("there are log-probabilities")


def run_refuses(url: str, api: str, folder: Path) -> Found:
    """`consilience run` ends with one line and asks none of its own questions."""
    claims = folder / "claims.csv"
    claims.write_text("text\n" + "\n".join(TARGETS) + "\n")
    store = folder / f"{api}.db"
    command = [
        *(
            sys.executable,
            "-m",
            "consilience",
            "run",
            str(claims),
            "--question",
            "Is the claim true or false?",
            "--classes",
            "False,True",
            "--model",
            f"openai:{MODEL_NAME}",
        ),
        *("--base-url", url, "--set", f"model.api={api}", "--store", str(store)),
        *("--output", str(folder / "labels.csv")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines()
    assert done.returncode != 0, "the run went through"
    assert "log-probabilities" in lines[-1], f"unclear: {lines[-1:]}"
    assert not (folder / "labels.csv").exists(), "labels were written"
    from consilience.store.database import Store

    with Store(store, readonly=True) as kept:
        asked = sum(model.calls for model in kept.stats().models)
    assert asked == 0, f"{asked} questions were asked"
    return Found("refused after the probe, nothing asked")


# ---- one server ---------------------------------------------------------------------------------


def endpoints(url: str) -> Iterator[tuple[str, Capabilities]]:
    """Each way to ask a server: its name and what was found."""
    text = asyncio.run(probe(url, MODEL_NAME, "completions", patience=PATIENCE))
    chat = asyncio.run(probe(url, MODEL_NAME, "chat", patience=PATIENCE))
    yield "completions", text
    yield "chat", replace(chat, style="chat")
    if chat.prefill:
        yield "chat, prefill", replace(chat, style="chat-prefill")


def judge(
    server: str, endpoint: str, check: str, tolerance: float, work: Callable[[], Found]
) -> Row:
    """The row of one check."""
    try:
        found = work()
    except NotOffered as reason:
        return Row(server, endpoint, check, "not offered", None, str(reason))
    except (AssertionError, ConsilienceError, OSError) as error:
        return Row(server, endpoint, check, "failed", None, str(error))
    fine = found.nats is None or found.nats <= tolerance
    return Row(server, endpoint, check, "passed" if fine else "failed", found.nats, found.said)
