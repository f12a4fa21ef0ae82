"""The model in the package: small, what its card says, and a learner from shots."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from command import consilience
from consilience.datasets import load_dataset
from consilience.elicitation.settings import Settings
from consilience.evaluation import baselines
from consilience.models import open_model
from consilience.models.local import LocalModel
from consilience.models.local_files import POCKET
from consilience.store.database import Store

SETTINGS = Settings(calls_per_example=3.0, settled=0.0)


@cache
def model() -> LocalModel:
    opened = open_model("local:pocket")
    assert isinstance(opened, LocalModel)
    return opened


def reached(name: str, seed: int) -> dict[str, float]:
    """The accuracies of zero-shot, random and golden shots on a small draw."""
    data, gold = load_dataset(name, seed=seed, claims="80")
    assert gold is not None
    truth = baselines.gold_array(data, gold)
    with Store() as store:
        bench = baselines.BaselineContext(
            data, model(), store=store, settings=SETTINGS, concurrency=64
        )
        found = {
            "zero-shot": baselines.zero_shot(bench, every=True),
            "random": baselines.random_shots(bench),
            "golden": baselines.golden_shots(bench, gold),
        }
    return {way: float((made.labels.argmax(axis=1) == truth).mean()) for way, made in found.items()}


def test_it_is_small_and_pinned() -> None:
    assert sum(file.stat().st_size for file in POCKET.iterdir()) < 12 * 2**20
    assert model().name.startswith("local:pocket@")
    config = json.loads((POCKET / "config.json").read_text("utf-8"))
    assert config["model_type"] == "llama" and config["tie_word_embeddings"]
    heads = config["hidden_size"] // config["num_attention_heads"]
    assert config.get("head_dim", heads) == heads == 32


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pocket", "pocket-popular"])
def test_it_learns_from_golden_shots_and_not_from_random_ones(name: str) -> None:
    draws = [reached(name, seed) for seed in (0, 1)]
    mean = {way: np.mean([draw[way] for draw in draws]) for way in draws[0]}
    # What the model card promises, with room for a draw of 80 claims.
    assert mean["golden"] > 0.85 > mean["zero-shot"] > 0.5
    assert mean["golden"] > mean["random"] + 0.03


def test_the_demo_labels_its_claims() -> None:
    done = consilience("demo", "--examples", 20, "--calls-per-example", 3)
    assert "asking local:pocket@" in done.stderr
    methods = [line.split("  ")[0] for line in done.stdout.splitlines()[1:9]]
    assert methods[-2:] == ["golden shots (ceiling)", "consilience"]


def test_the_command_line_says_how_it_runs(tmp_path) -> None:
    store = tmp_path / "s.db"
    run = ("run", "pocket", "--set", "claims=20", "--model", "local:pocket", "--store", store)
    run += ("--calls-per-example", 2, "--set", "model.concurrency=8")
    consilience(
        *run,
        "--set",
        "model.local.dtype=float64",
        "--set",
        "model.local.batch=3",
        "--set",
        "model.local.reuse=no",
    )
    with Store(store, readonly=True) as db:
        keys = [key for rows in db.rounds(db.run().id) for key, _ in rows]
        kept = [p for p in db.predictions(keys) if p is not None]
        assert len(kept) == 40
        assert {p.usage["prompt_tokens_details"]["cached_tokens"] for p in kept} == {0}
        assert db.detail(keys[0])["settings"]["dtype"] == "float64"
    done = consilience(
        *run, "--set", "model.local.dtype=float64", "--set", "model.local.device=abacus", code=2
    )
    assert "the device 'abacus' cannot be used here" in done.stderr
