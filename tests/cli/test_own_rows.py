"""Tables with columns of any name: what is written is read back as the same rows."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from command import consilience
from consilience.data.dataset import Dataset
from consilience.data.export import write_table
from consilience.data.task import Task
from consilience.elicitation.session import elicit
from consilience.errors import InputError
from consilience.models.simulated import SimulatedModel
from consilience.results.corrections import draw_landmarks, review_table
from consilience.results.landmarks import Landmarks
from consilience.solvers.lbfgs import LBFGS
from wire_model import PseudoModel
from wire_server import serve

ASK = ("--question", "Good?", "--classes", "no,yes", "--model", "simulated:easy")
COUNT = 30


def table(**more: list[object]) -> pd.DataFrame:
    texts = [f"claim {i} is {'good' if i % 2 else 'bad'}" for i in range(COUNT)]
    return pd.DataFrame({**more, "Text": texts})


ROWS = {
    "from 0": {"row": list(range(COUNT))},
    "beyond": {"row": [2 * i + 50 for i in range(COUNT)]},
    "both": {"row": list(range(COUNT)), "consilience_row": list(range(COUNT, 0, -1))},
    "none": {},
}


@pytest.mark.parametrize("own", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".jsonl"])
def test_a_review_and_landmarks_come_back_to_their_rows(
    tmp_path: Path, own: dict[str, list[object]], suffix: str
) -> None:
    path = tmp_path / "own.csv"
    table(**own).to_csv(path, index=False)
    data = Dataset.from_records(pd.read_csv(path), text="Text", task=Task("Good?", ("no", "yes")))
    found = elicit(data, SimulatedModel("easy"), calls_per_example=3, solver=LBFGS(starts=1))
    for made, column in ((review_table(found), "correction"), (draw_landmarks(found, 12), "label")):
        made[column] = ["yes" if "good" in text else "no" for text in made["Text"]]
        write_table(made, tmp_path / f"back{suffix}")
        source = tmp_path / f"back{suffix}"
        if column == "correction":
            again = found.corrected(source)
            said = {data.ids[data.index[id]]: c for id, c in again.corrections.items()}
        else:
            vouched = Landmarks.of(source, data)
            said = dict(zip(vouched.ids, vouched.classes, strict=True))
        assert len(said) == len(made)
        assert all(("good" in data.texts[data.index[id]]) == bool(c) for id, c in said.items())


def test_a_row_whose_id_and_text_disagree_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    table(row=list(range(COUNT))).to_csv(path, index=False)
    data = Dataset.from_records(pd.read_csv(path), text="Text", task=Task("Good?", ("no", "yes")))
    mine = [{"row": 5, "Text": "claim 5 is good", "label": "yes"}]
    with pytest.raises(InputError, match="by its row it is another row, by its text"):
        Landmarks.of(mine, data)
    # Without the text, and with one that nobody knows, the number counts.
    for more in ({}, {"Text": "claim five"}):
        made = Landmarks.of([{"row": 5, "label": "yes"} | more], data)
        assert data.texts[made.at[0]] == "claim 4 is bad"


def test_columns_of_earlier_labels_are_told_apart(tmp_path: Path) -> None:
    for own, told in (
        ({"consilience_label": ["x"] * COUNT}, None),
        ({"label": ["x"] * COUNT}, "consilience_label"),
        (
            {"label": ["x"] * COUNT, "consilience_label": ["y"] * COUNT},
            "consilience_consilience_label",
        ),
    ):
        path = tmp_path / "own.csv"
        table(**own).to_csv(path, index=False)
        store = tmp_path / f"{told}.db"
        done = consilience(
            "run", path, "--text", "Text", *ASK, "--store", store, "--calls-per-example", 2,
            "--output", tmp_path / "out.csv",
        )  # fmt: skip
        said = [line for line in done.stderr.splitlines() if "of its own" in line]
        labels = pd.read_csv(tmp_path / "out.csv")
        assert set(labels[told or "label"]) <= {"no", "yes"}
        assert len(said) == bool(told) and all(f"is in {told!r}" in line for line in said)


def test_the_table_itself_is_never_the_output(tmp_path: Path) -> None:
    path, store = tmp_path / "own.csv", tmp_path / "s.db"
    table().to_csv(path, index=False)
    before = path.read_bytes()
    usual = ("run", path, "--text", "Text", *ASK, "--store", store, "--calls-per-example", 2)
    done = consilience(*usual, "--output", path, code=2)
    assert "is the table itself" in done.stderr and not store.exists()
    consilience(*usual, "--output", tmp_path / "out.csv")
    for words in (
        ("solve", "--store", store, "--output", path),
        ("export", path, "--store", store),
        ("review", "--store", store, "--output", path),
        ("landmarks", "--store", store, "--count", 3, "--output", path),
        ("predict", path, "--store", store, "--model", "simulated:easy", "--output", path),
    ):
        assert "is the table itself" in consilience(*words, code=2).stderr, words
    assert path.read_bytes() == before


def test_rows_without_an_answer_are_named_as_the_user_names_them(tmp_path: Path) -> None:
    path, store = tmp_path / "own.csv", tmp_path / "s.db"
    table(Nr=[f"{i:03}" for i in range(COUNT)]).to_csv(path, index=False)
    with serve("vllm", model=PseudoModel(world=True)) as server:
        model = ("--model", "openai:tiny", "--base-url", server.url, "--set", "budget.max_calls=20")
        done = consilience(
            "run", path, "--text", "Text", "--id", "Nr", "--question", "Good?",
            "--classes", "False,True", *model, "--store", store,
            "--json", "--output", tmp_path / "out.csv",
        )  # fmt: skip
    shown = json.loads(done.stdout)
    own = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert set(shown["unanswered"]) == set(own.loc[own["label"].isna(), "Nr"]) != set()
    assert all(f"  {id}  " in done.stderr for id in list(shown["unanswered"])[:5])
    # And where the calls were at an end, none was saved.
    assert "the labels had settled" not in done.stderr and "Ended early" in done.stderr
    report = tmp_path / "r.html"
    consilience("report", "--store", store, "--output", report)
    assert "the labels had settled" not in report.read_text()


def test_another_model_than_the_run_asked_is_refused_before_a_server_is_probed(
    tmp_path: Path,
) -> None:
    path, store = tmp_path / "own.csv", tmp_path / "s.db"
    table().to_csv(path, index=False)
    with serve("vllm", model=PseudoModel(world=True)) as server:
        where = ("--base-url", server.url, "--store", store)
        words = ("--text", "Text", "--question", "Good?", "--classes", "False,True")
        consilience("run", path, *words, "--model", "openai:tiny", *where, "--calls-per-example", 2)
        asked = len(server.notes)
        done = consilience("predict", path, "--model", "openai:other", *where, code=2)
        assert "the run asked tiny, not other" in done.stderr
        assert len(server.notes) == asked


def test_an_id_that_a_spreadsheet_took_for_a_number_is_named_by_its_text(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    table(row=[f"{i:03d}" for i in range(COUNT)]).to_csv(path, index=False)
    data = Dataset.from_records(
        pd.read_csv(path, dtype=str), text="Text", id="row", task=Task("Good?", ("no", "yes"))
    )
    rows = pd.read_csv(path).assign(label="yes")
    with pytest.raises(
        InputError, match=r"no row \(a spreadsheet makes 7 of 007\).* text 000; leave"
    ):
        Landmarks.of(rows, data)
    assert len(Landmarks.of(rows.drop(columns="row"), data)) == COUNT
