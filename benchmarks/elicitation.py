"""Every method on simulated worlds at 2 to 16 calls per example, and where it is hard.

    uv run python benchmarks/elicitation.py             # measures, writes results/elicitation.json
    uv run python benchmarks/elicitation.py --table     # prints the tables from it

What the file has, on draws from 2000 on, by which nothing was decided, their number fixed before:

    R="uv run python benchmarks/elicitation.py"
    ALL="zero-shot-all bootstrap bootstrap-confident bootstrap-relations ranked consilience golden"
    $R --seeds 2000-2009 --budgets 8 --worlds easy noisy grouped k4 \
        --methods majority structure zero-shot random-shots $ALL
    $R --seeds 2000-2009 --budgets 4 --worlds easy noisy grouped k4 --methods $ALL
    $R --seeds 2000-2009 --budgets 2 16 --worlds easy noisy grouped k4 \
        --methods bootstrap bootstrap-confident consilience golden
    $R --seeds 2000-2004 --budgets 8 --worlds imbalanced-1 imbalanced imbalanced-90 imbalanced-99 \
        distractor no-answer --methods majority structure zero-shot-all bootstrap \
        bootstrap-confident consilience golden
    $R --seeds 2000-2002 --budgets 8 --worlds easy noisy grouped k4 --methods icm-full gibbs-full \
        unsupervised-full vote n-pass icm-zero-shot gibbs iterative-pseudo

What the file has is not measured again, so it can be stopped at any time. The same on other data
and models is `consilience bench`, which this is but for the list of worlds.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "elicitation.json"
STANDARD = ("easy", "noisy", "grouped", "k4")
# One example in ten is true in `imbalanced`, one in two in `noisy`, else they are the same.
STRESS = ("imbalanced", "distractor", "no-answer")
SHARES = {
    "imbalanced-1": "1 %",
    "imbalanced": "10 %",
    "noisy": "50 %",
    "imbalanced-90": "90 %",
    "imbalanced-99": "99 %",
}
"""Worlds that differ in how many are true; those of one in a hundred are measured at 8 calls."""
EXAMPLES = 400
BUDGETS = (2.0, 4.0, 8.0, 16.0)
SHOWN = 8.0
"""The budget of the tables that are not of accuracy."""


def measure(given: argparse.Namespace) -> None:
    """Makes the rows that the file does not have, each written at once."""
    from consilience.elicitation.settings import Settings
    from consilience.evaluation.benchmark.benchmark import (
        Case,
        check_methods,
        pending,
        plan_jobs,
        setup_of,
    )
    from consilience.evaluation.benchmark.result_file import Results
    from consilience.evaluation.benchmark.workers import work_off
    from consilience.models import open_model
    from consilience.models.simulated import world_dataset

    results, settings = Results.read(given.output), Settings()
    jobs, models = [], {}
    setups: dict[str, Any] = {}
    for world in given.worlds:
        case = Case(
            world,
            partial(world_dataset, world, given.examples),
            partial(open_model, f"simulated:{world}"),
            options={"examples": given.examples},
        )
        models[world] = case.model()
        methods = check_methods(given.methods)
        mine = plan_jobs(
            case, models[world], methods, given.budgets, given.seeds, settings, concurrency=1
        )
        setups |= {job.setup: setup_of(case, models[world], settings) for job in mine}
        jobs += mine
    for row in work_off(pending(jobs, results.rows), models, given.workers):
        results.add(row, setups[row.setup])
        print(
            setups[row.setup]["data"],
            f"seed {row.seed}, budget {row.budget}: {row.method}",
            f"{row.scores['accuracy'].estimate:.3f}, {row.seconds:.1f} s",
        )


def table(found: dict[str, Any]) -> str:
    """Markdown: accuracy at each budget, a column per world, and the other measures at one."""
    from consilience.evaluation.benchmark.result_file import Results
    from consilience.evaluation.benchmark.tables import (
        MEASURES,
        notes,
        overview,
        render_tables,
        summarise,
    )

    summaries = summarise(Results.from_json(found))
    known = sorted({s.budget for s in summaries if s.budget is not None})
    budgets: list[float | None] = [*known] or [None]
    at = SHOWN if SHOWN in budgets else budgets[-1]
    made = [overview(summaries, budget) for budget in budgets]
    made += [overview(summaries, at, name) for name in MEASURES if name != "accuracy"]
    return f"{render_tables(made, markdown=True)}\n\n{notes(summaries)}"


def main() -> None:
    """Measures unless told not to, and prints the tables."""
    import json

    from consilience.cli.values import seeds
    from consilience.evaluation.benchmark.methods import USUAL

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="print the tables, measure nothing")
    parser.add_argument("--seeds", type=partial(seeds, None, None), default="5")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worlds", nargs="+", default=[*STANDARD, *STRESS])
    parser.add_argument("--methods", nargs="+", default=USUAL)
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    if not given.table:
        measure(given)
    print(table(json.loads(given.output.read_text("utf-8"))))


if __name__ == "__main__":
    main()
