"""Files to train on: as TRL and OpenAI take them, sure rows alone, read back by `datasets`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from consilience.data.training import TrainingRow, training_records, write_training
from consilience.errors import InputError

NAMES = ("no", "yes", "maybe")


def row(number: int, *soft: float, group: str | None = None) -> TrainingRow:
    names = NAMES[: len(soft)]
    return TrainingRow(
        id=f"T-{number}",
        example=f"e{number}",
        text=f"text {number}",
        group=group,
        prompt=f"Is it?\n\ntext {number}\nAnswer:",
        messages=({"role": "user", "content": f"Is it? text {number}"},),
        names=names,
        completion=tuple(f" {name}" for name in names),
        reply=names,
        soft_label=soft,
        label=soft.index(max(soft)),
    )


ROWS = [row(1, 0.9, 0.1), row(2, 0.2, 0.8), row(3, 0.45, 0.55)]


def test_prompts_with_completions_and_soft_labels() -> None:
    made = training_records(ROWS, "sft", 0.6)
    assert [(r["id"], r["completion"], r["probability"]) for r in made] == [
        ("T-1", " no", 0.9),
        ("T-2", " yes", 0.8),
    ]
    assert made[0]["soft_label"] == [0.9, 0.1]
    assert made[0]["prompt"].endswith("Answer:")


def test_preferences_are_for_the_label_over_the_likeliest_other() -> None:
    (made,) = training_records([row(4, 0.2, 0.7, 0.1)], "dpo")
    assert (made["chosen"], made["rejected"]) == (" yes", " no")


def test_within_a_group_texts_are_compared() -> None:
    grouped = [
        row(1, 0.9, 0.1, group="a"),
        row(2, 0.2, 0.8, group="a"),
        row(3, 0.4, 0.6, group="a"),
        row(4, 0.9, 0.1, group="b"),
    ]
    made = training_records(grouped, "reward")
    assert [(r["chosen"], r["rejected"]) for r in made] == [
        ("text 2", "text 1"),
        ("text 3", "text 1"),
    ]
    assert made[0]["margin"] == pytest.approx(3.583519)  # log 4 + log 9
    # Who is left out for being unsure is in no pair.
    assert len(training_records(grouped, "reward", 0.7)) == 1


def test_without_groups_the_label_is_compared_with_another() -> None:
    made = training_records(ROWS[:1], "reward")
    assert made[0]["chosen"] == ROWS[0].prompt + " no"
    assert made[0]["rejected"] == ROWS[0].prompt + " yes"
    assert made[0]["margin"] == pytest.approx(2.197225)


def test_a_chat_has_messages_alone() -> None:
    made = training_records(ROWS, "chat")
    assert all(list(r) == ["messages"] for r in made)
    assert [m["role"] for m in made[0]["messages"]] == ["user", "assistant"]
    assert made[0]["messages"][-1]["content"] == "no"


def test_nothing_left_and_unknown_formats_are_refused() -> None:
    with pytest.raises(InputError, match=r"of 3 labelled rows 0 have a probability of 0\.95"):
        training_records(ROWS, "sft", 0.95)
    with pytest.raises(InputError, match="the formats are: sft, dpo, reward, chat"):
        training_records(ROWS, "ppo")


@pytest.mark.parametrize("form", ["sft", "dpo", "reward", "chat"])
def test_datasets_reads_them_back(form: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    records = training_records([*ROWS, row(5, 0.6, 0.4)], form)
    path = tmp_path / "t.jsonl"
    write_training(records, path)
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == records
    read = datasets.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"))
    assert read["train"].to_list() == records


def test_a_label_that_a_fact_has_turned_leads_by_nothing() -> None:
    turned = replace(row(4, 0.45, 0.55), label=0)
    (made,) = training_records([turned], "sft")
    assert (made["completion"], made["probability"]) == (" no", 0.45)
    assert training_records([turned], "dpo")[0]["rejected"] == " yes"
    assert training_records([turned], "reward")[0]["margin"] == 0
    pair = [replace(row(5, 0.4, 0.6, group="g"), label=0), row(6, 0.45, 0.55, group="g")]
    (made,) = training_records(pair, "reward")
    assert (made["chosen"], made["margin"]) == ("text 6", 0)
