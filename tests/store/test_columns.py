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
from stored import IDS, MODEL, ask, filled


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
