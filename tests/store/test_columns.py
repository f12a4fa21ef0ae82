"""Predictions as arrays and as Parquet say what they say as rows, bit for bit."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from command import consilience
from consilience.models.base import Answer, Request
from consilience.prompts.query import Query
from consilience.store.database import Store
from consilience.store.packs import packed_responses, unpacked_responses
from consilience.store.prediction_keys import prediction_key
from consilience.store.rows import AnswerRows
from consilience.store.schema import Encoded
from stored import IDS, MODEL, answer, ask, filled


@pytest.fixture
def store() -> Store:
    """Answers of two and of three labels, contrasts and bounds among them."""
    made, draw = filled(), random.Random(0)
    for i in range(40):
        names = ("a", "b", "c")[: 2 + i % 2]
        shots = ((IDS[1], 1), (IDS[2], 0))[: i % 3]
        query = Query(IDS[i % 6], shots, "f", i % 4, (None, 0)[i % 2 and len(shots) > 0])
        said = tuple(-draw.expovariate(1) for _ in names)
        exact = tuple(draw.random() < 0.5 for _ in names)
        made.add(MODEL, Request(query, f"p {i}", names), Answer(said, exact, draw.random()), 0.5)
    return made


def keys_of(store: Store) -> list[str]:
    return [row[0] for row in store._rows("SELECT key FROM predictions ORDER BY rowid")]


@pytest.mark.parametrize("chunk", [7, 50_000])
def test_columns_are_the_predictions(
    store: Store, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consilience.store.columns._CHUNK", chunk)
    found = store.columns()
    told = [p for p in store.predictions(keys_of(store)) if p is not None]
    assert len(told) == len(found.target) == 60
    for i, p in enumerate(told):
        k = len(p.logprobs)
        assert found.texts[found.target[i]] == p.query.target
        assert found.texts[found.framing[i]] == p.query.framing
        assert found.repeat[i] == p.query.repeat
        assert found.contrast[i] == (-1 if p.query.contrast is None else p.query.contrast)
        shots = json.loads(found.texts[found.shots[i]])
        assert tuple(map(tuple, shots)) == p.query.shots
        assert tuple(json.loads(found.texts[found.label_names[i]])) == p.label_names
        assert (found.mass[i], found.seconds[i]) == (p.mass, p.seconds)
        np.testing.assert_array_equal(found.logprobs[i, :k], p.logprobs)
        assert tuple(found.exact[i, :k]) == p.exact
        assert np.isnan(found.logprobs[i, k:]).all() and not found.exact[i, k:].any()


def test_columns_of_a_run_are_those_that_it_planned(store: Store) -> None:
    assert len(store.columns(store.run().id).target) == 20
    with Store() as empty:
        assert empty.columns().logprobs.shape == (0, 0)


def test_texts_are_there_however_many_they_are() -> None:
    with Store() as store:
        requests = [ask(i, target=f"t{i}") for i in range(1201)]
        rows = AnswerRows(MODEL)
        made = [rows.row(prediction_key(MODEL, r), r, answer(), 0.5) for r in requests]
        store.keep([("predictions", row) for row in made])
        found = store.columns()
        assert [found.texts[t] for t in found.target] == [r.query.target for r in requests]


def test_parquet_has_the_table_of_predictions(store: Store, tmp_path: Path) -> None:
    assert store.export_parquet(tmp_path / "p.parquet") == 60
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    for row, key in zip(rows, keys_of(store), strict=True):
        for name, value in store.detail(key).items():
            told = row[name]
            as_json = name in ("label_names", "usage", "shots", "settings", "prompt", "raw")
            assert (json.loads(told) if as_json else told) == value, name


def test_the_command_writes_parquet_where_the_name_says_so(tmp_path: Path) -> None:
    with filled(tmp_path / "s.db") as store:
        store.add(MODEL, ask(77, prompt="é\n\n" * 300), Answer((-0.1, -3.0), (True,) * 2, 1.0), 0.0)
    done = consilience("store", "export", tmp_path / "s.db", tmp_path / "p.parquet")
    assert "21 rows written" in done.stderr
    assert pq.read_metadata(tmp_path / "p.parquet").num_rows == 21


def test_what_came_together_lies_in_a_pack_and_is_the_same(store: Store) -> None:
    rows = store._rows("SELECT id, count FROM packs")
    assert [tuple(row) for row in rows] == [(11, 10)]
    keys = keys_of(store)
    for i, key in enumerate(keys[:20]):
        told = store.detail(key)
        assert told["raw"] == {"choices": [{"text": " True"}]} and told["prompt"] == f"prompt {i}"
    assert store.verify() == []


def test_of_what_comes_together_only_the_new_is_kept_and_once() -> None:
    rows = AnswerRows(MODEL)

    def made(i: int, note: str) -> tuple[str, Encoded]:
        said = Answer((-0.5, -1.0), (True, True), 1.0, {}, {"note": note})
        key = prediction_key(MODEL, ask(i))
        return "predictions", rows.row(key, ask(i), said, 0.5)

    with Store() as store:
        store.keep([made(i, "first") for i in (3, 5)])
        store.keep([made(i, "second") for i in (*range(20), 7, 8)])
        store.keep([made(i, "third") for i in range(20)])
        notes = [store.detail(prediction_key(MODEL, ask(i)))["raw"]["note"] for i in range(20)]
        assert notes == ["first" if i in (3, 5) else "second" for i in range(20)]
        assert store.verify() == [] and len(store.columns().target) == 20
        [(count,)] = store._rows("SELECT count FROM packs")
        assert count == 18


def test_a_pack_has_predictions_of_so_many_labels_each_and_a_key_is_no_text() -> None:
    rows, encoded = AnswerRows(MODEL), list[tuple[str, Encoded]]()
    made: list[tuple[str, Request]] = []
    for i in range(30):
        names = ("a", "b", "c")[: 3 - (i < 10)]
        # A framing that is called like the key before it is another thing.
        framing = made[-1][0] if made else "f"
        request = Request(Query(IDS[0], (), framing, i), "p", names)
        made.append((prediction_key(MODEL, request), request))
    with Store() as store:
        for key, asked in made:
            k = len(asked.label_names)
            said = Answer((-0.5,) * k, (True,) * k, 1.0)
            encoded.append(("predictions", rows.row(key, asked, said, 0.5)))
        store.keep(encoded)
        packs = store._rows("SELECT count, labels FROM packs ORDER BY id")
        assert [tuple(row) for row in packs] == [(10, 2), (20, 3)]
        kept = store.predictions([key for key, _ in made])
        assert [p and p.query for p in kept] == [asked.query for _, asked in made]
        assert store.verify() == []


def test_responses_come_out_of_a_pack_as_they_went_in_and_a_broken_one_says_so() -> None:
    texts = ['{"a":1}', '{"a":"é\\u001e"}', "{}"]
    packed = packed_responses(texts)
    assert unpacked_responses(packed) == texts
    for bad in (packed[:-3], packed[4:], texts[0].encode()):
        with pytest.raises(ValueError, match="cannot be unpacked"):
            unpacked_responses(bad)


def test_numbers_that_no_pack_holds_stand_in_their_rows() -> None:
    rows, far = AnswerRows(MODEL), 2**40
    with Store() as store:
        asked = [ask(i, repeat=far) for i in range(9)]
        said = Answer((-0.5, -1.0), (True, True), 1.0)
        keys = [prediction_key(MODEL, request) for request in asked]
        store.keep(
            ("predictions", rows.row(key, request, said, 0.5))
            for key, request in zip(keys, asked, strict=True)
        )
        assert store.columns().repeat.tolist() == [far] * 9
        assert store._rows("SELECT * FROM packs") == [] and store.verify() == []


@pytest.mark.parametrize("run", [None, "no such run"])
def test_columns_are_of_one_moment_while_another_writes(tmp_path: Path, run: str | None) -> None:
    rows, done = AnswerRows(MODEL), []

    def put(store: Store, numbers: range) -> None:
        asked = [Request(Query(IDS[0], (), "f", i), f"prompt {i}", ("a", "b")) for i in numbers]
        said = Answer((-0.1, -3.0), (True, True), 0.9)
        kept = [rows.row(prediction_key(MODEL, one), one, said, 0.1) for one in asked]
        store.keep([("predictions", row) for row in kept])

    with Store(tmp_path / "s.db") as writer:
        put(writer, range(20))
        with Store(tmp_path / "s.db", readonly=True) as reader:

            def meanwhile(sql: str) -> None:
                if sql.startswith("SELECT id, count, labels, numbers") and not done:
                    done.append(put(writer, range(20, 40)))

            reader._db.set_trace_callback(meanwhile)
            assert len(reader.columns(run).mass) == (0 if run else 20)
            assert done
            assert len(reader.columns().mass) == 40
