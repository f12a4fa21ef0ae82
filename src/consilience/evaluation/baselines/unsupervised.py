"""Unsupervised in-context inference: balanced shots with the model's own last labels, often."""

from __future__ import annotations

from dataclasses import replace

from consilience.evaluation.baselines.base import Baseline, BaselineContext, Rounds, hard_labels
from consilience.evaluation.baselines.shots import semantic_framings
from consilience.planning.planner import zero_shot_round


def unsupervised_icl(
    bench: BaselineContext, *, shots: int = 16, repeats: int = 5, rounds: int = 8
) -> Baseline:
    """The mean of the last of `rounds`, in each of which all are asked `repeats` times.

    Gadetsky et al. 2025 ("Large (vision) language models are unsupervised in-context learners",
    2504.02349), the numbers those of the authors' code: labels are zero-shot answers at first,
    then what a round says; shots are balanced over them and drawn from anywhere. They draw shots
    for each target, and vote; here a block shares a list, and a round is averaged.
    """
    # One call for the start. What the budget of the bench is does not matter.
    plan = replace(bench.settings.plan, shots=shots)
    own = bench.with_settings(calls_per_example=1.0 + repeats * rounds, plan=plan)
    asked: Rounds = [own.asked(zero_shot_round(own.data, semantic_framings(own)[:1]))]
    used = asked
    labels = own.pooled(asked)
    for round in range(rounds):
        hard = hard_labels(labels)
        numbers = range(1 + round * repeats, 1 + (round + 1) * repeats)
        used = [own.asked(own.shots(hard, number, 0)) for number in numbers]
        asked += used
        labels = own.renewed(labels, used)
    return own.scored("unsupervised in-context inference, full", asked, labels, used)
