"""The command `weights`: its tables, what they rest on, and mistakes in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from command import consilience
from consilience.elicitation.session import gather
from consilience.elicitation.settings import settings_from
from consilience.objective.coherence import DEFAULT_WEIGHTS
from consilience.solvers.term_weights import held_out, sweep
from consilience.store.database import Store
from made_up import FILE_OPTIONS, claims, write_csv
from wire_client import KEYS

SMALL = [
    "--calls-per-example",
    5,
    "--set",
    "planning.settled=0",
    "--set",
    "planning.shots=4",
    "--set",
    "planning.contrasts=0.2",
]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "OPENAI_BASE_URL", "CONSILIENCE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    data = write_csv(claims(24), folder / "claims.csv")
    run = ["run", data, *FILE_OPTIONS, "--model", "simulated:noisy", *SMALL]
    for seed in (1, 0):
        consilience(*run, "--seed", seed, "--store", folder / "s.db", "--output", folder / "x.csv")
    return folder / "s.db"


@pytest.fixture(scope="module")
def plain(store: Path) -> list[dict[str, Any]]:
    """What the command says without options."""
    return table(store)


def evidence(store: Path, run: str | None = None) -> Any:
    with Store(store, readonly=True) as db:
        found = db.run(run)
        return gather(db, found.id, db.dataset(found.dataset), settings_from(found.settings))


def table(store: Path, *words: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        consilience("weights", "--store", store, *words, "--json").stdout
    )
    return found


def the_line(*words: object, code: int = 2) -> str:
    done = consilience("weights", *words, code=code)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_without_options_each_default_term_is_left_out_in_turn(store: Path, plain: Any) -> None:
    found = plain
    assert [row["without"] for row in found] == ["", *DEFAULT_WEIGHTS]
    assert found[0]["score"] == pytest.approx(held_out(evidence(store)).score)
    assert min(row["behind"] for row in found) == 0
    # One of the rows is the best; no other is known to be behind without an error.
    assert all((row["behind_error"] > 0) == (row["behind"] != 0) for row in found)


def test_a_person_reads_the_same_figures(store: Path, plain: Any) -> None:
    done = consilience("weights", "--store", store)
    assert re.match(r"\d+ predictions of 24 examples, held out in 5 folds; ", done.stderr)
    assert "knowing nothing scores -0.6931" in done.stderr
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if "│" in line]
    for shown, row in zip(rows, plain, strict=True):
        name, score, behind = (cell.strip() for cell in shown)
        assert name == row["without"] and score == f"{row['score']:.4f}"
        assert behind == f"{row['behind']:.4f} ± {row['behind_error']:.4f}"


def test_a_sweep_is_that_of_the_library(store: Path) -> None:
    found = table(store, "--sweep", "entropy=0.5, 1,2", "--sweep", "couplings=0,1")
    wanted = sweep(evidence(store), {"entropy": [0.5, 1.0, 2.0], "couplings": [0.0, 1.0]})
    assert len(found) == 6 and list(found[0]) == list(wanted.columns)
    assert [row["entropy"] for row in found] == wanted["entropy"].tolist()
    assert [row["score"] for row in found] == pytest.approx(wanted["score"].tolist())


def test_a_term_that_is_off_can_be_swept(store: Path, plain: Any) -> None:
    found = table(store, "--sweep", "ranking within=0,0.5")
    scores = {row["ranking within"]: row["score"] for row in found}
    assert scores[0.0] == pytest.approx(plain[0]["score"])
    assert scores[0.5] != scores[0.0]


@pytest.mark.slow
def test_learning_shows_the_weights_before_and_after(store: Path) -> None:
    cheated = table(store, "--learn", "objective", "--folds", 2)
    assert [row["weights"] for row in cheated] == ["default", "learned on objective"]
    assert {name: cheated[0][name] for name in DEFAULT_WEIGHTS} == DEFAULT_WEIGHTS
    assert cheated[1]["entropy"] > 3 and cheated[1]["mutual predictability"] < 1e-3
    assert cheated[1]["score"] == pytest.approx(-0.6931, abs=1e-3)
    honest = table(store, "--learn", "held-out", "--folds", 2)
    assert honest[1]["score"] >= honest[0]["score"] == cheated[0]["score"]
    assert honest[1]["behind"] == 0


@pytest.mark.parametrize("words", [("--folds", 2), ("--seed", 1)])
def test_folds_and_seed_count(store: Path, plain: Any, words: tuple[object, ...]) -> None:
    assert table(store, *words)[0]["score"] != plain[0]["score"]


def test_a_run_is_chosen_by_its_id(store: Path, plain: Any) -> None:
    with Store(store, readonly=True) as db:
        newest, oldest = (run.id for run in db.runs())
    assert table(store, "--run", newest[:8]) == plain
    other = table(store, "--run", oldest)
    assert other[0]["score"] == pytest.approx(held_out(evidence(store, oldest)).score)
    assert other != plain


def test_nothing_is_written(store: Path) -> None:
    before = store.read_bytes()
    consilience("weights", "--store", store)
    assert store.read_bytes() == before
    assert list(Path().iterdir()) == []


BAD = {
    "an unknown term": (["--sweep", "entropie=1"], "no term 'entropie'; the terms are: mutual pre"),
    "no weights": (["--sweep", "entropy"], "'entropy' is not NAME=WEIGHT,WEIGHT,…"),
    "no name": (["--sweep", "=1"], "'=1' is not NAME=WEIGHT"),
    "an empty weight": (["--sweep", "entropy=1,,2"], "'' is not a valid"),
    "a word": (["--sweep", "entropy=high"], "'high' is not a valid"),
    "infinity": (["--sweep", "entropy=inf"], "not a finite number"),
    "a term twice": (["--sweep", "entropy=1", "--sweep", "entropy=2"], "'entropy' stands twice"),
    "two ways": (["--sweep", "entropy=1", "--learn", "held-out"], "say one of the two"),
    "an unknown way": (["--learn", "gold"], "'gold' is not one of 'held-out', 'objective'"),
    "one fold": (["--folds", 1], "1 is not in the range x>=2"),
    "an unknown run": (["--run", "nothing"], "nothing"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line(store: Path, case: str) -> None:
    words, said = BAD[case]
    code = 1 if case == "an unknown run" else 2
    assert said in the_line("--store", store, *words, code=code)


def test_no_store_is_one_line() -> None:
    assert "there is no store no.db" in the_line("--store", "no.db")
    assert not Path("no.db").exists()
