"""The pages say what is true: generated parts are fresh, and the README's program prints that."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from cogapp import Cog

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import generated  # noqa: E402 (it lives with the pages)

from consilience.datasets import REGISTRY  # noqa: E402

BEST = "zero-shot, best of these"
NUMBER = re.compile(r"-?\d+\.\d+")


def block(page: str, call: str) -> str:
    """What stands in a page where cog put the result of a call."""
    text = (ROOT / page).read_text()
    found = re.search(re.escape(call) + r".*?\]\]\] -->\n(.*?)<!-- \[\[\[end", text, re.DOTALL)
    assert found, f"{page} has no part made by {call}"
    return found.group(1)


PAGES = [
    str(path.relative_to(ROOT))
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "[[[cog" in path.read_text("utf-8")
]
DATASETS = [
    (page, name)
    for page in PAGES
    for name in re.findall(r'generated\.dataset\("([\w-]+)"\)', (ROOT / page).read_text("utf-8"))
]
TABLES = [
    (page, name)
    for page in PAGES
    for name in re.findall(r'generated\.table\("(\w+)"\)', (ROOT / page).read_text("utf-8"))
]


def test_every_benchmark_is_on_a_page() -> None:
    shown = {name for _, name in TABLES} | {"realserver", "program", "made_evidence"}
    # Those of real models: `docs/real.md`, `docs/benchmarks/held-out.md`.
    shown |= {"real", "real_tables", "record", "recorded", "replay"}
    shown |= {"heldout", "heldout_sets"}
    assert shown == {path.stem for path in (ROOT / "benchmarks").glob("*.py")}


@pytest.mark.parametrize(("page", "name"), TABLES)
def test_the_table_of_a_benchmark_is_that_of_its_figures(page: str, name: str) -> None:
    assert block(page, f'generated.table("{name}")') == generated.table(name)


def test_every_data_set_is_on_a_page_once() -> None:
    assert sorted(name for _, name in DATASETS) == sorted(REGISTRY)


@pytest.mark.parametrize(("page", "name"), DATASETS)
def test_the_facts_of_a_data_set_are_those_of_its_loader(page: str, name: str) -> None:
    assert block(page, f'generated.dataset("{name}")') == generated.dataset(name)


def test_the_index_of_data_sets_names_every_page() -> None:
    index = (ROOT / "docs" / "datasets" / "README.md").read_text("utf-8")
    pages = {path.name for path in (ROOT / "docs" / "datasets").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == pages
    assert {f"{source.page}.md" for source in REGISTRY.values()} | {
        "your-own.md",
        "pocket.md",
    } == pages


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("README.md", "real_rows"),
        ("docs/benchmarks/methods.md", "worlds"),
        ("docs/benchmarks/methods.md", "ends"),
        pytest.param("docs/benchmarks/methods.md", "reached", marks=pytest.mark.slow),
        pytest.param("docs/benchmarks/methods.md", "floors", marks=pytest.mark.slow),
        ("docs/benchmarks/methods.md", "leads"),
        ("docs/benchmarks/held-out.md", "held_out"),
        ("docs/benchmarks/held-out.md", "held_out_summary"),
        ("docs/real.md", "real_failures"),
        ("docs/real.md", "real_scores"),
        ("docs/real.md", "real_summary"),
        ("docs/scale.md", "scale_arithmetic"),
        ("docs/servers.md", "servers"),
    ],
)
def test_the_tables_are_those_of_the_committed_figures(page: str, name: str) -> None:
    assert block(page, f"generated.{name}()") == getattr(generated, name)()


@pytest.mark.parametrize(
    ("page", "name", "wanted"),
    [
        ("README.md", "example", generated.EXAMPLE),
        ("docs/theory.md", "six_claims", generated.SIX_CLAIMS),
    ],
)
def test_the_program_of_a_page_prints_what_the_page_says(page: str, name: str, wanted: str) -> None:
    shown = block(page, f"generated.{name}()")
    program, printed = re.findall(r"```(?:python)?\n(.*?)```", shown, re.DOTALL)
    assert program == wanted
    now = generated.run_example(program).rstrip()
    # Word for word, and number for number up to what another processor's rounding may do.
    assert NUMBER.sub("#", now).split() == NUMBER.sub("#", printed).split()
    numbers = [[float(n) for n in NUMBER.findall(text)] for text in (now, printed)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.02)


@pytest.mark.parametrize(
    ("page", "name", "kept"),
    [
        ("docs/benchmarks/methods.md", "picture", "docs/benchmarks/elicitation.svg"),
        ("docs/real.md", "real_picture", "docs/real.svg"),
    ],
)
def test_a_picture_is_that_of_the_committed_figures(
    tmp_path: Path, page: str, name: str, kept: str
) -> None:
    drawn = tmp_path / Path(kept).name
    assert block(page, f"generated.{name}()") == getattr(generated, name)(drawn)
    now, before = (path.read_text("utf-8") for path in (drawn, ROOT / kept))
    assert NUMBER.sub("#", now) == NUMBER.sub("#", before)
    numbers = [[float(n) for n in NUMBER.findall(text)] for text in (now, before)]
    # In points: what another processor's rounding may do.
    assert numbers[0] == pytest.approx(numbers[1], abs=0.01)


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 120
    assert len(generated.EXAMPLE.split("\n")) <= 13
    # One table, of five methods; one picture.
    assert len(re.findall(r"^\|(?:---\|)+$", text, re.MULTILINE)) == 1
    assert block("README.md", "generated.real_rows()").count("\n") == 2 + 5
    assert len(re.findall(r"!\[", text)) == 1
    assert {"pip install uv && uv run consilience demo", "uv run pytest"} <= {
        line.partition(" #")[0].strip() for line in text.splitlines()
    }


def test_numbers_in_sentences_are_those_of_the_code() -> None:
    from consilience.data.dataset import Dataset, Example
    from consilience.elicitation.settings import Settings
    from consilience.elicitation.state import census_of
    from consilience.results.calibration import WORTH

    method = (ROOT / "docs/method.md").read_text("utf-8")
    assert f"*Cost.* At most {100 * Settings().census:.0f} % (`planning.census`)" in method
    assert f"pseudo-observations worth {WORTH:g} landmarks" in method

    def concepts(rows: int, calls: int) -> int:
        data = Dataset("rows", [Example(f"row {i}") for i in range(rows)])
        return census_of(data, Settings(calls_per_example=calls), 0).concepts

    choose = (ROOT / "docs/choose.md").read_text("utf-8")
    said = re.search(r"room to look for other concepts (.*)\. Of ten", choose)
    assert said
    pairs = re.findall(r"from (\d+)[a-z ]* with (\d+)", said[1])
    assert {int(calls) for _, calls in pairs} == {6, 8, 12}
    for rows, calls in pairs:
        assert concepts(int(rows), int(calls)) > concepts(int(rows) - 1, int(calls)) == 0


def test_cog_finds_the_markers_of_every_page_in_order() -> None:
    for page in PAGES:
        # Deleting what was generated needs the markers to pair up; nothing is written.
        assert Cog().main(["cog", "-x", "-o", "/dev/null", str(ROOT / page)]) == 0


def test_the_custom_term_of_the_readme_runs() -> None:
    import consilience as cs

    text = (ROOT / "README.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("terms = "))
    scope = {"cs": cs}
    exec(line, scope)
    data, _ = cs.load_dataset("noisy", groups=40)
    model = cs.open_model("simulated:noisy")
    plain = cs.elicit(data, model, calls_per_example=3)
    pushed = cs.elicit(data, model, calls_per_example=3, terms=scope["terms"])
    assert pushed.solution.labels[:, 1].mean() > plain.solution.labels[:, 1].mean()


def test_on_how_many_sets_the_readme_says_it_is_as_accurate_as_true_labels():
    """Within .02 on five of the six sets that the model knows, and on all but TREC."""
    from real_models import chosen_figures

    text = (ROOT / "README.md").read_text("utf-8")
    assert "to within .02, on five of the six sets that the model knows" in text
    figures = chosen_figures()
    known = [name for name in figures.sets if figures.qualifies(name)]
    ours, true = (
        {name: figures.mean(name, method, "accuracy", "its own") for name in known}
        for method in ("consilience", "golden")
    )
    assert len(known) == 6
    assert [name for name in known if ours[name] < true[name] - 0.02] == ["trec"]
    zero = [figures.mean("trec", m, "accuracy", "its own") for m in (BEST, "consilience", "golden")]
    assert zero == sorted(zero)


def test_no_run_that_the_readme_calls_a_guess_calls_itself_coherent():
    """Six sets are near a guess on the model of the README, and each of their runs says so."""
    from real_models import chosen_figures

    figures = chosen_figures()
    guessed = [name for name in figures.sets if not figures.qualifies(name)]
    assert len(guessed) == 6
    runs = [row for name in guessed for row in figures.rows[name, "consilience"].values()]
    assert len(runs) == 6
    assert {row.verdict for row in runs} == {"several concepts", "unsure"}
    assert max(row.scores["accuracy"].estimate for row in runs) < 0.7


def test_what_the_readme_says_of_other_models_is_in_the_figures():
    """Of SmolLM2 two right runs that doubt themselves and one lost, of Qwen five sets."""
    from real_models import measured

    tables, made = measured()
    small, larger = (tables.Figures(made, model, 8.0) for model in ("smol", "qwen"))
    doubted = {name: small.rows[name, "consilience"][0] for name in ("sst2", "subj")}
    assert all(row.scores["accuracy"].lower > 0.75 for row in doubted.values())
    assert {row.verdict for row in doubted.values()} == {"several concepts", "unsure"}
    lost = small.rows["sms", "consilience"][0]
    assert lost.scores["accuracy"].estimate < 0.5 and lost.verdict == "several concepts"
    said = {("sst2", "accuracy"): (0.90, 0.94), ("sms", "accuracy"): (0.61, 0.86)}
    said |= {("sms", "auroc"): (0.76, 0.98), ("agnews", "accuracy"): (0.71, 0.73)}
    said |= {("sp_en", "accuracy"): (0.97, 0.97), ("cities", "accuracy"): (0.99, 0.99)}
    for (name, score), both in said.items():
        methods = ("zero-shot-all", "consilience")
        found = [larger.mean(name, method, score, "its own") for method in methods]
        assert found == pytest.approx(both, abs=0.0051)


def test_what_the_page_of_real_models_says_of_budgets_and_methods_is_in_the_figures():
    """Of the first draws: 4, 8 and 16 calls, the longer schedule, and three methods on SST-2."""
    from real_models import measured

    tables, made = measured()
    page = (ROOT / "docs" / "real.md").read_text("utf-8")
    section = page.split("How much other budgets")[1].split("\n\nShots can")[0]
    said = [
        [float(number) for number in re.findall(r"(?<![\d.])\.\d\d", line)]
        for line in section.splitlines()
        if line.startswith("- ")
    ]

    def first(name: str, method: str, calls: float, score: str, readout: str) -> float:
        row = tables.Figures(made, "gemma", calls).all_rows[name, method][0]
        return row.scores[score].estimate if readout == "its own" else row.readouts[readout][score]

    def three(method: str, calls: float, score: str = "accuracy") -> list[float]:
        return [first(n, method, calls, score, "its own") for n in ("sst2", "sms", "agnews")]

    def alone(readout: str, *methods: str) -> list[float]:
        return [first("sst2", method, 8.0, "accuracy", readout) for method in methods]

    others = "icm-zero-shot", "gibbs", "n-pass"
    level = [
        first("agnews", "golden", 4.0, "accuracy", "its own"),
        first("sst2", "random-shots", 4.0, "accuracy", "its own"),
    ]
    found = [
        three("consilience", 4.0) + three("consilience", 8.0) + level,
        three("consilience", 16.0),
        three("unsupervised-full", 4.0) + three("unsupervised-full", 4.0, "auroc"),
        alone("its own", *others) + alone("offsets off", *others, "consilience"),
    ]
    assert len(said) == len(found)
    for ours, theirs in zip(said, found, strict=True):
        assert ours == pytest.approx(theirs, abs=0.0055)


def test_what_the_readme_says_of_held_out_sets_is_in_the_figures():
    """The means over all nine; six level with true labels or above, two a guess that say so."""
    from real_models import measured

    tables, made = measured("heldout")
    figures = tables.Figures(made, "gemma", 8.0)

    def right(method: str, name: str) -> float:
        return figures.mean(name, method, "accuracy", "its own")

    def mean(method: str, names: list[str]) -> float:
        return sum(right(method, name) for name in names) / len(names)

    assert len(figures.sets) == 9
    runs = {name: figures.rows[name, "consilience"][0] for name in figures.sets}
    guess = [n for n in figures.sets if runs[n].scores["accuracy"].lower <= right("majority", n)]
    assert sorted(guess) == ["capitals", "mail"]
    assert {runs[name].verdict for name in guess} == {"unsure"}
    six = [name for name in figures.sets if name not in (*guess, "languages")]
    assert all(right("consilience", n) > right("golden", n) - 0.01 for n in six)
    assert all(right("consilience", n) > right("random-shots", n) for n in six)
    assert all(right("consilience", n) > right("bootstrap-confident", n) - 0.02 for n in six)
    said = {"consilience": 0.83, "golden": 0.84, "bootstrap-confident": 0.76}
    said |= {"random-shots": 0.80, tables.BEST: 0.76}
    assert {m: mean(m, figures.sets) for m in said} == pytest.approx(said, abs=0.0051)
    harmed = [right(m, "languages") for m in ("consilience", "golden", tables.BEST)]
    assert harmed == pytest.approx([0.82, 0.67, 0.84], abs=0.0051)
    doubted = {n for n in figures.sets if runs[n].verdict != "coherent"} - {*guess}
    assert doubted == {"names", "languages"}
    small = tables.Figures(made, "smol", 8.0)
    assert small.sets == ["capitals", "continents", "names", "tweets", "words"]
    ours, true = (
        {n: small.mean(n, method, "accuracy", "its own") for n in small.sets}
        for method in ("consilience", "golden")
    )
    assert {n for n in small.sets if ours[n] > true[n] + 0.01} == {"continents", "names"}
    assert {n for n in small.sets if ours[n] < true[n] - 0.01} == {"tweets", "words"}


def test_runs_begun_anew_are_as_near_to_the_record_as_the_page_says() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in generated.real_anew().splitlines()[2:]
    ]
    assert len(rows) == 5
    for _, before, after, *_ in rows:
        one, other = ([float(value) for value in text.split(" / ")] for text in (before, after))
        assert abs(one[0] - other[0]) <= 0.031 and abs(one[1] - other[1]) <= 0.011
    changed = [(was, now) for *_, was, now in rows if was != now]
    assert changed == [("coherent", "several concepts")] * 2
