"""`load_dataset`: names, files and worlds, samples, and options that do not apply."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from consilience.data.task import Task
from consilience.datasets import MADE, REGISTRY, describe_datasets, load_dataset
from consilience.errors import InputError
from consilience.models.simulated import WORLDS, world_dataset

LINES = [
    {"text": f"{thing} number {i} is {state}", "pair": f"{thing} {i}", "gold": int(state == "open")}
    for thing in ("door", "valve")
    for i in range(4)
    for state in ("open", "closed")
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "things.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)))
    return path


def test_a_file(path: Path) -> None:
    data, gold = load_dataset(path)
    assert (data.name, len(data), gold, data.relations) == ("things", 16, None, ())
    options = {"group": "pair", "relations": {"exactly-one": True}}
    data, gold = load_dataset(str(path), label="gold", **options)
    assert len(data.relations) == 8 and gold is not None
    assert {text: gold.labels[id] for id, text in zip(data.ids, data.texts, strict=True)} == {
        line["text"]: line["gold"] for line in LINES
    }
    unlabelled, _ = load_dataset(path, **options)
    assert unlabelled.to_json() == data.to_json()


def test_a_file_with_a_template_and_a_task(path: Path) -> None:
    task = Task("Which is it?", ("shut", "wide"), None, None)
    data, _ = load_dataset(path, text="About {pair}: {text}", task=task)
    assert all(text.startswith("About ") for text in data.texts)
    assert data.task == task


@pytest.mark.parametrize("groups", [1, 3, 8])
def test_gold_is_restricted_with_its_data(path: Path, groups: int) -> None:
    whole, all_gold = load_dataset(path, group="pair", label="gold")
    data, gold = load_dataset(path, group="pair", label="gold", groups=groups, seed=2)
    assert len(set(data.groups)) == groups and len(data) == 2 * groups
    assert data.fingerprint == whole.sample(groups, 2).fingerprint
    assert gold is not None and all_gold is not None
    assert gold.labels == {id: all_gold.labels[id] for id in data.ids}
    assert load_dataset(path, groups=groups)[1] is None


@pytest.mark.parametrize("name", WORLDS)
def test_a_world(name: str) -> None:
    made, truth = world_dataset(name, seed=3)
    data, gold = load_dataset(name, seed=3)
    assert data.to_json() == made.to_json() and gold == truth
    data, gold = load_dataset(name, groups=5, seed=3)
    assert len(set(data.groups)) == 5 and gold is not None
    assert gold.labels.keys() == set(data.ids)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label": "gold", "group": "gold"}, "'gold' is both the gold label and in the group"),
        ({"label": "gold", "text": "{text} {gold}"}, "'gold' is both the gold label and in the te"),
        ({"label": "gold", "text": "gold"}, "would see the answers"),
        ({"label": "pair"}, "row 1 .line 1.: 'door 0' in column 'pair' is none of the classes Fal"),
        ({"label": "truth"}, "no column 'truth'; the columns are: text, pair, gold"),
        ({"text": "claim"}, "no column 'claim'; the columns are: text, pair, gold"),
        ({"data_dir": "."}, "takes no data_dir"),
    ],
)
def test_options_that_do_not_fit_a_file(path: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_dataset(path, **options)


@pytest.mark.parametrize("name", ["truthfulqa", "easy"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("text", "claim"),
        ("group", "question"),
        ("label", "y"),
        ("relations", ("equal",)),
        ("task", Task()),
    ],
)
def test_options_for_files_only(name: str, option: str, value: object) -> None:
    with pytest.raises(InputError, match=f"'{name}' takes no {option}; leave it out"):
        load_dataset(name, **{option: value})


def test_names_there_are_not(tmp_path: Path) -> None:
    names = ", ".join([*REGISTRY, *MADE, *WORLDS])
    for name in ("truthfullqa", "", "no/such", "claims.docx"):
        with pytest.raises(
            InputError, match=f"there is no data set '{name}'; the names are: "
        ) as e:
            load_dataset(name)
        assert names in str(e.value) and "a file must exist and end in one of .csv" in str(e.value)
    with pytest.raises(InputError, match=r"claims\.csv does not exist"):
        load_dataset("claims.csv")
    with pytest.raises(InputError, match="is a directory"):
        load_dataset(tmp_path)
    with pytest.raises(InputError, match="'easy' takes no data_dir"):
        load_dataset("easy", data_dir=tmp_path)


def test_the_description_is_what_is_loaded() -> None:
    rows = {row["name"]: row for row in describe_datasets()}
    assert list(rows) == [*REGISTRY, *MADE, *WORLDS]
    assert all(row.keys() == rows["easy"].keys() and row["about"] for row in rows.values())
    assert rows["k4"]["K"] == 4 and rows["easy"]["examples"] == 400
    assert rows["grouped"]["relations"] == rows["truthfulqa"]["relations"] == "exactly-one (prior)"
    assert rows["truthfulqa"]["licence"] == "Apache-2.0"


def test_importing_loads_no_heavy_library() -> None:
    heavy = {"torch", "pandas", "pyarrow", "datasets", "polars"}
    code = f"import sys, consilience.datasets; print({heavy!r} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
