"""What a prefix cache can serve, by hand and against the plain definition."""

from __future__ import annotations

import math
import random
import time

import pytest

from consilience.prompts.shared_prefixes import flat, fresh, shared


def test_what_is_shared_by_hand() -> None:
    asked = ["abcd", "abxy", "abxz", "qq", "abcd", "", "ab"]
    # Nothing; "ab"; "abx"; nothing; all of the first; nothing; all, of the first three.
    assert shared(asked).tolist() == [0, 2, 3, 0, 4, 0, 2]
    assert fresh(asked) == pytest.approx((4 + 2 + 1 + 2 + 0 + 0 + 0) / 7)


def test_only_what_was_asked_earlier_is_shared() -> None:
    assert shared(["aaa", "aaab"]).tolist() == [0, 3]
    assert shared(["aaab", "aaa"]).tolist() == [0, 3]
    assert shared(["b", "ab", "aa"]).tolist() == [0, 0, 1]


def test_messages_count_with_their_roles() -> None:
    def asked(*said: str) -> list[dict[str, str]]:
        roles = ("user", "assistant") * len(said)
        return [{"role": r, "content": s} for r, s in zip(roles, said, strict=False)]

    prompts = [asked("one", "yes", "two"), asked("one", "yes", "three"), asked("one", "no", "two")]
    marks = len("?user?one") + len("?assistant?")
    assert len(flat(prompts[0])) == marks + len("yes") + len("?user?two")
    assert shared(prompts).tolist() == [0, marks + len("yes") + len("?user?t"), marks]
    # Where a message ends is a mark too: the same letters cut otherwise are another prompt.
    cut = [[{"role": "user", "content": "ab"}], [{"role": "usera", "content": "b"}]]
    assert shared(cut).tolist() == [0, len("?user")]


def same(a: str, b: str) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def test_it_is_the_longest_over_all_earlier_ones() -> None:
    rng = random.Random(0)
    for _ in range(50):
        texts = ["".join(rng.choices("ab", k=rng.randrange(9))) for _ in range(30)]
        plain = [max((same(t, e) for e in texts[:i]), default=0) for i, t in enumerate(texts)]
        assert shared(texts).tolist() == plain


def test_many_long_prompts_take_no_time() -> None:
    head = "shot " * 600
    texts = [f"{head}{i % 40} {head}{i}" for i in range(4000)]
    began = time.perf_counter()
    assert shared(texts)[-1] > 2 * len(head)
    assert time.perf_counter() - began < 10


def test_no_prompts() -> None:
    assert shared([]).tolist() == []
    assert math.isnan(fresh([]))
