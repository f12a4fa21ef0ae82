"""Logs of other programs: both shapes, what is never taken for an answer, and the way round."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from command import consilience
from consilience.data.dataset import Dataset, example_id
from consilience.elicitation.legacy import Log, read_log
from consilience.elicitation.session import elicit
from consilience.elicitation.settings import Settings
from consilience.errors import InputError
from consilience.evidence.collect import collect
from consilience.models.simulated import SimulatedModel, world_dataset
from consilience.planning.planner import PlanSettings
from consilience.prompts.query import Query
from consilience.solvers.solution import solve
from consilience.solvers.starts import first_labels
from consilience.store.database import Store
from consilience.store.rows import Prediction

Pairs = list[tuple[Query, Prediction]]

SHOWN = [{"uid": "b", "label": 1}, {"uid": "c", "label": 0}]


def scored(score: Any, uid: Any = "a", context: Any = SHOWN, **more: Any) -> dict[str, Any]:
    return {"uid": uid, "score": score, "context": context, **more}


def weighed(pred: Any, target: Any = 0, context: Any = (1, 2), **more: Any) -> dict[str, Any]:
    return {
        "context_indices": list(context),
        "target_index": target,
        "llm_pred": pred,
        **more,
    }


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def read(tmp_path: Path):
    def read_rows(*rows: Any, labels: Any = None) -> Log:
        return read_log(written(tmp_path / "log.jsonl", list(rows)), labels)

    return read_rows


def odds(log: Log) -> list[float | None]:
    """The log-odds of label 1 in each answer that was asked for, None where it is left out."""
    return [None if p is None else p.logprobs[1] - p.logprobs[0] for _, p in log.pairs]


# ---- the two shapes --------------------------------------------------------------------------


def test_a_score_is_the_log_odds_of_label_1(read) -> None:
    log = read(scored(2.5), scored(-0.75, "b", []))
    assert odds(log) == pytest.approx([2.5, -0.75])
    evidence = log.evidence()
    assert evidence.predictions.zero.tolist() == [False, True]
    assert evidence.framings == ("legacy",)
    assert evidence.tally.bias.keys() == {"legacy, zero-shot", "legacy, with shots, few"}
    np.testing.assert_allclose(evidence.predictions.logp.exp().sum(dim=1), 1)
    assert math.isnan(evidence.tally.mean_mass)  # nobody recorded it
    ids = log.dataset.ids
    # Nothing is known of c, so that it is no measure of what the answer about a is worth.
    assert [ids[e] for e in evidence.shots.example] == [log.uids["b"]]
    assert evidence.shots.label.tolist() == [1]
    assert (log.shots, log.unrecorded, log.unheard) == (2, 0, 1)


def test_two_probabilities_are_those_of_yes_and_no(read) -> None:
    log = read(weighed([0.6, 0.2]), weighed([0.01, 0.99], 2, []))
    assert odds(log) == pytest.approx([math.log(3), math.log(1 / 99)])
    evidence = log.evidence()
    assert evidence.predictions.zero.tolist() == [False, True]
    assert evidence.tally.mean_mass == pytest.approx(0.9)
    assert sorted(log.uids) == ["0", "1", "2"]
    assert len(evidence.shots.label) == 0
    assert (log.shots, log.unrecorded) == (2, 2)


@pytest.mark.parametrize(
    "text",
    [
        "[{a}, {b}, {c}]",
        "[\n  {a},\n  {b},\n  {c}\n]\n",
        "{a}\n\n{b}\n{c}\n",
        "[{a}, {b}]\n[{c}]\n",
        "[[{a}, {b}], [{c}]]",
        "\ufeff{a}\r\n{b}\r\n{c}",
    ],
    ids=["list", "pretty", "lines", "lists", "list of lists", "byte-order mark"],
)
@pytest.mark.parametrize("shape", ["scores", "probabilities"])
def test_each_kind_of_file_has_the_same_rows(tmp_path: Path, text: str, shape: str) -> None:
    rows = {
        "scores": [scored(2.5), scored(-1.0, "b", []), scored(0.5, "c", [])],
        "probabilities": [weighed([0.6, 0.2]), weighed([0.1, 0.2], 1), weighed([0.1, 0.8], 3)],
    }[shape]
    for name, row in zip("abc", rows, strict=True):
        text = text.replace(f"{{{name}}}", json.dumps(row))
    path = tmp_path / "log"
    path.write_text(text, encoding="utf-8")
    log, plain = read_log(path), read_log(written(tmp_path / "log.jsonl", rows))
    assert log.pairs == plain.pairs
    assert log.rows == 3


def test_a_row_of_probabilities_may_be_a_list_of_its_values(tmp_path: Path) -> None:
    rows = [[[1, 2], 0, [0.6, 0.2]], [[], 2, [0.1, 0.8]]]
    named = [weighed([0.6, 0.2]), weighed([0.1, 0.8], 2, [])]
    whole = tmp_path / "log.json"
    whole.write_text(json.dumps(rows))
    expected = read_log(written(tmp_path / "named.jsonl", named)).pairs
    assert read_log(written(tmp_path / "log.jsonl", rows)).pairs == expected
    assert read_log(whole).pairs == expected


def test_the_published_rows_are_read(read) -> None:
    # As a public notebook writes them; its own score is squashed, and gold stands in the row.
    row = {
        "target_uid": 20,
        "target_idx": 20,
        "score": 0.9999999999991981,
        "raw_logprob_diff": 27.85156273937173,
        "vanilla_label": 0,
        "context": [
            {"uid": 3, "label": 0, "raw_logprob": 962.109375, "flipped": False},
            {"uid": 8, "label": 1, "raw_logprob": 961.3671875, "flipped": True},
        ],
        "variations": {"reversed": False, "reordered": True},
    }
    log = read(row)
    assert odds(log) == pytest.approx([27.85156273937173])
    assert log.evidence().framings == ("legacy: reordered",)
    assert list(log.uids) == ["20", "3", "8"]
    other = read(row | {"vanilla_label": 1, "gold": 1})
    assert other.pairs == log.pairs


# ---- variations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variations", "names"),
    [
        ([1.0, 3.0], ["legacy: variation 1", "legacy: variation 2"]),
        ([{"score": 1.0, "name": "plain"}, {"score": 3}], ["legacy: plain", "legacy: variation 2"]),
        ({"plain": 1.0, "turned": 3.0}, ["legacy: plain", "legacy: turned"]),
        ({"plain": {"score": 1.0}, "turned": {"score": 3.0}}, ["legacy: plain", "legacy: turned"]),
    ],
)
def test_each_variation_is_a_prediction_and_their_mean_is_none(
    read, variations: Any, names: list[str]
) -> None:
    log = read(scored(2.0, variations=variations))
    assert odds(log) == pytest.approx([1.0, 3.0])
    assert [framing.name for framing in log.framings] == names
    assert log.evidence().t == log.answers == 2
    assert len({framing.family for framing in log.framings}) == 2  # no pair to take bias from


@pytest.mark.parametrize("variations", [None, [], {}, 0, 5])
def test_how_many_were_averaged_changes_nothing(read, variations: Any) -> None:
    log = read(scored(2.0, variations=variations))
    assert log.pairs == read(scored(2.0)).pairs


def test_a_variation_without_an_answer_is_left_out_alone(read) -> None:
    log = read(scored(2.0, variations=[1.0, None, -1000.0]))
    assert odds(log) == pytest.approx([1.0, None, None])
    assert sum(log.left_out.values()) == 2


@pytest.mark.parametrize(
    "variations",
    [["plain"], "plain", True, 1.5, -1, [True], [{"logit": 1.0}], {"plain": 1.0, "on": True}],
)
def test_variations_of_another_form_are_refused(read, variations: Any) -> None:
    with pytest.raises(InputError, match=r"row 1 \(line 1\)|row 1: `variations`"):
        read(scored(2.0, variations=variations))


def test_variations_whose_mean_is_another_are_refused(read) -> None:
    with pytest.raises(InputError, match="the score 2 is not the mean -1 of its variations"):
        read(scored(2.0, variations=[1.0, -3.0]))
    assert read(scored(2.004, variations=[1.0, 3.0])).answers == 2


# ---- nothing is invented ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (scored(None), "no answer"),
        ({"uid": "a", "context": SHOWN}, "no answer"),
        (scored(math.nan), "not a finite number"),
        (scored(-math.inf), "not a finite number"),
        (scored(10**400), "not a finite number"),
        (scored(-1000), "100 nats or more"),
        (scored(962.109375), "100 nats or more"),
        (scored(100.0), "100 nats or more"),
        (scored(0), "exactly even"),
        (scored(-0.0), "exactly even"),
        (scored(1.0, context=[*SHOWN, {"uid": "a", "label": None}]), "its own label in view"),
        (weighed(None), "no answer"),
        (weighed([None, None]), "no answer"),
        (weighed([math.nan, 0.2]), "not a finite number"),
        (weighed([0.2, math.inf]), "not a finite number"),
        (weighed([0, 0.0]), "no probability"),
        (weighed([1e-10, None]), "no probability"),
        (weighed([0.5, 0.5]), "exactly even"),
        (weighed([0.2, 0.7], 1), "its own label in view"),
    ],
    ids=str,
)
def test_what_no_model_said_is_left_out_with_its_reason(read, row: Any, reason: str) -> None:
    good = scored(1.5, "z") if "uid" in row else weighed([0.7, 0.2], 5)
    log = read(row, good)
    ((found, count),) = log.left_out.items()
    assert reason in found
    assert count == 1
    assert log.pairs[0][1] is None
    evidence = log.evidence()
    assert (evidence.t, evidence.tally.absent) == (1, 1)
    assert f"left out: {found}: 1" in log.summary()
    with pytest.raises(InputError, match=r"no answer that can be used; left out: .*: 1$"):
        read(row)


@pytest.mark.parametrize("score", [99.9, -42.1484375, -10.0, 1e-12])
def test_other_scores_are_answers(read, score: float) -> None:
    assert odds(read(scored(score))) == pytest.approx([score])


@pytest.mark.parametrize("missing", [0, 0.0, None, 1e-10])
@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize(
    ("listed", "least", "bound"),
    [(0.97, 0.001, 0.03), (0.3, 0.001, 0.3), (1.0, 0.001, 0.001), (1.0, 0.2, 0.2)],
)
def test_a_probability_that_is_missing_is_bounded(
    read, missing: Any, yes: bool, listed: float, least: float, bound: float
) -> None:
    pred = [listed, missing] if yes else [missing, listed]
    log = read(weighed(pred), weighed([least, 0.5], 5))
    (_, found), _ = log.pairs
    assert found is not None
    assert found.exact == ((False, True) if yes else (True, False))
    assert found.mass == listed
    np.testing.assert_allclose(np.exp(found.logprobs), [bound, listed] if yes else [listed, bound])
    assert log.evidence().predictions.bounded.tolist() == [True, False]


def test_where_nothing_says_how_small_a_zero_is_it_decides_nothing(read) -> None:
    assert odds(read(weighed([1.0, 0.0]), weighed([0.0, 1.0], 5))) == [0.0, 0.0]


def test_the_same_answer_counts_once_and_another_answer_was_asked_again(read) -> None:
    log = read(scored(2.0), scored(2.0), scored(2.5), scored(2.0, context=SHOWN[::-1]), scored(0))
    assert (log.rows, log.answers, log.repeats, sum(log.left_out.values())) == (5, 5, 1, 1)
    assert odds(log) == pytest.approx([2.0, 2.5, 2.0, None])
    assert [query.repeat for query, _ in log.pairs] == [0, 1, 0, 2]
    assert log.evidence().t == 3
    assert "5 answers; 3 count, 1 repeat an earlier one, 1 left out" in log.summary()


def test_an_answer_that_is_too_frequent_is_pointed_out_and_counts(read) -> None:
    rows = [scored(-10.0, f"t{i}") for i in range(6)]
    more = [scored(0.1 * i - 3.05, f"u{i}") for i in range(60)]
    log = read(*rows, *more)
    assert log.often == ("-10", 6)
    assert log.evidence().t == 66
    assert "6 answers are exactly -10" in log.summary()
    assert read(*rows[:4], *more).often is None


def test_scores_that_look_like_probabilities_are_refused(read) -> None:
    rows = [scored(i / 11, f"t{i}") for i in range(1, 11)]
    with pytest.raises(InputError, match="between 0 and 1, like a probability"):
        read(*rows)
    assert read(*rows[:9]).answers == 9
    assert read(*rows, scored(-0.5, "u")).answers == 11


# ---- labels that were shown ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "shown"),
    [(0, 0), (1, 1), (True, 1), (False, 0), (1.0, 1), (None, -1), (math.nan, -1)],
)
def test_a_label_is_0_or_1_or_not_recorded(read, label: Any, shown: int) -> None:
    (query, _), _ = read(scored(2.0, context=[{"uid": "b", "label": label}]), scored(1, "b")).pairs
    assert query.shots == ((example_id("b"), shown),)
    row = weighed([0.6, 0.1], 0, [1], context_labels=[label])
    (query, _), _ = read(row, weighed([0.6, 0.1], 1, [])).pairs
    assert query.shots == ((example_id("1"), shown),)


def test_labels_beside_the_log_fill_in_what_it_does_not_have(read, tmp_path: Path) -> None:
    rows = [scored(2.0, "1", [{"uid": 2, "label": 1}, {"uid": 3}, {"uid": "4", "label": None}])]
    given = {"2": 0, 3: True}
    ((query, _),) = read(*rows, labels=given).pairs
    assert [label for _, label in query.shots] == [1, 1, -1]
    file = tmp_path / "labels.json"
    file.write_text(json.dumps([None, 0, 0, 1]))
    ((query, _),) = read(*rows, labels=file).pairs
    assert [label for _, label in query.shots] == [1, 1, -1]
    rows = [weighed([0.6, 0.2], 0, [1, 2, 3], context_labels=[None, 1, None])]
    ((query, _),) = read(*rows, labels=[1, 0, 0, None]).pairs
    assert [label for _, label in query.shots] == [0, 1, -1]
    assert (log := read(*rows, labels=str(file))).unrecorded == 0
    assert log.shots == 3


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1], "index 2 is out of range, there are 2 labels"),
        ({"x": 1}, "no uid of .* is among the labels"),
        ({"0": 2}, "the label 2 is none of 0, 1"),
        (["yes"], 'the label "yes" is none of'),
        (7, "the labels: 7, expected a list"),
        ("nowhere.json", "cannot read nowhere.json"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(read, labels: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(weighed([0.6, 0.2]), labels=labels)


def test_demonstrations_that_were_never_asked_about_do_not_silence_the_answers(read) -> None:
    rows = [scored(3.0 if i % 2 else -3.0, f"t{i}") for i in range(8)]
    log = read(*rows)
    assert (log.shots, log.unheard) == (16, 16)
    solved = log.solve()
    assert solved.solution.relevance.tolist() == [1.0] * 8
    labels = solved.labels.set_index("uid")["label"]
    assert [labels[f"t{i}"] for i in range(8)] == [0, 1] * 4
    assert labels[["b", "c"]].isna().all()
    assert "16 that no answer speaks of" in log.summary()


# ---- texts and uids --------------------------------------------------------------------------


def test_a_text_makes_the_example_and_the_uid_stays(read) -> None:
    first = scored(2.0, 7, [{"uid": 8, "label": 1, "text": "Ice floats."}], text="Rain is wet.")
    log = read(first, scored(1.0, "8", [{"uid": 9, "label": 0}]))
    assert log.uids == {
        "7": example_id("Rain is wet."),
        "8": example_id("Ice floats."),
        "9": example_id("9"),
    }
    assert set(log.dataset.texts) == {"Rain is wet.", "Ice floats.", "9"}


def test_a_column_of_whole_prompts_is_not_the_text(read) -> None:
    log = read(scored(2.0, prompt="b: A\na:"), scored(1.0, context=[], prompt="a:"))
    assert set(log.dataset.texts) == {"a", "b", "c"}
    assert "a:" in read(scored(1.0, context=[], prompt="a:")).dataset.texts


def test_two_uids_with_one_text_are_one_example(read) -> None:
    rows = [scored(2.0, uid, [], text="Rain is wet.") for uid in (1, 2)]
    log = read(*rows, scored(3.0, 3, [{"uid": 1, "label": 1}], text="Rain is wet."))
    assert len(log.dataset) == 1
    assert log.repeats == 1
    assert log.left_out == {"asked with its own label in view": 1}
    labels = log.solve().labels
    assert list(labels["uid"]) == ["1", "2", "3"]
    assert labels["probability"].nunique() == 1
    assert "2 uids have the text of another" in log.summary()


def test_a_uid_that_no_answer_speaks_of_has_no_label(read) -> None:
    solved = read(scored(2.0, 10, [{"uid": 9, "label": 1}]), scored(-1000, 11, [])).solve()
    labels = solved.labels.set_index("uid")
    assert list(labels.index) == ["9", "10", "11"]
    assert labels.loc["10", "label"] == 1
    assert labels.loc[["9", "11"]].drop(columns="predictions").isna().to_numpy().all()
    assert list(labels["predictions"]) == [0, 1, 0]
    assert "1 of 3 uids" in solved.summary()


# ---- files that are no logs ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no rows"),
        (b"[]", "has no rows"),
        (b"uid,score\n1,2\n", "line 1 is not JSON"),
        (b'{"uid": 1, "score": 2, "context": []}\n{"uid": 2, "sc', "line 2 is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b"3", "row 1 is 3, expected an object"),
        (b'{"predictions": []}', "has the keys predictions; expected uid"),
        (b"{}", r"has the keys \(none\)"),
    ],
    ids=["empty", "empty list", "CSV", "cut off", "UTF-16", "deep", "number", "wrapped", "bare"],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_log(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (weighed([0.6, 0.2]), r"row 2 \(line 2\) has another shape than the first row \(scores\)"),
        (scored(1.0) | weighed([0.6, 0.2]), "has the keys uid, score, context, context_indices"),
        (scored("2.0"), '`score` is "2.0", expected a number'),
        (scored(True), "`score` is true"),
        (scored(1.0, None), "the uid null is neither text nor a number"),
        (scored(1.0, [1]), r"the uid \[1\]"),
        ({"uid": "a", "score": 1.0}, "`context` is null, expected a list"),
        (scored(1.0, context=["b"]), '`context` is \\["b"\\]'),
        (scored(1.0, context=[{"label": 1}]), "the uid null"),
        (scored(1.0, context=[{"uid": "b", "label": -1}]), "the label -1 is none of"),
        (scored(1.0, context=[{"uid": "b", "label": "A"}]), 'the label "A" is none of'),
    ],
    ids=str,
)
def test_a_row_that_is_not_as_it_should_be_is_named(read, row: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        read(scored(1.0), row)
    assert "row 2 (line 2)" in str(error.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (weighed([-0.1, 0.9]), "neither below 0 and no more than 1 together"),
        (weighed([97, 3]), "neither below 0"),
        (weighed([0.9, 0.8]), "neither below 0"),
        (weighed([0.9]), r"`llm_pred` is \[0.9\], expected \[p_yes, p_no\]"),
        (weighed({"yes": 0.9}), "expected .p_yes, p_no."),
        (weighed(["0.9", 0.1]), "expected a number"),
        (weighed([0.9, 0.1], -1), "the index -1 is not a whole number from 0"),
        (weighed([0.9, 0.1], 1.5), "the index 1.5"),
        (weighed([0.9, 0.1], True), "the index true"),
        (weighed([0.9, 0.1], 0, ["x"]), 'the index "x"'),
        (weighed([0.9, 0.1], context_labels=[1]), "expected 2 labels"),
        ({"target_index": 0, "llm_pred": [0.9, 0.1]}, "`context_indices` is null"),
    ],
    ids=str,
)
def test_a_row_of_probabilities_that_is_not_as_it_should_be_is_named(
    read, row: Any, said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        read(weighed([0.6, 0.2]), row)
    assert "row 2 (line 2)" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*nothing.jsonl: No such file"):
        read_log(tmp_path / "nothing.jsonl")


# ---- there and back --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def native() -> tuple[Dataset, Pairs, np.ndarray, np.ndarray]:
    """A simulated run in one framing: its data, its predictions, its labels in one round, gold."""
    data, gold = world_dataset("easy", 120)
    settings = Settings(4.0, ("plain",), plan=PlanSettings(shots=6), settled=0.0)
    with Store() as store:
        found = elicit(data, SimulatedModel("easy"), settings=settings, store=store)
        rounds = [
            list(zip((q for _, q in rows), store.predictions([k for k, _ in rows]), strict=True))
            for rows in store.rounds(found.run.id)
        ]
    evidence = collect(data, found.framings, rounds)
    labels = solve(evidence, start=first_labels(evidence)).labels
    truth = np.array([gold.labels[id] for id in data.ids])
    return data, [pair for pairs in rounds for pair in pairs], labels, truth


def as_scores(data: Dataset, pairs: Pairs) -> list[dict[str, Any]]:
    return [
        {
            "uid": f"u{data.index[query.target]}",
            "text": data.texts[data.index[query.target]],
            "score": p.logprobs[1] - p.logprobs[0],
            "context": [{"uid": f"u{data.index[id]}", "label": c} for id, c in query.shots],
        }
        for query, p in pairs
    ]


def as_probabilities(data: Dataset, pairs: Pairs) -> list[dict[str, Any]]:
    return [
        weighed(
            [math.exp(p.logprobs[1]), math.exp(p.logprobs[0])],
            data.index[query.target],
            [data.index[id] for id, _ in query.shots],
            context_labels=[c for _, c in query.shots],
        )
        for query, p in pairs
    ]


def hard(table: pd.DataFrame, data: Dataset) -> np.ndarray:
    """The labels of a log whose uids are positions, in the order of the data set."""
    at = [int(uid.removeprefix("u")) for uid in table["uid"]]
    assert sorted(at) == list(range(len(data)))
    found = np.empty(len(data), dtype=int)
    found[at] = table["label"].to_numpy(dtype=int)
    return found


@pytest.mark.parametrize("as_rows", [as_scores, as_probabilities])
def test_the_log_of_a_run_gives_the_labels_of_the_run(native, tmp_path: Path, as_rows: Any) -> None:
    data, pairs, labels, truth = native
    log = read_log(written(tmp_path / "log.jsonl", as_rows(data, pairs)))
    assert (log.answers, log.repeats, log.left_out) == (len(pairs), 0, {})
    solved = log.solve()
    assert solved.evidence.t == len(pairs)
    assert solved.evidence.tally.absent == solved.evidence.tally.silent == log.unrecorded == 0
    found = hard(solved.labels, data)
    assert (found == labels.argmax(axis=1)).mean() >= 0.99
    assert (found == truth).mean() > 0.9
    if as_rows is as_scores:
        assert log.dataset.ids == data.ids
        assert {log.uids[f"u{i}"] for i in range(len(data))} == set(data.ids)
    table = solved.labels
    assert list(table.columns) == [
        *("uid", "label", "probability", "epistemic", "aleatoric", "predictions"),
    ]
    assert table["probability"].between(0.5, 1).all()
    assert (table["epistemic"] >= 0).all()
    assert (table["predictions"] == 4).all()
    assert "sign convention of the log" in solved.summary()
    assert "uncalibrated" in solved.summary()


def test_the_sign_of_the_log_says_which_way_round_the_labels_are(native, tmp_path: Path) -> None:
    data, pairs, _, _ = native
    rows = as_scores(data, pairs)
    turned = [
        row
        | {"score": -row["score"]}
        | {"context": [{"uid": s["uid"], "label": 1 - s["label"]} for s in row["context"]]}
        for row in rows
    ]
    first = read_log(written(tmp_path / "log.jsonl", rows)).solve().labels
    other = read_log(written(tmp_path / "log.jsonl", turned)).solve().labels
    assert (first["label"] == 1 - other["label"]).all()


def test_a_log_without_zero_shot_answers_is_solved(native, tmp_path: Path) -> None:
    data, pairs, _, truth = native
    rows = as_scores(data, [pair for pair in pairs if pair[0].shots])
    found = hard(read_log(written(tmp_path / "log.jsonl", rows)).solve().labels, data)
    assert (found == truth).mean() > 0.9


def test_labels_that_nobody_recorded_still_solve(native, tmp_path: Path) -> None:
    data, pairs, labels, truth = native
    rows = [row | {"context_labels": None} for row in as_probabilities(data, pairs)]
    log = read_log(written(tmp_path / "log.jsonl", rows))
    assert log.unrecorded == log.shots > 0
    solved = log.solve()
    assert bool((solved.solution.relevance == 1).all())
    assert int(solved.evidence.predictions.zero.sum()) == sum(not query.shots for query, _ in pairs)
    found = hard(solved.labels, data)
    assert (found == labels.argmax(axis=1)).mean() > 0.9
    assert (found == truth).mean() > 0.9


# ---- the command -----------------------------------------------------------------------------


def test_the_command_writes_the_labels_and_says_what_it_left_out(
    native, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, pairs, _, _ = native
    rows = as_probabilities(data, pairs)
    rows += [rows[0], weighed([0, 0], 0, [1]), weighed([0.2, 0.1], 500, [501])]
    written(tmp_path / "log.jsonl", rows)
    solved = read_log("log.jsonl").solve()
    done = consilience("legacy", "log.jsonl")
    header, *lines = csv.reader(io.StringIO(done.stdout))
    assert ",".join(header) == "uid,label,probability,epistemic,aleatoric,predictions"
    assert [line[0] for line in lines] == list(solved.labels["uid"])
    assert lines[-1] == ["501", "", "", "", "", "0"]
    for said in (*solved.log.summary().splitlines(), *solved.summary().splitlines()):
        assert said in done.stderr
    assert "no probability on either label: 1" in done.stderr
    assert "1 repeat an earlier one" in done.stderr
    filed = consilience("legacy", "log.jsonl", "--output", "labels.csv")
    assert filed.stdout == ""
    table = pd.read_csv("labels.csv", dtype={"uid": str})
    expected = solved.labels.astype({"label": float})
    pd.testing.assert_frame_equal(table, expected, check_dtype=False, rtol=1e-12)
    as_json = json.loads(consilience("legacy", "log.jsonl", "--json").stdout)
    assert [row["label"] for row in as_json[:-1]] == solved.labels["label"][:-1].tolist()
    assert as_json[-1]["label"] is None


def test_the_command_takes_labels_from_a_file(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [weighed([0.7, 0.1]), weighed([0.1, 0.6], 1, [0])])
    labels = tmp_path / "labels.json"
    labels.write_text("[1, 0, 1]")
    assert "shots: 3, of them 3 with" in consilience("legacy", log).stderr
    assert "shots: 3, of them 0 with" in consilience("legacy", log, "--labels", labels).stderr
    labels.write_text("[1]")
    done = consilience("legacy", log, "--labels", labels, code=2)
    assert "out of range, there are 1 labels" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["nothing.jsonl"], ["LOG", "--output", "labels.xls"]])
def test_a_mistake_is_one_line(tmp_path: Path, words: list[str]) -> None:
    log = written(tmp_path / "log.jsonl", [weighed([0.7, 0.1])])
    done = consilience("legacy", *[log if word == "LOG" else word for word in words], code=2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_log_odds_and_probabilities_are_the_same_evidence(read) -> None:
    score = read(scored(float(logit(0.8)))).evidence()
    chance = read(weighed([0.4, 0.1])).evidence()
    np.testing.assert_allclose(score.predictions.logp, chance.predictions.logp)
