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
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from consilience.errors import InputError
from consilience.models.threads import given_threads, one_thread

Tokens = tuple[int, ...]

_Pair = tuple[int, int]
"""A row of a batch, and a place in it."""

SMALL = 10_000_000
"""Parameters below which a network on the CPU is asked in one thread: what takes little time need
not wait for busy cores, with which two threads are slower than one (docs/local.md)."""

STEP = 100
"""What one more batch costs besides the tokens in it, counted in tokens."""

SCORES = 2**27
"""Scores of a layer's attention up to which all of them are held at once (256 MB in 16 bits)."""

_PLAIN = {"full_attention", "sliding_attention", "chunked_attention"}
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
        _attend_by_products(network)
        self._head = network.get_output_embeddings()
        self._batch = batch
        small = network.num_parameters() < SMALL and network.device.type == "cpu"
        self._threads = one_thread if small else given_threads
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
            self._run([prefix[n:]], cache, [(0, 0)])
            self._kept = (prefix, cache)
        # Rows of like length go together: less padding.
        ordered = sorted(rows, key=lambda row: len(row.tokens))
        values: dict[tuple[int, int], list[float]] = {}
        lengths = [len(row.tokens) - len(prefix) for row in ordered]
        # A card has room for padding, and each batch of its own costs it more.
        step = STEP if self._network.device.type == "cpu" else sum(lengths)
        for start, end in batches(lengths, self._batch, step):
            part = ordered[start:end]
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
            ((r, row.first - shared + step), token)
            for r, row in enumerate(rows)
            for continuation in row.continuations.values()
            for step, token in enumerate(continuation)
        ]
        pairs = {pair: n for n, pair in enumerate(dict.fromkeys(pair for pair, _ in wanted))}
        logits = self._run([row.tokens[shared:] for row in rows], cache, list(pairs))
        # Half precision cannot tell log-probabilities near zero apart.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        at = [(pairs[pair], token) for pair, token in wanted]
        n, token = torch.tensor(at, device=logits.device).unbind(1)
        found = iter((logits[n, token] - logits.logsumexp(-1)[n]).tolist())
        for row in rows:
            for c, continuation in row.continuations.items():
                yield (row.question, c), [next(found) for _ in continuation]

    def _run(
        self,
        rows: Sequence[Tokens],
        cache: Any,  # noqa: ANN401
        pairs: Sequence[_Pair],
    ) -> torch.Tensor:
        """The logits at pairs of row and place, one by one, of rows that follow the cache.

        Rows are padded on the right. The order of tokens is mask enough, and a mask would leave
        padded tokens with nothing to look at, which ends in NaN where a window slides. Positions
        follow from the cache's length.
        """
        device = self._network.device
        longest = max(len(row) for row in rows)
        # A row's own last token is no padding token, about which the network would ask for a mask.
        ids = torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows], device=device)
        r, p = torch.tensor(pairs, device=device).unbind(1)
        if self._head is not None:
            with _Gathered(self._head, tuple(ids.shape), r, p) as gathered:
                logits = self._logits(ids, cache, 0)
            if gathered.done and logits.shape[:2] == (1, len(pairs)):
                return logits[0]
            self._head = None  # the network does not read its head as others do
            if cache is not None:
                cache.crop(-longest)
        places, at = torch.unique(p, return_inverse=True)
        return self._logits(ids, cache, places)[r, at]

    def _logits(self, ids: torch.Tensor, cache: Any, keep: int | torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        """The network's logits for a batch on top of a cache, at some places or (0) at all."""
        logits: torch.Tensor = self._network(
            input_ids=ids,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=keep,
        ).logits
        return logits


class _Gathered:
    """A block in which a network's head sees chosen places of its rows alone, as one row.

    A batch ends at many places, and with hundreds of thousands of tokens the head is most of the
    work. What the network does to logits after its head stays. `done` says that it came to pass.
    """

    def __init__(
        self, head: torch.nn.Module, shape: tuple[int, ...], r: torch.Tensor, p: torch.Tensor
    ) -> None:
        self.done = False
        self._head, self._shape, self._at = head, shape, (r, p)

    def __enter__(self) -> _Gathered:
        self._hook = self._head.register_forward_pre_hook(self._gather)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()

    def _gather(self, _: torch.nn.Module, given: tuple[Any, ...]) -> torch.Tensor | None:
        hidden = given[0] if given else None
        if not isinstance(hidden, torch.Tensor) or tuple(hidden.shape[:-1]) != self._shape:
            return None
        self.done = True
        return hidden[self._at][None]


def products(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,  # noqa: ANN401
) -> tuple[torch.Tensor, None]:
    """Attention under a mask as two plain products, in `transformers`' form.

    In 16 bits on a CPU it takes half the time of PyTorch's own for short rows on a long prefix,
    and no key is copied for the heads that share it. The rest goes to PyTorch's own.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    rows, heads, n, d = query.shape
    kinds, length = key.shape[1:3]
    masked = attention_mask is not None and attention_mask.dtype == torch.bool
    odd = dropout or more.get("position_bias") is not None or more.get("softcap") is not None
    if not masked or odd or rows * heads * n * length > SCORES:
        found, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return found, None
    asked = (query * (d**-0.5 if scaling is None else scaling)).reshape(rows * kinds, -1, d)
    scores = (asked @ key.reshape(rows * kinds, length, d).mT).view(rows, heads, n, length)
    weights = scores.masked_fill_(~attention_mask, -torch.inf).softmax(-1)  # type: ignore[operator]
    found = weights.view(rows * kinds, -1, length) @ value.reshape(rows * kinds, length, -1)
    return found.view(rows, heads, n, -1).transpose(1, 2).contiguous(), None


def _attend_by_products(network: Any) -> None:  # noqa: ANN401
    """Gives a network `products` for its attention where they are faster, and it lets one choose.

    In 32 and 64 bits PyTorch's own is as fast, and on a card faster.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    half = network.device.type == "cpu" and network.dtype.itemsize == 2
    own = getattr(network.config, "_attn_implementation", None) == "sdpa"
    if half and own and getattr(network, "_supports_attention_backend", False):
        AttentionInterface.register("consilience", products)
        AttentionMaskInterface.register("consilience", sdpa_mask)
        network.set_attn_implementation("consilience")


def batches(lengths: Sequence[int], most: int, step: int) -> list[tuple[int, int]]:
    """Where to cut rows of ascending lengths into batches of so many at most, as (start, end).

    The cuts that cost least: a batch costs `step` and its padded tokens.
    """
    best: list[tuple[int, int]] = [(0, 0)]  # the cost of the first rows, and where the last begins
    for end, longest in enumerate(lengths, 1):
        starts = range(max(0, end - most), end)
        best.append(min((best[a][0] + step + (end - a) * longest, a) for a in starts))
    cuts = []
    end = len(lengths)
    while end:
        cuts.append((best[end][1], end))
        end = best[end][1]
    return cuts[::-1]


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
    return not network._is_stateful and set(kinds) <= _PLAIN
