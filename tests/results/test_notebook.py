"""What a notebook shows of a result: short, whatever its size, and texts as texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from consilience.cli.evidence import KINDS
from consilience.data.dataset import Dataset, Example
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.objective.evidence_tables import KIND_WORDS, evidence_summary, evidence_table
from consilience.planning.planner import PlanSettings
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS
from hostile import Lengths, labelled

SETTINGS = Settings(calls_per_example=3.0, plan=PlanSettings(shots=4), settled=0.0)


@pytest.fixture(scope="module")
def found() -> Found:
    data, _ = world_dataset("grouped", 24)
    return elicit(data, SimulatedModel("grouped"), settings=SETTINGS, solver=LBFGS(starts=1))


@pytest.mark.parametrize("count", [24, pytest.param(1200, marks=pytest.mark.slow)])
def test_a_result_is_a_few_lines_and_a_small_table_whatever_its_size(count: int) -> None:
    texts = [Example(f"{number} " + "a long text " * 200) for number in range(count)]
    found = elicit(
        Dataset("long " * 100, texts), Lengths(), settings=SETTINGS, solver=LBFGS(starts=1)
    )
    said, page = repr(found), found._repr_html_()
    assert len(said) < 1000
    assert len(said.splitlines()) == 5
    assert f"{count:,} examples" in said
    assert str(found.verdict) in said
    assert len(page) < 50_000
    assert f"most doubtful of {count:,}" in page
    assert len(repr(found.evidence)) < 300


def test_the_numbers_are_those_of_the_labels(found: Found) -> None:
    counts = found.labels["name"].value_counts()
    for name in found.dataset.task.classes:
        assert f"{name} {counts[name]}" in repr(found)
    page = found._repr_html_()
    least = found.labels.sort_values("probability").iloc[0]
    assert "<td style" in page
    assert f"{least['probability']:.3f}" in page
    assert str(least["id"]) in page


def test_a_text_is_no_html() -> None:
    found = labelled()
    page = found._repr_html_()
    for mark in ("<script", "<img", "<u>", "<i>", "<s>"):
        assert mark not in page
    assert "&lt;i&gt;no&lt;/i&gt;" in page


def test_a_row_without_a_label_is_said_to_have_none(found: Found) -> None:
    bare = replace(found, dataset=Dataset("bare", found.dataset.examples))
    mine = bare.evidence.predictions.target != 0
    alone = replace(bare, evidence=bare.evidence.only(mine))
    assert alone.labels["name"].isna().sum() == 1
    assert "no label" in alone._repr_html_()


def test_the_evidence_as_on_the_command_line(found: Found) -> None:
    assert tuple(KIND_WORDS) == KINDS
    for word, kind in KIND_WORDS.items():
        made = found.evidence_table(word)
        pd.testing.assert_frame_equal(made, found.evidence_table(kind))
        whole = evidence_table(found.evidence, kind, found.solution.labels)
        assert len(made) == len(whole)
    summary = evidence_summary(found.evidence, found.solution.labels)
    pd.testing.assert_frame_equal(found.evidence_summary(), summary)
    with pytest.raises(InputError, match="no kind of evidence 'told'"):
        found.evidence_table("told")


def test_the_rounds_are_counted_and_compared_with_the_labels(found: Found) -> None:
    rounds, e = found.rounds(), found.evidence
    assert rounds["answers"].sum() == e.t
    assert list(rounds["asked"].head(1)) == ["zero-shot"]
    hard = found.solution.labels.argmax(axis=1)[e.predictions.target.numpy()]
    for row in rounds.itertuples():
        mine = (e.predictions.round == row.round).numpy()
        right = e.predictions.logp.numpy()[mine].argmax(axis=1) == hard[mine]
        assert row.agreement == pytest.approx(right.mean())
        logp = e.predictions.logp.numpy()[mine]
        every = np.arange(len(logp))
        odds = logp[every, hard[mine]] - logp[every, 1 - hard[mine]]
        assert row.log_odds == pytest.approx(odds.mean())
