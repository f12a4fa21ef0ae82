"""Log-probabilities of continuations from a causal network, each shared prefix computed once.

Prompts that are scored together are sorted into groups with a common beginning. The keys and
values of that beginning are computed once and laid under every row of a batch; the rows hold what
is left of each prompt, padded on the right, where no real token looks. The
beginning that was computed last is kept: the next prompts, or the next single one, start from as
much of it as they share.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from consilience.errors import InputError
from consilience.threads import one_thread

Tokens = tuple[int, ...]

SMALL = 10_000_000
"""Parameters below which a second thread on the CPU brings nothing (docs/local.md)."""

STEP = 100
"""What one more batch costs besides the tokens in it, counted in tokens."""

PLAIN = {"full_attention", "sliding_attention", "chunked_attention"}
"""The kinds of layer whose state is keys and values by position, which can be cut and shared."""


@dataclass(frozen=True, slots=True)
class Question:
    """The tokens of a prompt, and the continuations whose log-probabilities are wanted."""

    prompt: Tokens
    continuations: tuple[Tokens, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """The log-probability (nats) of each token of each continuation, given all before it.

    `cached` tokens of the prompt were not computed for this question.
    """

    logprobs: list[list[float]]
    cached: int


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts, by index, that are scored on top of their first `shared` tokens."""

    members: list[int]
    shared: int


@dataclass(frozen=True, slots=True)
class _Row:
    """One sequence of a batch: a prompt and what has to be read of the continuations.

    The token after `tokens[first]` is the first of each continuation; those that are read from
    this row are given by their place in the question.
    """

    question: int
    tokens: Tokens
    first: int
    continuations: dict[int, Tokens]


class Scorer:
    """A causal network of `transformers` that scores continuations, up to `batch` rows at once.

    Without `reuse`, and where a layer's state cannot be cut, every prompt is computed in full. A
    `SMALL` network on the CPU is asked in one thread.
    """

    def __init__(self, network: Any, *, batch: int = 32, reuse: bool = True) -> None:  # noqa: ANN401
        if batch < 1:
            raise InputError(f"batch must be at least 1, got {batch}")
        if "logits_to_keep" not in inspect.signature(network.forward).parameters:
            raise InputError(
                f"a model of type {network.config.model_type!r} cannot be scored in this process: "
                "it does not give logits at chosen positions; put it behind a server"
            )
        from transformers import DynamicCache  # of an extra, which may not be installed

        self._new_cache = DynamicCache
        self._network = network
        self._batch = batch
        small = network.num_parameters() < SMALL and network.device.type == "cpu"
        self._threads = one_thread if small else nullcontext
        self.reuse = reuse and _can_be_cut(network)
        self.forget()

    def forget(self) -> None:
        """Frees the keys and values that were kept."""
        self._kept: tuple[Tokens, Any] = ((), self._new_cache())

    def score(self, questions: Sequence[Question]) -> list[Score]:
        """One score per question, in their order."""
        with torch.inference_mode(), self._threads():
            return self._score(questions)

    def _score(self, questions: Sequence[Question]) -> list[Score]:
        prompts = [question.prompt for question in questions]
        everyone = [Group(list(range(len(prompts))), 0)] if prompts else []
        scores: dict[int, Score] = {}
        for group in groups(prompts) if self.reuse else everyone:
            rows = [row for i in group.members for row in _rows(i, questions[i])]
            if len(rows) == 1 and self.reuse:
                values, cached = self._alone(rows[0])
            else:
                prefix = questions[group.members[0]].prompt[: group.shared]
                values, cached = self._together(rows, prefix)
            for n, i in enumerate(group.members):
                logprobs = [values[i, c] for c in range(len(questions[i].continuations))]
                scores[i] = Score(logprobs, group.shared if n else cached)
        return [scores[i] for i in range(len(questions))]

    def _alone(self, row: _Row) -> tuple[dict[tuple[int, int], list[float]], int]:
        """The values of a row, all of whose keys and values are kept; and how many there were."""
        n = min(_common(self._kept[0], row.tokens), row.first)
        cache = self._under(n)
        values = dict(self._read([row], n, cache))
        self._kept = (row.tokens, cache)
        return values, n

    def _together(
        self, rows: Sequence[_Row], prefix: Tokens
    ) -> tuple[dict[tuple[int, int], list[float]], int]:
        """The values of rows on top of a prefix, and how much of the prefix there was already."""
        n = _common(self._kept[0], prefix)
        if n < len(prefix):
            cache = self._under(n)
            self._run([prefix[n:]], cache, [0])
            self._kept = (prefix, cache)
        # Rows of like length go together: less padding, and fewer places where logits are wanted.
        ordered = sorted(rows, key=lambda row: len(row.tokens))
        values: dict[tuple[int, int], list[float]] = {}
        for at in range(0, len(ordered), self._batch):
            part = ordered[at : at + self._batch]
            cache = self._under(len(prefix), len(part)) if prefix else None
            values |= self._read(part, len(prefix), cache)
        return values, n

    def _under(self, length: int, rows: int = 1) -> Any:  # noqa: ANN401
        """The first `length` kept keys and values as a new cache for so many rows.

        Nothing is copied here, and what is added to the new cache does not change the kept one.
        """
        cache = self._new_cache()
        for i, layer in enumerate(self._kept[1].layers if length else []):
            cache.update(layer.keys[:, :, :0], layer.values[:, :, :0], i)  # makes the layer
            cache.layers[i].keys = layer.keys[:, :, :length].expand(rows, -1, -1, -1)
            cache.layers[i].values = layer.values[:, :, :length].expand(rows, -1, -1, -1)
        return cache

    def _read(
        self,
        rows: Sequence[_Row],
        shared: int,
        cache: Any,  # noqa: ANN401
    ) -> Iterator[tuple[tuple[int, int], list[float]]]:
        """The log-probabilities of each row's continuations, by question and continuation."""
        wanted = [
            (r, row.first - shared + step, token)
            for r, row in enumerate(rows)
            for continuation in row.continuations.values()
            for step, token in enumerate(continuation)
        ]
        places = sorted({place for _, place, _ in wanted})
        logits = self._run([row.tokens[shared:] for row in rows], cache, places)
        # Half precision cannot tell log-probabilities near zero apart.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        at = [(r, places.index(place), token) for r, place, token in wanted]
        r, p, token = torch.tensor(at, device=logits.device).unbind(1)
        found = iter((logits[r, p, token] - logits.logsumexp(-1)[r, p]).tolist())
        for row in rows:
            for c, continuation in row.continuations.items():
                yield (row.question, c), [next(found) for _ in continuation]

    def _run(
        self,
        rows: Sequence[Tokens],
        cache: Any,  # noqa: ANN401
        places: Sequence[int],
    ) -> torch.Tensor:
        """The logits at some places of rows that follow the cache, padded on the right.

        The order of tokens is mask enough, and a mask would leave padded tokens with nothing to
        look at, which ends in NaN where a window slides. Positions follow from the cache's length.
        """
        device = self._network.device
        longest = max(len(row) for row in rows)
        # A row's own last token is no padding token, about which the network would ask for a mask.
        ids = torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows], device=device)
        logits: torch.Tensor = self._network(
            input_ids=ids,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=torch.tensor(places, device=device),
        ).logits
        return logits


def groups(prompts: Sequence[Tokens]) -> list[Group]:
    """The prompts sorted into groups, so that few tokens are computed in few batches.

    Each prompt keeps at least its last token for itself. Groups come in the order of their last
    members, so that what was computed last is what the next prompts are likely to begin with.
    """
    stems = [prompt[:-1] for prompt in prompts]
    order = sorted(range(len(stems)), key=stems.__getitem__)
    common = [_common(stems[a], stems[b]) for a, b in pairwise(order)]
    lengths = [len(stems[i]) for i in order]

    def plan(start: int, end: int, shared: int) -> tuple[int, list[Group]]:
        """What a stretch of the order costs beyond its shared tokens, in tokens, and its groups."""
        cuts = [i + 1 for i in range(start, end - 1) if common[i] == shared]
        cost, found, rest = 0, [], []
        for a, b in pairwise([start, *cuts, end]):
            here = sum(lengths[a:b]) - (b - a) * shared
            if b - a > 1:
                deeper = min(common[a : b - 1])
                inner, inside = plan(a, b, deeper)
                apart = STEP + deeper - shared + inner
                if apart < here:
                    cost += apart
                    found += inside
                    continue
            cost += here
            rest += order[a:b]
        return cost, [*found, Group(sorted(rest), shared)] if rest else found

    if not prompts:
        return []
    _, found = plan(0, len(order), min(common, default=lengths[0]))
    return sorted(found, key=lambda group: max(group.members))


def _rows(i: int, question: Question) -> Iterator[_Row]:
    """The rows that a question takes: one where all its continuations are single tokens."""
    left = dict(enumerate(question.continuations))
    # In this order a head comes after those that begin with it, and is read on the way to them.
    for head in sorted({c[:-1] for c in question.continuations}, reverse=True):
        mine = {c: tokens for c, tokens in left.items() if head[: len(tokens) - 1] == tokens[:-1]}
        left = {c: tokens for c, tokens in left.items() if c not in mine}
        if mine:
            yield _Row(i, question.prompt + head, len(question.prompt) - 1, mine)


def _common(a: Tokens, b: Tokens) -> int:
    """How many tokens two sequences begin with alike."""
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)


def _can_be_cut(network: Any) -> bool:  # noqa: ANN401
    """Whether what the network keeps of a text holds what it keeps of the text's beginning."""
    kinds = getattr(network.config.get_text_config(), "layer_types", None) or []
    return not network._is_stateful and set(kinds) <= PLAIN
