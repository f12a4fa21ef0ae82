"""Solving and looking on the command line: solvers, weights, evidence, and mistakes in one line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import networkx
import numpy as np
import pytest
from scipy.stats import spearmanr

from command import consilience
from consilience.results.evidence_graph import evidence_graph
from hostile import labelled
from made_up import FILE_OPTIONS, claims, write_csv

SMALL = [
    "--calls-per-example",
    5,
    "--set",
    "planning.settled=0",
    "--set",
    "planning.shots=4",
    "--set",
    "planning.contrasts=0.5",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("solving")
    data = write_csv(claims(12), folder / "claims.csv")
    model = ["--model", "simulated:noisy", "--store", folder / "s.db"]
    consilience(
        "run",
        data,
        *FILE_OPTIONS,
        "--set",
        "relations.priors=exactly-one",
        "--set",
        "relations.count_priors=yes",
        *model,
        *SMALL,
    )
    return folder / "s.db"


def probabilities(printed: str) -> np.ndarray:
    return np.array([float(row["p_True"]) for row in csv.DictReader(io.StringIO(printed))])


@pytest.fixture(scope="module")
def usual(store: Path) -> np.ndarray:
    """The probabilities that the settings of the run give."""
    return probabilities(consilience("solve", "--store", store, "--details").stdout)


@pytest.mark.parametrize("solver", ["lbfgs", "adam", "bp", "annealing", "exhaustive"])
def test_every_solver_labels(store: Path, usual: np.ndarray, solver: str) -> None:
    done = consilience("solve", "--store", store, "--set", f"solving.solver={solver}", "--details")
    found = probabilities(done.stdout)
    assert len(found) == 12 and "Coherence" in done.stderr
    assert (np.round(found) == np.round(usual)).mean() >= 0.9
    assert bool((np.minimum(found, 1 - found) < 1e-6).all()) == (
        solver in ("annealing", "exhaustive")
    )


@pytest.mark.parametrize("term", ["entropy", "mutual predictability", "ranking within"])
def test_a_weight_changes_the_labels(store: Path, usual: np.ndarray, term: str) -> None:
    weight = f"solving.weights.{term}=2.5"
    other = consilience("solve", "--store", store, "--details", "--set", weight).stdout
    assert np.abs(probabilities(other) - usual).max() > 0.01


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "solving.weights.entropie=1"], "the terms are"),
        (["--set", "solving.weights.entropy"], "KEY=VALUE is expected"),
        (["--set", "solving.weights.entropy=nan"], "nan is not a finite number"),
        (
            ["--set", "solving.solver=exhaustive", "--set", "solving.starts=3"],
            "leave out its starts",
        ),
        (["--set", "solving.device=nowhere"], "the device nowhere"),
        (["--set", "solving.solver=magic"], "solving.solver"),
        (["--set", "planning.shares.Maybe=0.1"], "a share is given for Maybe"),
        (["--set", "planning.shots=4"], "no setting 'planning.shots' for this command"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(store: Path, words: list[object], says: str) -> None:
    done = consilience("solve", "--store", store, *words, code=2)
    assert done.stdout == "" and says in done.stderr and done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run about enough rows for shares to say something."""
    folder = tmp_path_factory.mktemp("larger")
    data = write_csv(claims(60), folder / "claims.csv")
    model = ["--model", "simulated:noisy", "--store", folder / "s.db"]
    consilience("run", data, *FILE_OPTIONS, *model, *SMALL)
    return folder / "s.db"


@pytest.fixture(scope="module")
def usual_of_larger(larger: Path) -> np.ndarray:
    return probabilities(consilience("solve", "--store", larger, "--details").stdout)


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_how_frequent_a_class_is_can_be_told_afterwards_and_asks_nothing(
    larger: Path, usual_of_larger: np.ndarray, share: float
) -> None:
    store, told = larger, ["--set", f"planning.shares.True={share}"]
    before = store.read_bytes()
    usual = usual_of_larger
    done = consilience("solve", "--store", store, "--details", *told)
    found = probabilities(done.stdout)
    assert found.mean() == pytest.approx(share, abs=0.08)
    assert abs(usual.mean() - share) > 0.1
    assert spearmanr(found, usual).statistic > 0.9
    assert f"True {share:.0%} (given)" in done.stderr
    assert store.read_bytes() == before


def test_a_share_told_afterwards_is_that_of_a_report_and_of_what_is_exported(
    larger: Path, tmp_path: Path
) -> None:
    store, told = larger, ["--set", "planning.shares.True=0.2"]
    before = store.read_bytes()
    found = probabilities(consilience("solve", "--store", store, "--details", *told).stdout)
    exported = tmp_path / "labels.csv"
    consilience("export", exported, "--store", store, "--details", *told)
    assert probabilities(exported.read_text("utf-8")) == pytest.approx(found, abs=1e-6)
    consilience("report", "--store", store, "--output", tmp_path / "r.html", *told)
    assert "True 20% (given)" in (tmp_path / "r.html").read_text("utf-8")
    assert store.read_bytes() == before


def test_the_evidence_in_a_summary_and_piece_by_piece(store: Path) -> None:
    summary = json.loads(consilience("evidence", "--store", store, "--json").stdout)
    pieces = {row["kind"]: row["pieces"] for row in summary}
    assert len(pieces) == 5
    for word, kind in (
        ("direct", "direct confidence"),
        ("flips", "flip sensitivity"),
        ("ensemble", "ensemble variance"),
        ("mutual", "mutual predictability"),
        ("logic", "logical consistency"),
    ):
        rows = consilience("evidence", "--store", store, "--kind", word, "--json").stdout
        assert len(json.loads(rows)) == pieces[kind]
    assert pieces["flip sensitivity"] > 0
    table = consilience("evidence", "--store", store, "--kind", "direct").stdout
    assert "log_odds" in table and table.count("\n") > pieces["direct confidence"]


def test_the_graph(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "evidence.graphml"
    done = consilience("evidence", "--store", store, "--graph", path)
    graph = networkx.read_graphml(path)
    assert f"{len(graph)} nodes" in done.stderr
    assert sum(kind == "example" for _, kind in graph.nodes(data="kind")) == 12
    assert any(coupling is not None for *_, coupling in graph.edges(data="coupling"))
    rows = json.loads(consilience("solve", "--store", store, "--json").stdout)
    named = {node["id"]: node for _, node in graph.nodes(data=True) if node["kind"] == "example"}
    assert {str(row["row"]): row["label"] for row in rows} == {
        id: node["name"] for id, node in named.items()
    }
    for row in rows:
        node = named[str(row["row"])]
        text = f"{row['question']} {row['claim']}"
        assert (node["text"], node["open"]) == (text, row["open"])


def test_a_graph_of_hostile_texts_is_read_by_every_reader_of_xml(tmp_path: Path) -> None:
    found = labelled()
    path = tmp_path / "hostile.graphml"
    networkx.write_graphml(evidence_graph(found), path)
    back = networkx.read_graphml(path)
    for example in found.dataset.examples:
        assert back.nodes[example.id]["text"] == example.text.replace("\x00", "\ufffd")


@pytest.mark.parametrize(
    "words", [["--graph", "e.png"], ["--graph", "e.graphml", "--kind", "flips"]], ids=str
)
def test_a_graph_that_cannot_be_written(store: Path, words: list[str]) -> None:
    done = consilience("evidence", "--store", store, *words, code=2)
    assert done.stdout == "" and done.stderr.count("\n") == 1


def test_an_explanation_names_contrasts_and_the_keys_of_predictions(store: Path) -> None:
    id = next(csv.DictReader(io.StringIO(consilience("solve", "--store", store).stdout)))["row"]
    rows = json.loads(consilience("explain", id, "--store", store, "--json").stdout)
    kinds = {row["kind"] for row in rows}
    assert {"zero-shot", "with shots"} <= kinds
    flips = consilience("evidence", "--store", store, "--kind", "flips", "--json").stdout
    coupled = json.loads(flips)[0]["id"]
    rows = json.loads(consilience("explain", coupled, "--store", store, "--json").stdout)
    assert {"contrast", "coupling"} <= {row["kind"] for row in rows}
    shown = consilience("store", "show", store, rows[0]["prediction"])
    assert rows[0]["prediction"] in shown.stdout


def test_a_way_to_take_out_bias(usual: np.ndarray, tmp_path: Path) -> None:
    data = write_csv(claims(12), tmp_path / "claims.csv")
    for more in (["--set", "planning.bias=none"], ["--set", "planning.bias=paired"]):
        other = tmp_path / "other.db"
        model = ["--model", "simulated:noisy", "--store", other]
        ran = consilience(
            "run",
            data,
            *FILE_OPTIONS,
            "--set",
            "relations.priors=exactly-one",
            "--set",
            "relations.count_priors=yes",
            *model,
            *SMALL,
            *more,
            *("--set", "output.details=yes"),
        )
        found = probabilities(ran.stdout)
        assert np.abs(found - usual).max() > 1e-4
        other.unlink()
