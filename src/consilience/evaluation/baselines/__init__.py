"""Other methods of finding labels with the same model, store and number of calls.

Each baseline that asks the model gets the same framings, the same removal of label-name bias and
as far as its source allows the same block layout as the method itself, so that a difference is
one of method. `BASELINES` has all that need no gold; only what is in `golden` can receive it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from consilience.evaluation.baselines.base import READOUTS, Baseline, BaselineContext
from consilience.evaluation.baselines.batch import batch_random_shots, batch_zero_shot
from consilience.evaluation.baselines.bootstrapping import (
    bootstrap,
    bootstrap_confident,
    bootstrap_relations,
)
from consilience.evaluation.baselines.contextual import (
    contextual_random_shots,
    contextual_zero_shot,
)
from consilience.evaluation.baselines.golden import gold_array, golden_shots, majority
from consilience.evaluation.baselines.live_gibbs import gibbs, n_pass
from consilience.evaluation.baselines.live_icm import ICM, icm
from consilience.evaluation.baselines.pseudo import iterative_pseudo
from consilience.evaluation.baselines.ranked import ranked_bootstrap
from consilience.evaluation.baselines.shots import random_shots, vote, zero_shot, zero_shot_in
from consilience.evaluation.baselines.structural import agreement_only, structure_only
from consilience.evaluation.baselines.unsupervised import unsupervised_icl

BASELINES: Mapping[str, Callable[[BaselineContext], Baseline]] = {
    "zero-shot": zero_shot,
    "zero-shot-plain": partial(zero_shot_in, family="plain"),
    "zero-shot-names": partial(zero_shot_in, family="names"),
    "zero-shot-negated": partial(zero_shot_in, family="negated"),
    "zero-shot-letters": partial(zero_shot_in, family="letters"),
    "zero-shot-contextual": contextual_zero_shot,
    "zero-shot-batch": batch_zero_shot,
    "zero-shot-all": partial(zero_shot, every=True),
    "vote": vote,
    "random-shots": random_shots,
    "random-contextual": contextual_random_shots,
    "random-batch": batch_random_shots,
    "n-pass": n_pass,
    "bootstrap": bootstrap,
    "bootstrap-confident": bootstrap_confident,
    "bootstrap-relations": bootstrap_relations,
    "ranked": ranked_bootstrap,
    "ranked-long": partial(ranked_bootstrap, long=True),
    "ranked-random": partial(ranked_bootstrap, start="random"),
    "iterative-pseudo": iterative_pseudo,
    "icm": partial(icm, settings=ICM(iterations=None, within_budget=True)),
    "icm-mean": partial(icm, settings=ICM("mean", iterations=None, within_budget=True)),
    "icm-zero-shot": partial(
        icm, settings=ICM(iterations=None, start="zero-shot", within_budget=True)
    ),
    "gibbs": partial(gibbs, within_budget=True),
    "icm-full": partial(icm, settings=ICM(rescoring="pool", grow=True)),
    "gibbs-full": gibbs,
    "unsupervised-full": unsupervised_icl,
}
"""Every baseline that asks and needs no gold, by the name that the command line uses.

Those in `-full` spend what their authors spend, whatever the budget; all others stay within it,
save those without shots, which are whole or nothing. ("icm-full" grows: to the letter of the
paper, a search that asks the whole pool again hardly ever takes a first label.)
"""

__all__ = [
    "BASELINES",
    "ICM",
    "READOUTS",
    "Baseline",
    "BaselineContext",
    "agreement_only",
    "batch_random_shots",
    "batch_zero_shot",
    "bootstrap",
    "bootstrap_confident",
    "bootstrap_relations",
    "contextual_random_shots",
    "contextual_zero_shot",
    "gibbs",
    "gold_array",
    "golden_shots",
    "icm",
    "iterative_pseudo",
    "majority",
    "n_pass",
    "random_shots",
    "ranked_bootstrap",
    "structure_only",
    "unsupervised_icl",
    "vote",
    "zero_shot",
    "zero_shot_in",
]
