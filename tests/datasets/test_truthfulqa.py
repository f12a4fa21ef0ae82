"""TruthfulQA from both sources, on made-up rows; and the counts of the real file, where there."""

from __future__ import annotations

import csv
import random
import sys
import types
from collections import Counter
from pathlib import Path

import publisher_truthfulqa
import pytest

from consilience.data.dataset import Dataset, Gold
from consilience.data.readers import Rows
from consilience.datasets import REGISTRY, load_dataset, truthfulqa
from consilience.datasets.hub import Hub, hub_rows
from consilience.errors import InputError, MissingExtra

ITEMS = [
    ("Can {a} lamp hear?", "No, lamps cannot hear", "Yes, if it is lit"),
    ("Who winds the tide?", 'Nobody "winds" the tide', "The harbour master, at noon"),
    ("What do bricks dream of?", "None", "Bricks dream of ovens\nand of rain"),
]
CSV_ROWS = [
    {"Question": q, "Best Answer": a, "Best Incorrect Answer": b, "Correct Answers": f"{a}; so"}
    for q, a, b in ITEMS
]
HUB_ROWS = [
    {"question_id": i, "Type": "T", "Question": q, "Answer": a, "label": y, "__index_level_0__": i}
    for i, (q, *answers) in enumerate(ITEMS)
    for y, a in zip((1, 0), answers, strict=True)
]

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "truthfulqa" / "TruthfulQA.csv"
real = pytest.mark.skipif(not REAL.is_file(), reason="the publisher's file is not here")


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def from_csv(folder: Path, rows: list[dict[str, str]] = CSV_ROWS) -> tuple[Dataset, Gold | None]:
    write(folder / "TruthfulQA.csv", rows)
    return load_dataset("truthfulqa", data_dir=folder)


class Error(Exception):
    """What stands in for the library's own base of errors."""


def stand_in(load: object) -> types.ModuleType:
    """A `datasets` library with nothing but `load_dataset`."""
    library = types.ModuleType("datasets")
    library.load_dataset = load
    library.exceptions = types.SimpleNamespace(DatasetsError=Error)
    return library


class Table(list):
    """The part of the library's table that is used."""

    @property
    def column_names(self) -> list[str]:
        return list(self[0])

    def select_columns(self, names: list[str]) -> Table:
        return Table({name: row[name] for name in names} for row in self)


@pytest.fixture
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSILIENCE_DATA_DIR", raising=False)


# --- both sources


def test_the_data_set(tmp_path: Path) -> None:
    data, gold = from_csv(tmp_path)
    assert gold is not None
    assert set(data.texts) == {f"Question: {q}\nClaim: {c}" for q, *claims in ITEMS for c in claims}
    assert len(set(data.groups)) == len(data.relations) == 3
    assert {(r.name, r.prior, r.label) for r in data.relations} == {("exactly-one", True, 1)}
    right = {f"Question: {q}\nClaim: {a}" for q, a, _ in ITEMS}
    assert gold.labels.keys() == set(data.ids)
    assert {t for id, t in zip(data.ids, data.texts, strict=True) if gold.labels[id]} == right
    assert "differs from the edition that was checked" in data.note


def test_the_hub_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_folder: None
) -> None:
    asked = []

    def load(*names: str, **options: str) -> Table:
        asked.append((names, options))
        return Table(HUB_ROWS)

    monkeypatch.setitem(sys.modules, "datasets", stand_in(load))
    data, gold = load_dataset("truthfulqa")
    other, other_gold = from_csv(tmp_path)
    assert data.to_json() == other.to_json() and gold == other_gold
    assert asked == [(("wassname/truthful_qa_v2", "binary"), {"split": "validation"})]


def test_the_library_itself_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_folder: None
) -> None:
    library = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    made = library.Dataset.from_list(HUB_ROWS)
    monkeypatch.setattr(library, "load_dataset", lambda *names, **options: made)
    data, gold = load_dataset("truthfulqa")
    other, other_gold = from_csv(tmp_path)
    assert data.to_json() == other.to_json() and gold == other_gold
    assert Dataset.from_records(made, text="Answer").texts  # and is taken as rows


def test_only_allowed_fields_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", stand_in(lambda *n, **o: Table(HUB_ROWS)))
    table = hub_rows(Hub("a/b", "c", "d"), ("Answer",))
    assert table.columns == ("Answer",) and table.source == "a/b (c, d)"
    with pytest.raises(InputError, match=r"a/b \(c, d\) has no column 'truth'; the columns are: q"):
        hub_rows(Hub("a/b", "c", "d"), ("Answer", "truth"))


@pytest.mark.parametrize(
    "error", [ConnectionError("Couldn't reach it\nat all"), ValueError("x"), Error("gone")]
)
def test_a_hub_that_does_not_answer(
    error: Exception, monkeypatch: pytest.MonkeyPatch, no_folder: None
) -> None:
    def load(*names: str, **options: str) -> Table:
        raise error

    monkeypatch.setitem(sys.modules, "datasets", stand_in(load))
    with pytest.raises(InputError, match="could not be loaded from the Hugging Face hub") as caught:
        load_dataset("truthfulqa")
    assert "data.folder" in str(caught.value) and "\n" not in str(caught.value)


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, no_folder: None) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"Hugging Face hub needs the extra `hub`: pip install"):
        load_dataset("truthfulqa")


# --- where the file is, and what is wrong with it


def test_the_folder_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "truthfulqa" / "TruthfulQA.csv", CSV_ROWS)
    data, _ = load_dataset("truthfulqa", data_dir=tmp_path)
    monkeypatch.setenv("CONSILIENCE_DATA_DIR", str(tmp_path))
    assert load_dataset("truthfulqa")[0].to_json() == data.to_json()
    with pytest.raises(InputError, match=r"none holds neither truthfulqa/TruthfulQA\.csv nor"):
        load_dataset("truthfulqa", data_dir=tmp_path / "none")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"Question": "Q?", "Best Answer": "A"}], "no column 'Best Incorrect Answer'"),
        ([*CSV_ROWS, CSV_ROWS[0] | {"Best Answer": ""}], "row 4 .line 6.: column 'Best Answer' is"),
        (
            [CSV_ROWS[0] | {"Best Incorrect Answer": ITEMS[0][1]}],
            "has 1 different claims, expected",
        ),
        ([*CSV_ROWS, CSV_ROWS[0] | {"Best Answer": "Perhaps"}], "has 3 different claims, expected"),
    ],
)
def test_a_file_that_cannot_be_used(rows: list[dict[str, str]], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as caught:
        from_csv(tmp_path, rows)
    assert "\n" not in str(caught.value)


def test_a_label_that_is_no_label(monkeypatch: pytest.MonkeyPatch, no_folder: None) -> None:
    rows = [*HUB_ROWS[:-1], HUB_ROWS[-1] | {"label": 2}]
    monkeypatch.setitem(sys.modules, "datasets", stand_in(lambda *n, **o: Table(rows)))
    with pytest.raises(
        InputError, match=r"v2 \(binary, validation\), row 6: '2' in column 'label'"
    ):
        load_dataset("truthfulqa")


# --- the real file


@real
def test_counts() -> None:
    data, gold = load_dataset("truthfulqa", data_dir=REAL.parent)
    assert gold is not None
    assert (len(data), len(set(data.groups)), len(data.relations)) == (1580, 790, 790)
    assert len(gold) == 1580 and sum(gold.labels.values()) == 790
    for relation in data.relations:
        assert sum(gold.labels[id] for id in relation.members) == 1
    assert "edition" not in data.note
    source = REGISTRY["truthfulqa"]
    assert (source.examples, source.task({}).k) == (len(data), data.task.k)
    assert source.relations == tuple({f"{r.name} (prior)" for r in data.relations if r.prior})


@real
def test_neither_gold_nor_order_shapes_the_data_set(tmp_path: Path) -> None:
    data, gold = load_dataset("truthfulqa", data_dir=REAL.parent)
    with REAL.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = random.Random(5)
    rng.shuffle(rows)
    shuffled, shuffled_gold = from_csv(tmp_path, rows)
    assert shuffled.fingerprint == data.fingerprint and shuffled_gold == gold
    for row in rows:
        if rng.random() < 0.5:  # the false claim in the place of the true one
            best, worst = row["Best Answer"], row["Best Incorrect Answer"]
            row["Best Answer"], row["Best Incorrect Answer"] = worst, best
    permuted, permuted_gold = from_csv(tmp_path, rows)
    assert permuted_gold != gold
    assert permuted.to_json() == data.to_json()


@real
def test_the_position_in_a_relation_carries_nothing() -> None:
    data, gold = load_dataset("truthfulqa", data_dir=REAL.parent)
    assert gold is not None
    first_is_true = sum(gold.labels[r.members[0]] for r in data.relations) / 790
    assert abs(first_is_true - 0.5) < 0.06  # three standard errors are 0.053


def test_the_rows_of_the_publisher_become_those_of_the_hub() -> None:
    claims = truthfulqa.claims_of(Rows(CSV_ROWS), *truthfulqa.PAIR)
    key = ("Question", "Answer", "label")
    assert {tuple(map(str, map(row.get, key))) for row in claims} == {
        tuple(map(str, map(row.get, key))) for row in HUB_ROWS
    }


# --- multiple choice and the audited subset


def true_claims(data: Dataset, gold: Gold, question: str) -> dict[str, int | None]:
    """The claims about a question, each with its gold."""
    start = f"Question: {question}\nClaim: "
    return {
        text.removeprefix(start): gold.labels.get(id)
        for id, text in zip(data.ids, data.texts, strict=True)
        if text.startswith(start)
    }


def test_the_best_answer_and_the_incorrect_ones(tmp_path: Path) -> None:
    publisher_truthfulqa.write(tmp_path)
    data, gold = load_dataset("truthfulqa-mc1", data_dir=tmp_path)
    assert gold is not None
    assert true_claims(data, gold, "How old is the wind?") == {
        "It has no age": 1,
        "Nine": 0,
        "Unknown": 0,
        "Ten": 0,
    }
    # A claim that is said twice is one example, and empty parts of a list are none.
    assert true_claims(data, gold, "Do stairs count their steps?").keys() == {
        *("No", "Yes", "Yes, aloud"),
    }
    assert len(data.relations) == len(set(data.groups)) == len(publisher_truthfulqa.ITEMS)
    for relation in data.relations:
        assert (relation.name, relation.prior) == ("exactly-one", True)
        assert sum(gold.labels[id] for id in relation.members) == 1
    assert {len(relation.members) for relation in data.relations} == {2, 3, 4}


def test_all_answers(tmp_path: Path) -> None:
    publisher_truthfulqa.write(tmp_path)
    data, gold = load_dataset("truthfulqa-mc2", data_dir=tmp_path)
    assert gold is not None and data.relations == ()
    assert true_claims(data, gold, "Who winds the tide?") == {
        'Nobody "winds" it': 1,
        "I have no comment": 1,
        "The mayor, at noon": 0,
    }
    # Listed as correct and as incorrect: an example that is asked about and not scored.
    assert true_claims(data, gold, "How old is the wind?") == {
        "It has no age": 1,
        "Unknown": None,
        "Nine": 0,
        "Ten": 0,
    }


@pytest.mark.parametrize("name", ["truthfulqa-mc1", "truthfulqa-mc2"])
def test_the_hub_has_lists_of_choices(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_folder: None
) -> None:
    asked, rows = [], []
    for question, best, right, worst, wrong in publisher_truthfulqa.ITEMS:
        true = [best] if name.endswith("1") else [best, *right]
        choices = [*true, worst, *wrong]
        labels = [1] * len(true) + [0] * (len(choices) - len(true))
        targets = {"choices": choices, "labels": labels}
        rows.append({"question": question, f"{name[-3:]}_targets": targets, "other": 1})

    def load(*names: str, **options: str) -> Table:
        asked.append((names, options))
        return Table(rows)

    monkeypatch.setitem(sys.modules, "datasets", stand_in(load))
    data, gold = load_dataset(name)
    publisher_truthfulqa.write(tmp_path)
    other, other_gold = load_dataset(name, data_dir=tmp_path)
    assert data.to_json() == other.to_json() and gold == other_gold
    revision = {"split": "validation", "revision": "979ec0aa226a82ec817a38ddd2f9bce1b0c8477b"}
    assert asked == [(("truthfulqa/truthful_qa", "multiple_choice"), revision)]


def test_the_audited_subset(tmp_path: Path) -> None:
    publisher_truthfulqa.write(tmp_path)
    data, gold = load_dataset("truthfulqa-audited", data_dir=tmp_path)
    binary, binary_gold = load_dataset("truthfulqa", data_dir=tmp_path)
    assert gold is not None and binary_gold is not None
    assert len(data) == 16 and set(data.ids) < set(binary.ids)
    assert gold.labels.items() < binary_gold.labels.items()
    assert set(data.relations) < set(binary.relations)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("truthfulqa-mc1", {"Incorrect Answers": "A; A"}, "has 1 different claims, expected 2 or"),
        ("truthfulqa-mc1", {"Incorrect Answers": ""}, "row 1 .line 2.: column 'Incorrect Answers'"),
        ("truthfulqa-mc2", {"Correct Answers": " "}, "row 1 .line 2.: column 'Correct Answers' is"),
        ("truthfulqa-mc2", None, "has no column 'Correct Answers'"),
    ],
)
def test_lists_that_cannot_be_used(
    name: str, change: dict[str, str] | None, said: str, tmp_path: Path
) -> None:
    row = {"Question": "Q?", "Best Answer": "A", "Correct Answers": "A", "Incorrect Answers": "B"}
    if change is None:
        del row["Correct Answers"]
    write(tmp_path / "TruthfulQA.csv", [row | (change or {})])
    with pytest.raises(InputError, match=said) as caught:
        load_dataset(name, data_dir=tmp_path)
    assert "\n" not in str(caught.value)


@real
@pytest.mark.parametrize(
    ("name", "examples", "scored", "true", "groups"),
    [
        ("truthfulqa-mc1", 4040, 4040, 790, 790),
        ("truthfulqa-mc2", 6023, 6021, 2773, 790),
        ("truthfulqa-audited", 1056, 1056, 528, 528),
    ],
)
def test_counts_of_the_others(
    name: str, examples: int, scored: int, true: int, groups: int
) -> None:
    data, gold = load_dataset(name, data_dir=REAL.parent)
    assert gold is not None
    assert (len(data), len(gold), sum(gold.labels.values())) == (examples, scored, true)
    assert len(set(data.groups)) == groups
    broken = Counter(
        relation.name
        for relation in data.relations
        if sum(gold.labels[id] for id in relation.members) != 1
    )
    assert not broken and len(data.relations) == (0 if name.endswith("mc2") else groups)


@real
def test_claims_that_are_both_true_and_false() -> None:
    data, gold = load_dataset("truthfulqa-mc2", data_dir=REAL.parent)
    assert gold is not None
    both = [text for id, text in zip(data.ids, data.texts, strict=True) if id not in gold.labels]
    assert len(both) == 2 and all(text.endswith("\nClaim: Unknown") for text in both)
    silence = "\nClaim: I have no comment"
    silent = [id for id, t in zip(data.ids, data.texts, strict=True) if t.endswith(silence)]
    assert len(silent) == 86 and all(gold.labels[id] for id in silent)


@real
def test_the_audited_questions_are_those_of_the_binary_edition() -> None:
    data, gold = load_dataset("truthfulqa-audited", data_dir=REAL.parent)
    binary, binary_gold = load_dataset("truthfulqa", data_dir=REAL.parent)
    assert gold is not None and binary_gold is not None
    assert gold.labels.items() < binary_gold.labels.items()
    assert set(data.relations) < set(binary.relations)
