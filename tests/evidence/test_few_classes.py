"""Probabilities from scores, class by class, beside those of PyTorch."""

from __future__ import annotations

import pytest
import torch

from consilience.evidence.few_classes import ONE_BY_ONE, log_normalised, normalised, over_classes


@pytest.mark.parametrize("k", [2, 3, ONE_BY_ONE, ONE_BY_ONE + 1])
@pytest.mark.parametrize("shape", [(), (4,), (3, 5)])
def test_probabilities_are_those_of_a_softmax(k: int, shape: tuple[int, ...]) -> None:
    """Of scores far apart too: a tiny probability keeps its digits."""
    torch.manual_seed(k)
    scores = 40 * torch.randn(*shape, k, dtype=torch.float64)
    exact = torch.softmax(scores, dim=-1)
    torch.testing.assert_close(normalised(scores), exact, rtol=1e-12, atol=0)
    torch.testing.assert_close(log_normalised(scores), exact.log(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(over_classes(exact), torch.ones(*shape, 1, dtype=torch.float64))


def test_a_class_that_cannot_be_has_no_probability() -> None:
    """Neither is the other lost where the scores are farther apart than numbers reach."""
    scores = torch.tensor([[0.0, 2000.0], [0.0, -2000.0]], dtype=torch.float64)
    assert normalised(scores).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert log_normalised(scores).tolist() == [[-2000.0, 0.0], [0.0, -2000.0]]
