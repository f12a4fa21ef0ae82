"""The command `bench`: the whole way on simulated worlds, resuming, what it will take, mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from command import Done, consilience
from consilience.models.simulated import SimulatedModel
from consilience.store.database import Store
from made_up import claims, write_csv
from wire_client import KEYS
from wire_model import PseudoModel
from wire_server import serve

SMALL = ("--set", "data.groups=20", "--set", "planning.shots=4", "--set", "planning.block=8")
TRUTH = (
    *("--set", "data.label=truth", "--set", "task.question=Is the claim true or false?"),
    *("--set", "task.classes=False,True"),
)
"""The gold of the claims, and the task that is about them."""

METHODS = "zero-shot-all,bootstrap,consilience,golden"
USUAL = ("bench", "--data", "easy,k4", "--methods", METHODS, "--budgets", "4,2,4", "--seeds", 2)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "OPENAI_BASE_URL", "CONSILIENCE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that simulated models were asked about."""
    seen: list[str] = []
    answer = SimulatedModel.ask

    async def counted(self, request):
        seen.append(request.query.target)
        return await answer(self, request)

    monkeypatch.setattr(SimulatedModel, "ask", counted)
    return seen


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """One uninterrupted run, and what it printed."""
    path = tmp_path_factory.mktemp("whole") / "r.json"
    return path, consilience(*USUAL, *SMALL, "--output", path)


def rows(path: Path) -> dict[str, dict]:
    """The rows of a file by id, without how long they took."""
    return {row.pop("id"): row | {"seconds": 0} for row in json.loads(path.read_text())["rows"]}


def the_line(done: Done) -> str:
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_the_whole_way(whole: tuple[Path, Done]) -> None:
    path, done = whole
    made = rows(path)
    # In each of 2 data sets and 2 seeds: 3 that no budget changes, and 3 at each of 2 budgets.
    assert len(made) == 2 * 2 * (3 + 2 * 3)
    setups = json.loads(path.read_text())["setups"]
    assert sorted((s["data"], s["model"]) for s in setups.values()) == [
        ("easy", "simulated:easy"),
        ("k4", "simulated:k4"),
    ]
    assert all(s["options"] == {"groups": 20} for s in setups.values())
    assert {row["budget"] for row in made.values()} == {None, 2, 4}
    for title in (
        "easy (simulated:easy), 2 seeds: accuracy",
        "k4 (simulated:k4), 2 seeds: all mea",
    ):
        assert done.stdout.count(title) == 1
    assert done.stderr.splitlines()[0] == (
        "36 of 36 rows to make, in 12 jobs, written to " + str(path)
    )
    last = done.stderr.splitlines()[-1]
    assert re.match(
        r"36/36 k4, seed 1, 4 calls: consilience, accuracy 0\.\d{3} \[.*\], \S+ s$", last
    )


def test_tables_json_markdown_and_picture_are_made_from_the_file_alone(
    whole: tuple[Path, Done], asked: list[str], tmp_path: Path
) -> None:
    path, done = whole
    assert consilience("bench", "--table", path).stdout == done.stdout
    markdown = consilience("bench", "--table", path, "--markdown", "--plot", "p.svg")
    assert markdown.stdout.count("| method | 2 calls | 4 calls |") == 2
    assert markdown.stderr == "drew p.svg\n"
    assert "<!-- easy (simulated) -->" in (tmp_path / "p.svg").read_text("utf-8")
    found = json.loads(consilience("bench", "--table", path, "--json").stdout)
    assert len(found) == 2 * 2 * 6
    made = rows(path).values()
    for line in found:
        own = [
            row["scores"]["accuracy"][0]
            for row in made
            if (row["setup"], row["method"]) == (line["setup"], line["method"])
            if row["budget"] in (None, line["budget"])
        ]
        assert line["accuracy"] == pytest.approx(sum(own) / 2)
        assert line["accuracy_lower"] <= line["accuracy"] <= line["accuracy_upper"]
    assert asked == []


def test_what_the_file_has_is_not_done_again(
    whole: tuple[Path, Done], asked: list[str], tmp_path: Path
) -> None:
    path, done = whole
    copy = tmp_path / "r.json"
    copy.write_bytes(path.read_bytes())
    again = consilience(*USUAL, *SMALL, "--output", copy)
    assert asked == []
    assert again.stdout == done.stdout
    assert again.stderr.startswith("0 of 36 rows to make")
    assert copy.read_bytes() == path.read_bytes()
    # A question about other rows says nothing of those that it did not ask for.
    one = ("bench", "--data", "easy", "--methods", "bootstrap", "--budgets", 2, "--seeds", 1)
    less = consilience(*one, *SMALL, "--output", copy)
    assert "k4" not in less.stdout and "consilience" not in less.stdout
    assert asked == []


def test_seeds_are_so_many_or_from_one_to_another(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    words = ("bench", "--data", "easy", "--methods", "bootstrap", *SMALL, "--output", path)
    done = consilience(*words, "--budgets", 2, "--seeds", "1-2")
    # Two methods that ask nothing stand beside it.
    assert sorted(row["seed"] for row in rows(path).values()) == [1, 1, 1, 2, 2, 2]
    assert "easy (simulated:easy), 2 seeds" in done.stdout
    again = consilience(*words, "--budgets", 2, "--seeds", 3)
    assert again.stderr.startswith("3 of 9 rows to make")
    for word in ("0", "-1", "2-1", "1-", "2-x", "1.5"):
        wrong = consilience(*words, "--seeds", word, code=2).stderr
        assert f"'--seeds': {word} is neither a number of seeds" in wrong
        assert len(wrong.splitlines()) == 1


@pytest.mark.slow
def test_killed_half_way_it_goes_on(
    whole: tuple[Path, Done], asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from consilience.evaluation.benchmark.result_file import Results

    path, add = tmp_path / "r.json", Results.add

    def killed(self, row, setup):
        add(self, row, setup)
        if len(self.rows) == 13:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Results, "add", killed)
        stopped = consilience(*USUAL, *SMALL, "--output", path, code=1)
    assert stopped.stdout == ""
    assert stopped.stderr.splitlines()[-1].startswith("consilience: interrupted; ")
    first = rows(path)
    assert len(first) == 13
    resumed = consilience(*USUAL, *SMALL, "--output", path)
    assert resumed.stderr.startswith("23 of 36 rows to make")
    assert resumed.stdout == whole[1].stdout
    assert rows(path) == rows(whole[0])


@pytest.mark.slow
def test_workers_make_the_same_file(whole: tuple[Path, Done], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    done = consilience(*USUAL, *SMALL, "--output", path, "--workers", 2)
    assert rows(path) == rows(whole[0])
    assert done.stdout == whole[1].stdout


def test_a_dry_run_asks_nothing_and_writes_nothing(asked: list[str], tmp_path: Path) -> None:
    words = (*USUAL, *SMALL, "--dry-run", "--json", "--set", "budget.price=2", "--store", "s.db")
    lines = json.loads(consilience(*words, "--output", "r.json").stdout)
    assert asked == []
    assert list(tmp_path.iterdir()) == []
    assert [(line["data"], line["budget"]) for line in lines] == [
        *(("easy", budget) for budget in (None, 2, 4)),
        *(("k4", budget) for budget in (None, 2, 4)),
        ("all", None),
    ]
    # 20 examples, 2 seeds: two framings zero-shot, and 4 calls each of three methods beside.
    easy = {line["budget"]: line for line in lines[:3]}
    assert easy[None]["calls"] == 2 * 20 * 2
    assert easy[4]["calls"] == 2 * 20 * (2 + 3 * 4)
    total = lines[-1]
    for name in ("jobs", "rows", "calls", "prompt_tokens"):
        assert total[name] == sum(line[name] for line in lines[:-1])
    assert total["rows"] == 36
    assert total["money"] == pytest.approx((total["prompt_tokens"] + total["calls"]) * 2 / 1e6)


def test_a_dry_run_counts_what_is_missing(whole: tuple[Path, Done]) -> None:
    more = [*USUAL[:5], "--budgets", "2,4", "--seeds", 3, *SMALL, "--output", whole[0], "--dry-run"]
    lines = json.loads(consilience(*more, "--json").stdout)
    assert lines[-1]["jobs"] == 2 * 3
    assert lines[-1]["rows"] == 18
    done = consilience(*USUAL, *SMALL, "--output", whole[0], "--dry-run", "--json")
    assert (done.stdout, done.stderr) == ("[]\n", "nothing to do: the file has all these rows\n")


def test_predictions_are_in_the_store_that_is_named(asked: list[str]) -> None:
    words = ("--data", "easy", "--methods", "bootstrap", "--budgets", 3, "--seeds", 1, *SMALL)
    consilience("bench", *words, "--store", "s.db", "--output", "a.json")
    assert len(asked) == 60
    with Store("s.db", readonly=True) as store:
        assert store.verify() == []
        assert store.stats().models[0].predictions == 60
    consilience("bench", *words, "--store", "s.db", "--output", "b.json")
    assert len(asked) == 60
    assert rows(Path("a.json")) == rows(Path("b.json"))


@pytest.mark.slow
def test_on_a_server(tmp_path: Path) -> None:
    file = write_csv(claims(24), tmp_path / "c.csv")
    with serve("vllm", model=PseudoModel(world=True)) as server:
        model = ("--model", "openai:tiny", "--base-url", server.url, "--set", "planning.shots=4")
        words = ("--data", file, "--set", "data.text=claim", *TRUTH, *model)
        words += ("--budgets", 3)
        less = ("bench", *words, "--methods", "bootstrap,vote", "--seeds", 1)
        consilience(*less, "--output", "r.json", "--dry-run")
        assert server.questions == []
        done = consilience(*less, "--output", "r.json")
        # Both ask zero-shot once in one framing, then vote in the others and bootstrap with shots.
        before = len(server.questions)
        assert 24 * 3 < before < 24 * 6 + 20
        # The file of predictions is kept without being named, and serves another file of results.
        consilience(*less, "--output", "again.json")
        assert len(server.questions) == before
        assert rows(Path("r.json")) == rows(Path("again.json"))
        more = (*less[:-1], 2, "--workers", 2)
        assert "4 of 8 rows to make" in consilience(*more, "--output", "r.json").stderr
    assert f"{file} (tiny), 1 seed" in done.stdout


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = write_csv(claims(24), tmp_path / "c.csv")
    words = ("--set", "data.text={question} {claim}", *TRUTH)
    words += ("--model", "simulated:noisy")
    own = ("bench", "--data", file, "--methods", "bootstrap", "--budgets", 2, "--seeds", 1, *words)
    done = consilience(*own, "--set", "planning.shots=4", "--output", "r.json")
    assert f"{file} (simulated:noisy), 1 seed: all measures at 2 calls" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no data; name data sets with --data"),
        (["--data", "easy"], "no file for the results; name one with --output"),
        (["--data", "nosuch", "--output", "r.json"], "no model belongs to nosuch"),
        (["--data", "nosuch", "--model", "simulated:easy", "--output", "r.json"], "no data set"),
        (["--data", "easy", "--methods", "boot", "--output", "r.json"], "no method 'boot'"),
        (["--data", "easy", "--budgets", "2,x", "--output", "r.json"], "'x' is not a valid number"),
        (["--data", "easy", "--budgets", "0", "--output", "r.json"], "not in the range"),
        (["--data", "easy", "--budgets", ",", "--output", "r.json"], "at least one number"),
        (["--data", "easy", "--budgets", "0.5", "--output", "r.json"], "of the zero-shot round"),
        (["--data", "easy", "--output", "no/r.json"], "cannot write no/r.json"),
        (["--data", "easy", "--set", "a=b", "--output", "r.json"], "takes no a; leave it out"),
        (["--data", "easy", "--plot", "p.txt", "--output", "r.json"], "is no picture"),
        (["--data", "easy", "--set", "task.framings=sets", "--output", "r.json"], "means anything"),
        (["--table", "nosuch.json"], "there is no file nosuch.json"),
        (["--table", "other.json"], "other.json is no file of benchmark results"),
        (["--data", "easy", "--output", "other.json"], "other.json is no file of benchmark"),
    ],
)
def test_a_mistake_is_one_line_before_any_call(
    words: list[str], said: str, asked: list[str]
) -> None:
    Path("other.json").write_text('[{"world": "easy"}]')
    done = consilience("bench", *words, code=2)
    assert said in the_line(done)
    assert asked == []
    assert {path.name for path in Path().iterdir()} == {"other.json"}


def test_a_file_without_gold_is_a_mistake(tmp_path: Path, asked: list[str]) -> None:
    file = write_csv(claims(12), tmp_path / "c.csv")
    words = ("--data", file, "--set", "data.text=claim", "--model", "simulated:noisy")
    words += ("--output", "r.json")
    assert "has no gold, so nothing can be scored" in the_line(consilience("bench", *words, code=2))
    assert asked == []


def test_data_sets_of_the_pocket_world_have_their_own_model() -> None:
    from consilience.cli.bench import model_of
    from consilience.cli.config import built

    assert model_of("pocket-topics", built(0, None)) == "local:pocket"
    assert model_of("k4", built(0, None)) == "simulated:k4"
    assert model_of("pocket", built(0, None, {"model": {"name": "openai:x"}})) == "openai:x"


def test_options_of_a_data_set_are_part_of_its_name() -> None:
    words = ("--methods", "majority", "--seeds", 1, "--set", "claims=16", "--set", "true=0.25")
    own = ("bench", "--data", "pocket-imbalanced", *words, "--model", "simulated:noisy")
    done = consilience(*own, "--output", "r.json")
    assert "pocket-imbalanced claims=16 true=0.25 (simulated:noisy), 1 seed: " in done.stdout
    assert {(row["method"], row["examples"]) for row in rows(Path("r.json")).values()} == {
        ("majority", 16),
        ("structure", 16),
    }
