"""The tables of the pages that are made from what `benchmarks/elicitation.py` measured.

Scores are by seed, so that differences are paired where two methods have the same draws.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from figures import ROOT, figures, program

BySeed = Mapping[int, float]
Scores = dict[tuple[str, str, float | None], dict[int, float]]

SHOWN = {
    "majority": "majority",
    "zero-shot-all": "zero-shot, all framings",
    "bootstrap": "bootstrap",
    "bootstrap-confident": "bootstrap, confident",
    "consilience": "consilience",
    "golden": "golden shots (ceiling)",
}
"""The methods of the table of worlds, of those that `elicitation` measures, and what they are."""

NO_RIVALS = (
    *("consilience", "golden", "majority", "structure"),
    *("icm-full", "gibbs-full", "unsupervised-full"),
)
"""What knows the gold, asks nothing, or asks more often is no rival at the same calls."""


DRAWN = (
    *("zero-shot-all", "bootstrap", "bootstrap-confident", "icm-full", "unsupervised-full"),
    *("consilience", "golden"),
)
"""The methods of the picture: all would hide one another."""

RIVAL = "bootstrap-confident"
"""The best of the others on average."""

LOST = 0.1
"""A run this far below the median of its method is one that ended in another concept: between
these and all others there is a wide gap."""

RANKED = ("zero-shot-all", "bootstrap-confident", "consilience", "golden")
"""The methods whose ranking is shown where a class is rare."""

PICTURE = ROOT / "docs" / "benchmarks" / "elicitation.svg"


@cache
def scores(name: str = "accuracy") -> Scores:
    """A score, or another number of a row, by world, method and budget (None: of any), by seed."""
    _, found = figures("elicitation")
    made: Scores = {}
    for row in sorted(found["rows"], key=lambda row: row["seed"]):
        key = found["setups"][row["setup"]]["data"], row["method"], row["budget"]
        value = row["scores"][name][0] if name in row["scores"] else row[name]
        # A draw without a single one of a rare class has no AUROC.
        if value is not None:
            made.setdefault(key, {})[row["seed"]] = value
    return made


def of(world: str, method: str, calls: float, name: str = "accuracy") -> dict[int, float]:
    """The score of a method on a world at a budget, or at any if none bounds it, by seed."""
    found = scores(name)
    return found.get((world, method, calls)) or found[world, method, None]


def less(one: BySeed, other: BySeed) -> list[float]:
    """The differences on the draws that both have."""
    return [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]


def interval(values: Iterable[float]) -> str:
    """The mean and the half-width of its 95 % interval over seeds."""
    said: str = program("program").interval(list(values))
    return said


def standard() -> tuple[tuple[str, ...], float]:
    """The standard worlds, and the calls per example at which they are compared."""
    benchmark, _ = figures("elicitation")
    return benchmark.STANDARD, benchmark.SHOWN


def worlds() -> str:
    """The table of the simulated worlds."""
    benchmark, _ = figures("elicitation")
    lines = [
        "Accuracy on simulated worlds with known truth, 400 examples each, mean and 95 % interval "
        "over draws.\nAll methods ask the same learner the same number of times, in the same "
        "framings.\n",
        f"| world | calls | draws | {' | '.join(SHOWN.values())} | consilience − {SHOWN[RIVAL]} |",
        "|" + "---|" * (len(SHOWN) + 4),
    ]
    for calls in (4.0, 8.0):
        for world in (*benchmark.STANDARD, *benchmark.STRESS):
            if (world, "consilience", calls) not in scores():
                continue
            ours = of(world, "consilience", calls)
            by_method = [of(world, method, calls) for method in SHOWN]
            made = [interval(value for s, value in m.items() if s in ours) for m in by_method]
            gap = interval(less(ours, of(world, RIVAL, calls)))
            lines.append(f"| {' | '.join([world, f'{calls:g}', str(len(ours)), *made, gap])} |")
    return "\n".join(lines) + "\n"


@cache
def known(world: str) -> dict[int, float]:
    """How far the learner itself knows the truth of a world, by seed."""
    from consilience.models.simulated import SimulatedModel, world_dataset

    benchmark, _ = figures("elicitation")
    model, made = SimulatedModel(world), {}
    for seed in of(world, "majority", benchmark.SHOWN):
        data, gold = world_dataset(world, benchmark.EXAMPLES, seed)
        made[seed] = float(np.mean([model.knows(id) == gold.labels[id] for id in data.ids]))
    return made


def floors() -> str:
    """What the class balance and the relations alone are worth, and what the learner knows."""
    benchmark, _ = figures("elicitation")
    lines = ["| world | majority | structure only | what the learner knows |", "|---|---|---|---|"]
    for world in (*benchmark.STANDARD, *benchmark.STRESS):
        blind = [of(world, name, benchmark.SHOWN).values() for name in ("majority", "structure")]
        cells = map(interval, [*blind, known(world).values()])
        lines.append(f"| {world} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rivals(calls: float) -> list[str]:
    """The methods that were asked as often, on every draw of every standard world, by name."""
    names, found = standard()[0], scores()
    methods = sorted({method for _, method, _ in found} - set(NO_RIVALS))
    drawn = {(world, method) for world, method, budget in found if budget in (calls, None)}
    return [
        m
        for m in methods
        if all(
            (w, m) in drawn and of(w, m, calls).keys() >= of(w, "consilience", calls).keys()
            for w in names
        )
    ]


def leads() -> str:
    """How far ahead of each other method consilience is, on each standard world and in all."""
    names, at = standard()
    made = []
    for calls in (at / 2, at):
        made += [
            f"| accuracy less that of, {calls:g} calls | {' | '.join(names)} | mean |",
            "|" + "---|" * (len(names) + 2),
        ]
        rows = []
        for method in rivals(calls):
            gaps = [less(of(w, "consilience", calls), of(w, method, calls)) for w in names]
            over = np.mean([gap[: min(map(len, gaps))] for gap in gaps], axis=0)
            cells = [interval(gap) for gap in [*gaps, over]]
            rows.append((float(over.mean()), f"| {method} | {' | '.join(cells)} |"))
        made += [*(row for _, row in sorted(rows)), ""]
    return "\n".join(made[:-1]) + "\n"


def lost(values: BySeed) -> set[int]:
    """The seeds of the runs that ended in something else than the truth."""
    middle = float(np.median([*values.values()]))
    return {seed for seed, value in values.items() if value < middle - LOST}


def ends() -> str:
    """How many runs do not end in the truth, and what the lead over the best other is made of."""
    names, at = standard()
    lines = [
        f"| {at:g} calls | draws | consilience, least and most | does not end in the truth "
        f"| {RIVAL} does not | lead over it | where it does |",
        "|" + "---|" * 7,
    ]
    for world in names:
        ours, theirs = of(world, "consilience", at), of(world, RIVAL, at)
        away = lost(theirs)
        found = less({seed: value for seed, value in ours.items() if seed not in away}, theirs)
        cells = [
            *(world, str(len(ours)), f"{min(ours.values()):.3f} to {max(ours.values()):.3f}"),
            *(str(len(lost(ours))), str(len(away))),
            *(interval(less(ours, theirs)), interval(found)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def picture(path: Path = PICTURE) -> str:
    """Draws accuracy against calls, and shows the picture."""
    import matplotlib as mpl

    from consilience.evaluation.benchmark.result_file import Results
    from consilience.evaluation.benchmark.tables import summarise
    from consilience.evaluation.plots import plot_budgets

    benchmark, found = figures("elicitation")
    shown = benchmark.STANDARD
    summaries = summarise(Results.from_json(found))
    chosen = [s for s in summaries if s.data in shown and s.method in DRAWN]
    chosen.sort(key=lambda s: shown.index(s.data))
    # Ids and letters that do not change from one drawing to the next.
    with mpl.rc_context({"svg.hashsalt": "consilience", "svg.fonttype": "none"}):
        plot_budgets(chosen, path)
    return f"![accuracy against calls per example, on {', '.join(shown)}]({path.name})\n"


def reached() -> str:
    """What was aimed at on the standard worlds, and what is reached."""
    from consilience.evaluation.benchmark.tables import recovered

    names, at = standard()
    few = at / 2

    shares = {}
    for world in names:
        three = [of(world, m, at) for m in ("consilience", "zero-shot-all", "golden")]
        both = sorted(three[0].keys() & three[1].keys() & three[2].keys())
        shares[world] = recovered(*([values[s] for s in both] for values in three))
    said = [f"{world} {share.mean:.2f} ± {share.half:.2f}" for world, share in shares.items()]
    share = float(np.mean([share.mean for share in shares.values()]))
    # The draws of one world are not those of another.
    half = float(np.sqrt(sum(share.half**2 for share in shares.values()))) / len(shares)
    one, whole = uncached(names, at)
    early, late = averages(names, [("consilience", few), ("bootstrap-relations", at)])
    ways = [("icm-full", at), ("consilience", 2.0), ("zero-shot", at)]
    icm, ours, raw = averages(names, ways)
    spent = averages(names, ways, "calls_per_example")[0]
    rows = [
        ("PGR", "1.0", f"{share:.2f} ± {half:.2f}: {', '.join(said)}"),
        ("accuracy less that of the best other method", "above 0", best_lead(names, at)),
        ("over the best other method with half of the calls", "", best_lead(names, few)),
        (
            "accuracy less what the learner knows",
            "",
            "; ".join(f"{w} {interval(less(of(w, 'consilience', at), known(w)))}" for w in names),
        ),
        (
            f"accuracy with {few:g} calls",
            f"{late:.3f}, that of bootstrap, consistent with {at:g}",
            f"{early:.3f}",
        ),
        (
            "accuracy of ICM at its authors' schedule",
            f"{icm:.3f} with fewer than its {spent:.0f} calls",
            f"{ours:.3f} with 2 (its zero-shot answer as it comes: {raw:.3f})",
        ),
        (
            "characters per prediction that no prefix cache serves",
            "1.3 × a zero-shot prompt",
            f"{whole:.2f} × a zero-shot prompt, {one:.2f} × what no cache serves of those",
        ),
    ]
    rows += [
        ("calibration error where a class is rare", "at most 0.05", if_rare(at, "ece")),
        ("AUROC there, less where half are true", "within 0.02", if_rare(at, "auroc", "noisy")),
    ]
    lines = [f"| with {at:g} calls, if not said otherwise | aim | reached |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def if_rare(calls: float, name: str, half: str | None = None) -> str:
    """A score of the worlds in which a class is rare, by its share; less that of the `half`."""
    benchmark, _ = figures("elicitation")
    said = []
    for world, share in benchmark.SHARES.items():
        ours = of(world, "consilience", calls, name)
        values = ours.values() if half is None else less(ours, of(half, "consilience", calls, name))
        if share != "50 %":
            said.append(f"{share} {interval(values)}")
    return "; ".join(said)


def averages(
    names: Collection[str], ways: Sequence[tuple[str, float]], name: str = "accuracy"
) -> list[float]:
    """The mean over worlds of each method at its budget, on the draws that all of them have."""
    sums = np.zeros(len(ways))
    for world in names:
        found = [of(world, method, calls, name) for method, calls in ways]
        seeds = sorted(set.intersection(*(set(values) for values in found)))
        sums += [np.mean([values[seed] for seed in seeds]) for values in found]
    return [float(total) for total in sums / len(names)]


def best_lead(names: Iterable[str], calls: float) -> str:
    """The lead over whichever other method is the best on each world, which is named."""
    said = []
    for world in names:
        ours = of(world, "consilience", calls)
        # On the same draws, of which some have fewer; in one order, for two may be level.
        gaps = {name: less(ours, of(world, name, calls)) for name in rivals(calls)}
        best = min(gaps, key=lambda name: np.mean(gaps[name]))
        said.append(f"{world} {interval(gaps[best])} ({best})")
    return "; ".join(said)


def uncached(names: tuple[str, ...], at: float) -> tuple[float, float]:
    """What no prefix cache serves of a prediction, relative to zero-shot: as cached, and whole."""
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.baselines.base import BaselineContext
    from consilience.evaluation.benchmark.benchmark import zero_shot_prompts
    from consilience.models.simulated import SimulatedModel, world_dataset
    from consilience.prompts.shared_prefixes import flat
    from consilience.store.database import Store

    benchmark, found = figures("elicitation")
    cached, whole = [], []
    for row in found["rows"]:
        world: Any = found["setups"][row["setup"]]["data"]
        if (row["method"], row["budget"]) == ("consilience", at) and world in names:
            data, _ = world_dataset(world, benchmark.EXAMPLES, row["seed"])
            with Store() as store:
                model, settings = SimulatedModel(world), Settings()
                bench = BaselineContext(
                    data, model, store=store, settings=settings, seed=row["seed"]
                )
                lengths = [len(flat(prompt)) for prompt in zero_shot_prompts(bench)]
            cached.append(row["fresh"] / row["fresh_zero_shot"])
            whole.append(row["fresh"] * len(lengths) / sum(lengths))
    return sum(cached) / len(cached), sum(whole) / len(whole)


def rare_worlds() -> str:
    """Accuracy / AUROC of the worlds that differ in how many are true."""
    benchmark, _ = figures("elicitation")
    lines = [f"| world | {' | '.join(RANKED)} |", "|---" * (len(RANKED) + 1) + "|"]
    for world in benchmark.SHARES:
        cells = []
        for method in RANKED:
            right, order = (
                of(world, method, benchmark.SHOWN, name).values() for name in ("accuracy", "auroc")
            )
            cells.append(f"{interval(right)} / {np.mean([*order]):.3f}")
        lines.append(f"| {world} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
