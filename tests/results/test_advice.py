"""What a report says first: one sentence for each verdict, and steps that can be taken."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from consilience.cli import cli
from consilience.data.dataset import Dataset
from consilience.data.task import Task
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.results.advice import code, code_parts, headline, next_steps
from consilience.results.diagnosis import Kind
from consilience.results.result import Found
from consilience.solvers.lbfgs import LBFGS


@pytest.fixture(scope="module")
def found() -> Found:
    data, _ = world_dataset("easy", 40)
    settings = Settings(calls_per_example=4.0, plan=PlanSettings(shots=4), settled=0.0)
    return elicit(data, SimulatedModel("easy"), settings=settings, solver=LBFGS(starts=1))


def judged(found: Found, kind: Kind) -> Found:
    """The same result under another verdict."""
    made = replace(found)
    vars(made)["verdict"] = replace(found.verdict, kind=kind)
    return made


@pytest.mark.parametrize(
    ("kind", "said", "step"),
    [
        (Kind.COHERENT, "fit together", "correct what is wrong with `consilience review`"),
        (Kind.SEVERAL, "nothing tells which one is meant", "Label these rows yourself: "),
        (Kind.UNSURE, "use the order, not yet the labels", "`consilience landmarks --count 20`"),
        (Kind.CHANCE, "no better than chance: do not use them", "does it ask what you mean?"),
        (Kind.DEGENERATE, "degenerate", "other framings"),
    ],
)
def test_each_verdict_has_its_sentence_and_its_step(
    found: Found, kind: Kind, said: str, step: str
) -> None:
    made = judged(found, kind)
    assert said in headline(made)
    assert step in next_steps(made)[0]


def test_labels_that_rest_on_answers_without_shots_are_not_said_to_be_in_order(
    found: Found,
) -> None:
    made = judged(found, Kind.UNSURE)
    vars(made)["verdict"] = replace(made.verdict, halves=0.4)
    assert "those of answers without shots" in headline(made)
    assert "order" not in headline(made)
    assert "`consilience landmarks --count 20`" in next_steps(made)[0]


def test_the_numbers_are_those_of_the_labels(found: Found) -> None:
    made = judged(found, Kind.COHERENT)
    opened = int(made.labels["open"].sum())
    assert opened
    assert headline(made).endswith(f": {40 - opened} of 40 are decided.")
    rows = "row is" if opened == 1 else "rows are"
    assert next_steps(made)[0].startswith(f"{opened} {rows} open")


def test_the_commands_that_it_names_are_there(found: Found) -> None:
    steps = next_steps(judged(found, Kind.COHERENT))
    named = [part for step in steps for part in step.split("`")[1::2]]
    assert len(named) == 3
    for line in named:
        program, name, *words = shlex.split(line)
        assert program == "consilience"
        with cli.make_context(program, [name]) as above:
            cli.commands[name].make_context(name, words, parent=above).close()


def test_who_was_told_no_shares_is_told_how_to_say_them(found: Found) -> None:
    means = found.soft_labels.mean(axis=0)
    [step] = [s for s in next_steps(judged(found, Kind.COHERENT)) if "planning.shares" in s]
    least = found.dataset.task.classes[int(means.argmin())]
    assert step.startswith(f"By these probabilities {means.min():.0%} of the rows are {least}. ")
    assert f"planning.shares.{least}=0.1" in step
    assert step in next_steps(judged(found, Kind.UNSURE))
    for kind in (Kind.SEVERAL, Kind.CHANCE, Kind.DEGENERATE):
        assert not any("planning.shares" in s for s in next_steps(judged(found, kind)))
    told = replace(
        judged(found, Kind.COHERENT), evidence=replace(found.evidence, shares=(0.4, 0.6))
    )
    vars(told)["verdict"] = judged(found, Kind.COHERENT).verdict
    assert not any("planning.shares" in s for s in next_steps(told))


def test_rows_without_an_answer_are_counted(found: Found) -> None:
    made = replace(found, unanswered={found.dataset.ids[0]: "refused"})
    assert any("1 row has no answer" in step for step in next_steps(made))


def test_labels_that_are_calibrated_are_not_told_to_be(found: Found) -> None:
    said = dict(zip(found.dataset.ids, found.labels["label"], strict=True))
    assert any("not calibrated" in step for step in next_steps(judged(found, Kind.COHERENT)))
    assert not any("not calibrated" in step for step in next_steps(found.calibrated(said)))


def test_commands_name_the_store_and_the_run(
    found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = replace(found, place=str(tmp_path / "my claims.db"))
    (step, *_) = next_steps(judged(kept, Kind.UNSURE))
    own = f"--store 'my claims.db' --run {found.run.id}"
    assert f"`consilience landmarks {own} --count 20`" in step
    assert f"`consilience solve {own} --landmarks FILE`" in step
    assert any(f"`consilience solve {own} --set" in said for said in next_steps(kept))


def test_code_is_told_from_text_whatever_is_in_it() -> None:
    for text in ("a b", "`", "a`b", "``", "`a``b`"):
        assert code_parts(f"Say {code(text)}, then {code('x')}.") == [
            ("Say ", False),
            (text, True),
            (", then ", False),
            ("x", True),
            (".", False),
        ]


def test_rows_and_texts_are_told_apart() -> None:
    records = [{"text": f"The lamp number {i % 20} is lit."} for i in range(60)]
    data = Dataset.from_records(records, text="text", task=Task("Good?", ("no", "y=`es`")))
    settings = Settings(calls_per_example=4.0, plan=PlanSettings(shots=4), settled=0.0)
    found = elicit(data, SimulatedModel("noisy"), settings=settings, solver=LBFGS(starts=1))
    made = judged(found, Kind.COHERENT)
    made.labels["open"] = [i < 9 for i in range(20)]
    assert headline(made) == "The labels fit together: 11 of 20 texts (33 of 60 rows) are decided."
    assert next_steps(made)[0].startswith("9 texts (27 rows) are open and first")
    (share,) = (step for step in next_steps(made) if "planning.shares" in step)
    (command,) = (part for part, is_code in code_parts(share) if is_code and "--set" in part)
    name, *words = shlex.split(command)[1:]
    with cli.commands[name].make_context(name, words) as context:
        assert list(context.params["chosen"]["planning"]["shares"].values()) == [0.1]
