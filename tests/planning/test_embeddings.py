"""Texts to vectors: by words, by a sentence model, by an endpoint that may answer anything."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import stamina
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consilience.errors import AnswerError, InputError, MissingExtra, ModelError, ServerError
from consilience.planning import embeddings
from consilience.planning.embeddings import EndpointEmbedder, SentenceModel, TfidfSvd, open_embedder
from wire_client import KEYS
from wire_model import number_of
from wire_run import running

TEXTS = [f"The {thing} is {state}." for thing in ("lamp", "door", "kettle") for state in "abcdefgh"]


def similarity(vectors: Any) -> Any:
    return vectors @ vectors.T


# --- words -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 4, 64])
def test_vectors_have_unit_length_and_at_most_the_dimensions(dimensions: int) -> None:
    vectors = TfidfSvd(dimensions).embed(TEXTS)
    assert vectors.dtype == np.float64
    assert vectors.shape == (24, min(dimensions, 23))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)


def test_the_same_texts_give_the_same_bits_and_the_order_does_not_matter_to_neighbours() -> None:
    one = TfidfSvd().embed(TEXTS)
    np.testing.assert_array_equal(one, TfidfSvd().embed(TEXTS))
    back = TfidfSvd().embed(TEXTS[::-1])
    np.testing.assert_allclose(similarity(one), similarity(back)[::-1, ::-1], atol=1e-8)


def test_who_shares_words_is_near() -> None:
    near = similarity(TfidfSvd(8).embed(TEXTS))
    groups = np.arange(24) // 8
    same = groups[:, None] == groups
    assert near[same].mean() > near[~same].mean() + 0.3


@pytest.mark.parametrize(
    "texts",
    [["one"], ["one", "two"], ["A b", "a B"], ["?", "!"], ["猫が眠る", "犬が走る", "猫が走る"]],
    ids=str,
)
def test_few_or_odd_texts_have_vectors_too(texts: list[str]) -> None:
    vectors = TfidfSvd().embed(texts)
    assert len(vectors) == len(texts)
    # One that shares no word with the others may be out of reach of so few dimensions.
    norms = np.linalg.norm(vectors, axis=1)
    assert all(norm == 0 or norm == pytest.approx(1) for norm in norms)
    assert norms.max() == pytest.approx(1)


def test_what_rounding_leaves_of_a_text_is_not_blown_up() -> None:
    vectors = TfidfSvd(1).embed(["a b", "a c", "a d", "e f"])
    np.testing.assert_array_equal(np.abs(vectors), [[1.0], [1.0], [1.0], [0.0]])


def test_a_text_without_words_is_the_zero_vector() -> None:
    np.testing.assert_array_equal(TfidfSvd().embed(["", " "]), np.zeros((2, 1)))
    vectors = TfidfSvd().embed(["", *TEXTS])
    np.testing.assert_array_equal(vectors[0], 0)
    np.testing.assert_allclose(np.linalg.norm(vectors[1:], axis=1), 1)


def test_of_many_texts_the_dimensions_are_learned_from_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"{text} {end}" for text in TEXTS for end in ("today", "again", "now")] + [""]
    monkeypatch.setattr(embeddings, "FITTED", 40)
    monkeypatch.setattr(embeddings, "AT_ONCE", 7)
    placed = TfidfSvd(8).embed(texts)
    assert placed.shape == (73, 8)
    np.testing.assert_allclose(np.linalg.norm(placed[:-1], axis=1), 1)
    np.testing.assert_array_equal(placed[-1], 0)
    near, groups = similarity(placed[:-1]), np.arange(72) // 24
    same = groups[:, None] == groups
    assert near[same].mean() > near[~same].mean() + 0.3
    np.testing.assert_array_equal(placed, TfidfSvd(8).embed(texts))


# --- the names -------------------------------------------------------------------------------


def test_embedders_are_opened_by_name() -> None:
    assert open_embedder() == open_embedder("tfidf") == TfidfSvd(64)
    opened = open_embedder("openai:some/model", "http://localhost:1/v1")
    assert opened == EndpointEmbedder("some/model", "http://localhost:1/v1")
    # What is part of a run's identity is the model, and not where it stands.
    assert repr(opened) == "EndpointEmbedder(name='some/model')"
    assert repr(TfidfSvd(8)) == "TfidfSvd(dimensions=8)"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai:some", "need a base URL"),
        ("word2vec", "no embedder 'word2vec'; use tfidf, local:FOLDER or openai:NAME"),
        ("local:", "no embedder"),
        ("openai:", "no embedder"),
        ("", "no embedder"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_embedder(name)


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is not None, reason="the extra is installed"
)
def test_a_sentence_model_says_which_extra_it_needs() -> None:
    for open_it in (lambda: SentenceModel("any"), lambda: open_embedder("local:any")):
        with pytest.raises(MissingExtra, match=r"pip install 'consilience\[embed\]'"):
            open_it()


def test_a_sentence_model_is_asked_for_all_texts_and_scaled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Encoder:
        def __init__(self, name: str) -> None:
            self.name = name

        def encode(self, texts: list[str], convert_to_numpy: bool) -> Any:
            return np.array([[3.0, len(text), 4.0] for text in texts], dtype=np.float32)

    module = type(json)("sentence_transformers")
    monkeypatch.setattr(module, "SentenceTransformer", Encoder, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", module)
    model = open_embedder("local:a/folder")
    vectors = model.embed(("", "abcd"))
    np.testing.assert_allclose(vectors, [[0.6, 0, 0.8], np.array([3, 4, 4]) / math.sqrt(41)])
    assert vectors.dtype == np.float64
    assert repr(model) == "SentenceModel('a/folder')"


# --- the endpoint ----------------------------------------------------------------------------


def vector_of(text: str) -> list[float]:
    return [number_of(text, i) % 1000 / 500 - 1 for i in range(6)]


@dataclass
class Endpoint:
    """A server of embeddings that may be wrong in one way, the `fault`."""

    fault: str = ""
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def embeddings(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        if self.fault == "500":
            return Response('{"error": {"message": "out of memory"}}', 500)
        if self.fault == "html":
            return Response("<html>", 200)
        vectors: list[Any] = [vector_of(text) for text in body["input"]]
        entries: list[Any] = [
            {"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)
        ]
        match self.fault:
            case "out of order":
                entries = entries[1::2] + entries[::2]
            case "too few":
                entries = entries[:-1]
            case "too many":
                entries.append(entries[0])
            case "one index twice":
                entries[1]["index"] = 0
            case "per token":
                entries[1]["embedding"] = [vectors[1], vectors[1]]
            case "base64":
                entries[1]["embedding"] = "AACAPwAAAEA="
            case "NaN":
                entries[1]["embedding"][2] = math.nan
            case "infinite":
                entries[1]["embedding"][2] = math.inf
            case "lengths":
                entries[1]["embedding"].append(1.0)
            case "empty":
                for entry in entries:
                    entry["embedding"] = []
            case "no objects":
                entries = vectors
            case "odd index":
                entries[1]["index"] = [1]
            case "no data":
                return Response('{"object": "list"}')
        return Response(json.dumps({"data": entries, "model": body["model"]}))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    made = Endpoint()
    app = Starlette(routes=[Route("/v1/embeddings", made.embeddings, methods=["POST"])])
    with running(app) as address:
        made.url = f"{address}/v1"
        yield made


@pytest.mark.parametrize("fault", ["", "out of order"])
@pytest.mark.parametrize("count", [1, 64, 65, 150])
def test_vectors_come_in_the_order_of_the_texts(endpoint: Endpoint, fault: str, count: int) -> None:
    endpoint.fault = fault
    texts = [f"text {i}" for i in range(count)]
    vectors = EndpointEmbedder("tiny", endpoint.url).embed(texts)
    expected = np.array([vector_of(text) for text in texts])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected)
    assert [text for body in endpoint.bodies for text in body["input"]] == texts
    assert max(len(body["input"]) for body in endpoint.bodies) <= 64
    assert {(b["model"], b["encoding_format"]) for b in endpoint.bodies} == {("tiny", "float")}


def test_it_is_asked_where_an_event_loop_is_running(endpoint: Endpoint) -> None:
    async def notebook() -> Any:
        return EndpointEmbedder("tiny", endpoint.url).embed(["a", "b"])

    assert asyncio.run(notebook()).shape == (2, 6)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("500", ServerError, "HTTP 500 .*out of memory"),
        ("html", AnswerError, "a web page"),
        ("no data", AnswerError, "3 embeddings were asked for"),
        ("too few", AnswerError, "3 embeddings were asked for"),
        ("too many", AnswerError, "3 embeddings were asked for"),
        ("one index twice", AnswerError, "not a list of numbers"),
        ("odd index", AnswerError, "not a list of numbers"),
        ("no objects", AnswerError, "not an object with an index"),
        ("per token", AnswerError, "one vector per token.*serve an embedding model"),
        ("base64", AnswerError, "not a list of numbers"),
        ("empty", AnswerError, "not a list of numbers"),
        ("NaN", AnswerError, "not finite"),
        ("infinite", AnswerError, "not finite"),
        ("lengths", AnswerError, "2 different lengths"),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_in_one_line(
    endpoint: Endpoint, fault: str, kind: type[ModelError], said: str
) -> None:
    endpoint.fault = fault
    with stamina.set_testing(True), pytest.raises(kind, match=said) as caught:
        EndpointEmbedder("tiny", endpoint.url).embed(["a", "b", "c"])
    message = str(caught.value)
    assert "\n" not in message
    assert "/v1/embeddings, model 'tiny'" in message


def test_a_server_that_is_not_there_is_an_error_in_one_line(endpoint: Endpoint) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with stamina.set_testing(True), pytest.raises(ServerError, match="check that the server runs"):
        EndpointEmbedder("tiny", url).embed(["a"])
