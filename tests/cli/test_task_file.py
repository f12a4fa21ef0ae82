"""The task file: what `init` guesses, what `run` refuses, who wins, and one line for a mistake."""

from __future__ import annotations

import csv
import json
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

import consilience as cs
from command import consilience
from consilience.cli.config import SETTINGS
from consilience.cli.task_file import read_set
from consilience.store.database import Store
from made_up import claims, write_csv

TICKETS = [
    {"nr": "1", "ticket": f"T-{i}", "message": f"The lamp number {i} went out again.", "team": team}
    for i, team in enumerate(["billing", "technical"] * 6)
]
FILLED = {
    'question = ""': 'question = "Which team should answer?"',
    '# "billing" =': '"billing" =',
    '# "technical" =': '"technical" =',
    'name = ""': 'name = "simulated:easy"',
    "calls_per_example = 8": "calls_per_example = 3",
}


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_BASE_URL", "CONSILIENCE_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    return write_csv(TICKETS, Path("tickets.csv"))


def line(*words: object) -> str:
    """The one line of a mistake."""
    done = consilience(*words, code=2)
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def filled(path: str = "tickets.toml", *more: tuple[str, str]) -> str:
    """The task file with what nobody can guess filled in."""
    if not Path(path).exists():
        consilience("init", "tickets.csv", "--output", path)
    text = Path(path).read_text("utf-8")
    for old, new in (*FILLED.items(), *more):
        assert old in text
        text = text.replace(old, new, 1)
    Path(path).write_text(text, encoding="utf-8")
    return path


# ---- init --------------------------------------------------------------------------------------


def test_init_guesses_the_columns_and_nothing_else() -> None:
    said = consilience("init", "tickets.csv").stderr
    assert "text column 'message', id column 'ticket'" in said
    found = tomllib.loads(Path("tickets.toml").read_text("utf-8"))
    assert found["data"] == {"file": "tickets.csv", "text": "message", "id": "ticket"}
    assert found["task"] == {"question": "", "classes": {}} and found["model"] == {"name": ""}
    assert found["output"] == {"store": "tickets.db", "table": "tickets-labels.csv"}
    # "nr" repeats, and so is no id; every commented key is one that there is.
    table = ""
    for row in Path("tickets.toml").read_text("utf-8").splitlines():
        if row.startswith("["):
            table = row.strip("[]").partition(".")[0]
        elif " = " in row and not row.startswith(("#   ", '# "')) and "[task.classes]" not in row:
            assert f"{table}.{row.lstrip('# ').partition(' = ')[0]}" in SETTINGS, row


def test_what_init_says_to_run_can_be_pasted() -> None:
    Path("tickets.csv").rename("my tickets.csv")
    said = consilience("init", "my tickets.csv").stderr
    assert "consilience run 'my tickets.toml' --dry-run" in said
    lines = Path("my tickets.toml").read_text("utf-8").splitlines()
    told = [shlex.split(row.lstrip("# ")) for row in lines if row.startswith("#   consilience")]
    assert [words[1:3] for words in told] == [
        [command, "my tickets.toml"] for command in ("run", "run", "review", "report")
    ]


def test_init_overwrites_nothing_unless_told() -> None:
    Path("tickets.toml").write_text("mine", encoding="utf-8")
    assert "tickets.toml is there" in line("init", "tickets.csv")
    assert Path("tickets.toml").read_text() == "mine"
    consilience("init", "tickets.csv", "--force", "--text", "{team}: {message}", "--id", "nr")
    found = tomllib.loads(Path("tickets.toml").read_text("utf-8"))
    assert (found["data"]["text"], found["data"]["id"]) == ("{team}: {message}", "nr")


def test_init_takes_columns_of_any_name() -> None:
    rows = [{'a "b" \\ ü': f"Long text number {i} is here.", "x": "1"} for i in range(3)]
    write_csv(rows, Path("odd.csv"))
    assert "no column of ids" in consilience("init", "odd.csv").stderr
    assert tomllib.loads(Path("odd.toml").read_text("utf-8"))["data"]["text"] == 'a "b" \\ ü'


def test_init_looks_past_columns_that_are_no_text() -> None:
    """Dates, lists: none of them is the text or the id, and none keeps the others from it."""
    rows = [
        {"tags": ["a"], "meta": {"lang": "en"}, "body": f"Long text number {i}.", "nr": f"T{i}"}
        for i in range(3)
    ]
    Path("nested.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    said = consilience("init", "nested.jsonl").stderr
    assert "text column 'body', id column 'nr'" in said
    assert '"meta.lang"' in Path("nested.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.csv"], "none.csv"),
        (["tickets.csv", "--text", "mesage"], "mesage"),
        (["tickets.csv", "--id", "number"], "number"),
        (["tickets.csv", "--output", "t.yaml"], "ends in .toml"),
        (["tickets.csv", "--output", "no/t.toml"], "cannot write no/t.toml"),
    ],
)
def test_init_refuses(words: list[str], said: str) -> None:
    assert said in line("init", *words)
    assert not list(Path().glob("*.toml"))


# ---- run ---------------------------------------------------------------------------------------


def test_run_refuses_what_is_not_filled_in_and_names_the_line() -> None:
    consilience("init", "tickets.csv")
    text = Path("tickets.toml").read_text("utf-8")

    def at(beginning: str) -> int:
        return 1 + next(i for i, s in enumerate(text.splitlines()) if s.startswith(beginning))

    for old, beginning, said in (
        ('question = ""', "question", "what is asked about each row"),
        ("[task.classes]", "[task.classes]", "two classes or more"),
        ('name = ""', "name", "fill in `name` of [model]"),
    ):
        refused = line("run", "tickets.toml")
        assert f"tickets.toml, line {at(beginning)}: " in refused and said in refused
        new = {'question = ""': 'question = "Which?"', 'name = ""': 'name = "simulated:easy"'}
        text = text.replace(old, new.get(old, '[task.classes]\n"a" = ""\n"b" = "bees"'))
        Path("tickets.toml").write_text(text, encoding="utf-8")
    assert "classes" not in consilience("run", "tickets.toml", "--dry-run").stdout


def test_a_task_file_is_enough_from_any_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("work").mkdir()
    write_csv(TICKETS, Path("work/tickets.csv"))
    consilience("init", "work/tickets.csv")
    done = consilience("run", filled("work/tickets.toml"))
    assert "\nbilling: money, invoices, refunds\ntechnical: something does not work" in done.stderr
    with Path("work/tickets-labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["ticket"] for row in rows] == [row["ticket"] for row in TICKETS]
    assert {row["label"] for row in rows} <= {"billing", "technical"}
    with Store("work/tickets.db", readonly=True) as db:
        task = db.dataset(db.run().dataset).task
    assert task == cs.Task(
        "Which team should answer?",
        {"billing": "money, invoices, refunds", "technical": "something does not work"},
    )
    # Commands that only read take the same file, in place of the store.
    monkeypatch.chdir("work")
    labels = json.loads(consilience("solve", "tickets.toml", "--output", "x.csv").stdout or "[]")
    assert labels == [] and Path("x.csv").read_bytes() == Path("tickets-labels.csv").read_bytes()
    assert json.loads(consilience("explain", "tickets.toml", "T-3", "--json").stdout)
    assert json.loads(consilience("evidence", "--json", "tickets.toml").stdout)
    consilience("export", "tickets.toml", "y.csv")
    assert Path("y.csv").read_bytes() == Path("x.csv").read_bytes()
    scored = consilience("evaluate", "tickets.toml", "--label", "team", "--json")
    assert json.loads(scored.stdout)[-1]["method"] == "consilience"
    shown = json.loads(consilience("datasets", "show", "tickets.toml", "--json").stdout)
    assert "something does not work" in shown[0]["prompt"]
    cost = json.loads(consilience("plan", "tickets.toml", "--json").stdout)
    assert cost["calls"] == 0 and cost["known"] > 0


def test_the_table_of_labels_of_a_task_file_is_that_of_its_run() -> None:
    task, labels = filled(), Path("tickets-labels.csv")
    consilience("run", task)
    run = labels.read_bytes()
    write_csv([TICKETS[0] | {"ticket": "T-99", "message": "A new lamp."}], Path("more.csv"))
    assert "T-99" in consilience("predict", task, "more.csv").stdout
    shown = consilience("review", task, "--count", 3)
    assert shown.stdout.count("went out") == 3 and "--output FILE" in shown.stderr
    drawn = consilience("landmarks", task, "--count", 2)
    assert len(list(csv.DictReader(drawn.stdout.splitlines()))) == 2
    assert labels.read_bytes() == run
    # What is told goes where it is told, and corrections change the labels of the run.
    consilience("review", task, "--output", "doubtful.csv")
    with Path("doubtful.csv").open(encoding="utf-8") as file:
        [first, *_] = csv.DictReader(file)
    assert labels.read_bytes() == run
    wrong = {"billing": "technical", "technical": "billing"}[first["label"]]
    write_csv([{"ticket": first["ticket"], "correction": wrong}], Path("back.csv"))
    consilience("review", task, "--corrections", "back.csv")
    with labels.open(encoding="utf-8") as file:
        now = {row["ticket"]: row["label"] for row in csv.DictReader(file)}
    assert len(now) == len(TICKETS) and now[first["ticket"]] == wrong
    assert "tickets.html" in consilience("report", task).stderr
    assert Path("tickets.html").exists()


def test_the_command_line_wins_over_set_that_over_the_file_and_that_over_the_usual(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = filled()
    words = ["run", task, "--dry-run", "--json"]

    def calls(*more: object) -> int:
        return int(json.loads(consilience(*words, *more).stdout)["calls"])

    assert calls() == 3 * 12
    assert calls("--set", "budget.calls_per_example=2") == 2 * 12
    assert calls(*(w for n in (1, 2) for w in ("--set", f"budget.calls_per_example={n}"))) == 2 * 12
    monkeypatch.setenv("CONSILIENCE_RUN_CALLS_PER_EXAMPLE", "4")
    assert calls("--set", "budget.calls_per_example=2") == 4 * 12
    assert calls("--calls-per-example", 1) == 12
    told = consilience(*words, "--question", "Whose is it?", "--classes", "mine,yours").stderr
    assert "Whose is it? Answer with one of: mine, yours." in told and "invoices" not in told


def test_a_setting_reaches_the_run_from_the_file_and_from_set() -> None:
    more = ("[relations]", "[planning]\nshots = 5\nshares = { billing = 0.7 }\n[relations]")
    consilience("run", filled("tickets.toml", more), "--set", "planning.block=7")
    with Store("tickets.db", readonly=True) as db:
        kept = db.run().settings
    assert (kept["plan"]["shots"], kept["plan"]["block"]) == (5, 7)
    assert kept["shares"] == {"billing": 0.7}


def test_every_setting_in_python_is_one_in_a_task_file() -> None:
    own = {f.name for f in fields(cs.Settings)} - {"plan"} | {
        f.name for f in fields(cs.PlanSettings)
    }
    here = {one.key for one in SETTINGS.values() if one.table == "planning"}
    assert own - here == {"calls_per_example", "framings", "priors"} and here <= own


MISTAKES = {
    "[task]\nquestoin = 'x'": "[task]: there is no key 'questoin'; did you mean 'question'?",
    "[taks]\nquestion = 'x'": "there is no table [taks]; did you mean 'task'?",
    "[planning]\nblock = '20'": '[planning] block: a whole number is expected, got "20"',
    "[planning]\nblock = 0": "[planning] block: 0 is not in the range x>=1.",
    "[planning]\nshots = 2.5": "[planning] shots: a whole number is expected, got 2.5",
    "[planning]\nshots = true": "[planning] shots: a whole number is expected, got true",
    "[planning]\nbias = 'some'": "[planning] bias: 'some' is not one of",
    "[planning]\nshares = { a = 'x' }": "[planning] shares: 'x' is not a valid number",
    "[data]\nfile = 3": "[data] file: a text in quotes is expected, got 3",
    "[task]\nclasses = 'a,b'": "[task] classes: a table or a list is expected",
    "[task]\nclasses = ['a', 'a']": "[task] classes: a class is named twice: a, a",
    "[task]\nquestion = '@none.txt'": "[task] question: none.txt cannot be read",
    "[budget]\nprice = [1, 2, 3, 4]": "[budget] price: INPUT, or INPUT,CACHED",
    "[budget]\nprice = -1": "[budget] price: -1.0 is not in the range",
    "[output]\ndetails = 'yes'": "[output] details: true or false is expected",
    "[model]\nlocal = { speed = 9 }": "[model] local: 'speed' is none of device, dtype",
    "task = 3": "[task] is a table, got 3",
    "seed = -1": "seed: a whole number from 0 is expected",
    "[task": "is no TOML: ",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_names_file_table_and_key(text: str) -> None:
    Path("t.toml").write_text(text, encoding="utf-8")
    said = line("run", "t.toml")
    assert said.startswith("consilience: t.toml") and MISTAKES[text] in said


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("planning.blok=3", "there is no setting 'planning.blok' for this command; did you mean"),
        ("block=3", "'block' is the key of a table: say planning.block="),
        ("planning.block=x", "planning.block: 'x' is not a valid integer"),
        ("planning.block.x=3", "planning.block.x: it has no key 'x'; set planning.block="),
        ("describing.orders=3", "no setting 'describing.orders' for this command"),
        ("block", "KEY=VALUE is expected"),
    ],
)
def test_a_mistake_in_set_is_one_line(word: str, said: str) -> None:
    assert said in line("run", "easy", "--model", "simulated:easy", "--set", word)


def test_a_share_may_be_that_of_a_class_with_an_equals_sign() -> None:
    words = ["planning.shares.c=d=0.1", "planning.shares.e.f=0.2", "model.headers.key=a=b="]
    made = read_set(words, ["planning", "model"])
    assert made["planning"] == {"shares": {"c=d": 0.1, "e.f": 0.2}}
    assert made["model"] == {"headers": {"key": "a=b="}}


def test_a_task_file_that_is_not_there() -> None:
    assert "`consilience init FILE` writes a task file" in line("run", "none.toml")
    assert "none.toml cannot be read" in line("explain", "none.toml", "T-1")
    Path("t.toml").write_text("[task]\nquestion = 'Is it?'\n", encoding="utf-8")
    assert "t.toml: `file` of [data] is missing" in line(
        "run", "t.toml", "--model", "simulated:easy"
    )


# ---- what is asked -----------------------------------------------------------------------------


def test_classes_may_have_any_name() -> None:
    names = ("money, invoices", "time: now", 'so-called "fun"', "[x] = y")
    said = '"money, invoices", time: now, "so-called ""fun""", [x] = y'
    words = ["run", "tickets.csv", "--text", "message", "--question", "Which?", "--classes", said]
    model = ["--model", "simulated:k4", "--calls-per-example", 2, "--json"]
    done = consilience(*words, *model)
    assert (
        'Answer with one of: money, invoices; time: now; so-called "fun"; [x] = y.' in done.stderr
    )
    assert {row["label"] for row in json.loads(done.stdout)["labels"]} <= set(names)
    assert "named twice: money, b, money" in line(*words[:-1], 'money,b,"money"')


def test_a_question_may_stand_in_a_file() -> None:
    Path("q.txt").write_text("Is it urgent,\nreally?\n", encoding="utf-8")
    words = ["run", "tickets.csv", "--text", "message", "--classes", "no,yes", "--dry-run"]
    model = ["--model", "simulated:easy"]
    assert (
        "\nIs it urgent,\nreally? Answer with"
        in consilience(*words, *model, "--question", "@q.txt").stderr
    )
    assert "none.txt cannot be read" in line(*words, *model, "--question", "@none.txt")


def test_a_framing_that_cannot_be_is_left_out_and_said_so() -> None:
    words = ["run", "tickets.csv", "--text", "message", "--question", "Is it?", "--classes", "a,b"]
    words += ["--model", "simulated:easy", "--set", "task.statement=It is", "--dry-run"]
    told = consilience(*words, "--set", "task.framings=plain,negated").stderr
    assert "the framing negated is left out: the task says no `opposite` sentence" in told
    assert "claim" not in told


def test_options_stand_in_groups_and_are_few() -> None:
    told = consilience("run", "--help").stdout
    places = [told.index(f"\n{name}:\n") for name in ("Data and task", "Model", "Spend", "Labels")]
    assert places == sorted(places)
    assert told.count("\n  --") <= 20


def test_options_of_named_data_sets_need_no_point() -> None:
    assert consilience("datasets", "show", "pocket", "--set", "claims=20", "--json").stdout


def test_claims_are_still_told_apart_from_tickets() -> None:
    write_csv(claims(6), Path("claims.csv"))
    consilience("init", "claims.csv")
    found = tomllib.loads(Path("claims.toml").read_text("utf-8"))
    # The longest text is chosen, and nothing that repeats is an id.
    assert found["data"] == {"file": "claims.csv", "text": "claim"}


# ---- which run a task file stands for ------------------------------------------------------------


def changed(path: str, question: str) -> str:
    """A task file beside tickets.toml, in the same store, that asks something else."""
    text = Path("tickets.toml").read_text("utf-8").replace("Which team should answer?", question)
    Path(path).write_text(text, encoding="utf-8")
    return path


def test_a_task_file_stands_for_the_run_that_asks_what_it_says() -> None:
    first, other = filled(), changed("other.toml", "Who is to be called?")
    made = {task: consilience("run", task).stderr for task in (first, other)}
    for task in (first, other, first):
        run = consilience("solve", task).stderr.partition(":")[0]
        assert f"{run}: 12 examples" in made[task]
    newest = consilience("solve", "--store", "tickets.db").stderr.partition(":")[0]
    assert f"{newest}: 12 examples" in made[other]
    # Made again, a run is the newest, though nothing is asked.
    consilience("run", first)
    newest = consilience("solve", "--store", "tickets.db").stderr.partition(":")[0]
    assert f"{newest}: 12 examples" in made[first]


@pytest.mark.parametrize(
    "words",
    [("solve",), ("review",), ("report",), ("explain", "T-1"), ("export", "x.csv"), ("weights",)],
)
def test_labels_of_another_question_do_not_pass_for_those_of_a_task_file(
    words: tuple[str, ...],
) -> None:
    consilience("run", filled())
    said = line(*words, changed("later.toml", "Who is to be called?"))
    assert "no run of tickets.db asks what later.toml says" in said and "--run" in said


@pytest.mark.parametrize("words", [("export", "x.csv"), ("explain", "T-1")])
def test_a_task_file_behind_the_option_of_a_store_stands_for_it(
    words: tuple[str, ...],
) -> None:
    consilience("run", filled())
    consilience(*words, "--store", "tickets.toml")


def test_a_dry_run_makes_no_store_for_a_model_in_this_process() -> None:
    consilience("run", filled(), "--dry-run")
    assert not Path("tickets.db").exists()


def test_a_mistyped_row_is_not_taken_for_the_beginning_of_a_hash() -> None:
    consilience("run", filled())
    for digit in "0123456789abcdef":
        assert "no row of run" in line("explain", digit, "tickets.toml")
    with Store("tickets.db", readonly=True) as store:
        id = store.dataset(store.run().dataset).ids[0]
    said = consilience("explain", id[:8], "tickets.toml").stderr
    assert said.startswith("T-") and ": The lamp number" in said
