"""The arrays of evidence: rows chosen and put together, and lists of shots that are kept once."""

from __future__ import annotations

import torch

from consilience.evidence.arrays import ContrastArrays, ShotArrays
from zoo import evidence

SHOTS = ShotArrays(*map(torch.tensor, ([0, 0, 1, 2, 2, 2], [4, 2, 0, 1, 3, 4], [1, 0, 1, 1, 0, 0])))
SHOWN = torch.tensor([2, -1, 0, 2, -1, 1])


def spelled(shots: ShotArrays, shown: torch.Tensor) -> list[list[tuple[int, int]]]:
    """The shots of each prediction, by loops."""
    rows = list(zip(shots.list.tolist(), shots.example.tolist(), shots.label.tolist(), strict=True))
    return [[(i, c) for at, i, c in rows if at == number] for number in shown.tolist()]


def test_a_list_that_several_predictions_showed_is_there_once():
    shots = [(1, 0), (2, 1)]
    ev = evidence(4, [(0, [0.4, 0.6], shots), (3, [0.4, 0.6], ()), (3, [0.2, 0.8], shots)])
    assert len(ev.shots) == 2 and ev.predictions.shown.tolist() == [0, -1, 0]
    assert ev.shot_counts.tolist() == [2, 0, 2]


def test_shots_are_spelled_out_for_each_prediction():
    wanted = [(t, *shot) for t, shots in enumerate(spelled(SHOTS, SHOWN)) for shot in shots]
    found = SHOTS.of_predictions(SHOWN)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == wanted
    assert SHOTS.counts(SHOWN).tolist() == [3, 0, 2, 3, 0, 1]


def test_without_shots_none_are_spelled_out():
    none = SHOTS.none()
    assert [len(column) for column in none.of_predictions(torch.tensor([-1, -1]))] == [0, 0, 0]
    assert none.counts(torch.tensor([-1, -1])).tolist() == [0, 0]


def test_lists_that_nobody_showed_are_left_out():
    some = torch.tensor([True, True, False, True, False, True])
    shots, shown = SHOTS.used(SHOWN[some])
    assert shown.tolist() == [1, -1, 1, 0] and shots.list.tolist() == [0, 1, 1, 1]
    assert spelled(shots, shown) == spelled(SHOTS, SHOWN[some])
    shots, shown = SHOTS.used(torch.tensor([-1]))
    assert len(shots) == 0 and shown.tolist() == [-1]


def test_a_contrast_stays_only_with_both_of_its_predictions():
    columns = ([0, 2, 4], [1, 3, 5], [7, 8, 9], [0, 1, 0], [1, 0, 1], [0, 1, 2])
    contrasts = ContrastArrays(*map(torch.tensor, columns))
    kept = contrasts.only(torch.tensor([True, True, True, False, True, True]))
    assert (kept.twin.tolist(), kept.flipped.tolist()) == ([0, 3], [1, 4])
    assert (kept.example.tolist(), kept.pair.tolist()) == ([7, 9], [0, 2])


def test_rows_follow_each_other_and_go_to_another_device():
    both = SHOTS.followed_by(SHOTS.none()).followed_by(SHOTS)
    assert both.label.tolist() == SHOTS.label.tolist() * 2 and len(both) == 2 * len(SHOTS)
    assert both.to("meta").label.device.type == "meta"
    ev = evidence(2, [(0, [0.4, 0.6], [(1, 0)]), (1, [0.4, 0.6], ())])
    joined = ev.predictions.followed_by(ev.predictions)
    assert joined.keys == ev.predictions.keys * 2 and joined.logp.shape == (4, 2)
