"""Each purpose has random numbers of its own, and they come from one place."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import consilience
from consilience.data.random_streams import STREAMS, generator

SOURCES = {p: p.read_text("utf-8") for p in Path(consilience.__file__).parent.rglob("*.py")}


def test_no_two_purposes_share_a_stream() -> None:
    assert len(set(STREAMS.values())) == len(STREAMS)
    drawn = {name: tuple(generator(3, name).random(4)) for name in STREAMS}
    assert len(set(drawn.values())) == len(STREAMS)


def test_every_purpose_is_some_module_s_and_no_module_has_streams_of_its_own() -> None:
    used = [
        name for text in SOURCES.values() for name in re.findall(r'generator\([^"]*"([^"]+)"', text)
    ]
    assert {*used} == {*STREAMS}
    assert [p.name for p, text in SOURCES.items() if "default_rng([" in text] == [
        "random_streams.py"
    ]


def test_a_use_and_a_seed_tell_streams_apart() -> None:
    draws = [generator(seed, "shots", *more).random() for seed in (0, 1) for more in ((1,), (2,))]
    assert len(set(draws)) == 4
    assert generator(5, "folds").random() == np.random.default_rng([5, STREAMS["folds"]]).random()
    with pytest.raises(KeyError):
        generator(0, "nothing")
