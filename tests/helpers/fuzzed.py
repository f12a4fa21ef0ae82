"""How Hypothesis makes many inputs: the same ones each time, with no limit of time for one."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def fuzzing(count: int) -> settings:
    """The settings of a test that tries so many inputs."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
