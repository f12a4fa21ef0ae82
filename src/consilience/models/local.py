"""A causal language model in this process, asked for whole labels.

Requests that arrive in one turn of the event loop are scored together, so that many workers fill a
batch and a single one is plain serial. What computes is an engine: `transformers` with prefixes of
our own (`models.prefix`), or vLLM (`models.vllm_engine`). A label may be several tokens: its
log-probability is that of all of them after the prompt. As on a server, a label's declared
variants that are one token each count for it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol, get_args

import torch

from consilience.errors import AnswerError, InputError, MissingExtra, ModelError
from consilience.models.base import Answer, Completion, Request
from consilience.models.capabilities import Api
from consilience.models.greedy import BLANK, greedy
from consilience.models.label_logprobs import spellings
from consilience.models.local_files import ModelFiles, find_model, first_line, load_model
from consilience.models.prefix import SMALL, Question, Score, Scorer, Tokens
from consilience.prompts.framing import Prompt, Style

DECIMALS = 6
"""Digits of a log-probability that are kept: in 32 bits, those that do not hang on the batch."""

DTYPES = ("float64", "float32", "bfloat16", "float16")


EngineName = Literal["transformers", "vllm"]


class Engine(Protocol):
    """What computes: a dtype, the most tokens of a prompt and its label, and these three."""

    dtype: str
    longest: int | None

    def score(self, questions: Sequence[Question]) -> list[Score]:
        """One score per question, in their order."""
        ...

    def write(self, prompt: Tokens, max_tokens: int) -> tuple[list[int], str]:
        """The tokens that the model most likely writes next, and their text to a blank line."""
        ...

    def forget(self) -> None:
        """Frees the keys and values that are kept."""
        ...


class TransformersEngine:
    """A network of `transformers` and its tokenizer."""

    def __init__(
        self,
        network: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        *,
        batch: int = 32,
        reuse: bool = True,
    ) -> None:
        self.dtype = str(network.dtype).removeprefix("torch.")
        text = network.config.get_text_config()
        self.longest: int | None = getattr(text, "max_position_embeddings", None)
        self.network, self._tokenizer = network, tokenizer
        scorer = Scorer(network, batch=batch, reuse=reuse)
        self.score, self.forget = scorer.score, scorer.forget

    def write(self, prompt: Tokens, max_tokens: int) -> tuple[list[int], str]:
        """The tokens that the model most likely writes next, and their text to a blank line."""
        return greedy(self.network, self._tokenizer, prompt, max_tokens)


class LocalModel:
    """An engine and the tokenizer of its model, asked in one of the ways that servers offer.

    `name` ends in a fingerprint of the weights. `settings` hold what changes answers; `batch` and
    the device move them by rounding alone, which is why answers are rounded. `context` is how many
    tokens it reads at most, None where it does not say.
    """

    whole_labels = True
    """Labels that begin alike are told apart, for all their tokens are read."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        tokenizer: Any,  # noqa: ANN401
        api: Api,
        kind: EngineName = "transformers",
    ) -> None:
        self.name = name
        self.style: Style = "chat" if api == "chat" else "text"
        self.settings: Mapping[str, Any] = {
            "api": api,
            "style": self.style,
            "dtype": engine.dtype,
        }
        if kind != "transformers":
            self.settings = {**self.settings, "engine": kind}
        self.writing: Mapping[str, Any] = {**self.settings, "temperature": 0, "stop": BLANK}
        self._engine = engine
        self._tokenizer = tokenizer
        self.context: int | None = engine.longest
        self._gap = _chat_gap(tokenizer) if api == "chat" else " "
        self._after = lru_cache(4096)(self._tokens_after)
        self._waiting: dict[object, Question] = {}
        self._scores: asyncio.Task[dict[object, Score]] | None = None

    async def ask(self, request: Request) -> Answer:
        """The answer to one request, exact for every label.

        ModelError if the prompt is too long; InputError if labels cannot be told apart.
        """
        spoken, question = self._question(request)
        self._check_length(_length(question), "the prompt and its label")
        return self._answer(request.label_names, spoken, question, await self._score(question))

    def tokens_of(self, request: Request) -> int:
        """How many tokens the prompt of a request and its longest label are."""
        return _length(self._question(request)[1])

    async def write(self, prompt: Prompt, max_tokens: int) -> Completion:
        """What the model writes next; ModelError if that may become too long for it."""
        ids = self._ids(self._text(prompt), special=self.style == "text")
        self._check_length(len(ids) + max_tokens, "the prompt and what is to be written")
        try:
            tokens, text = self._engine.write(ids, max_tokens)
        except RuntimeError as error:  # what PyTorch raises where memory runs out, on any device
            raise _explained(error) from error
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(tokens)}
        return Completion(text, usage=usage, raw={"tokens": tokens})

    async def close(self) -> None:
        """Frees the keys and values of the last prompt; the model may be asked again."""
        self._engine.forget()

    async def _score(self, question: Question) -> Score:
        """The score of one question, computed with those of all who ask meanwhile."""
        loop = asyncio.get_running_loop()
        # One of a loop that was interrupted never comes to an end.
        if self._scores is None or self._scores.get_loop() is not loop:
            self._waiting = {}
            # It begins when all that are ready to ask have asked.
            self._scores = loop.create_task(self._score_all(self._waiting))
        mine, waiting = object(), self._waiting
        waiting[mine] = question
        try:
            # Whoever gives up takes nothing from the others; what fails reaches all of them.
            return (await asyncio.shield(self._scores))[mine]
        finally:
            waiting.pop(mine, None)

    async def _score_all(self, waiting: Mapping[object, Question]) -> dict[object, Score]:
        """Everybody's score, computed here and now: there is nothing else to do meanwhile."""
        self._scores = None
        try:
            scores = self._engine.score(list(waiting.values()))
        except RuntimeError as error:  # what PyTorch raises where memory runs out, on any device
            raise _explained(error) from error
        return dict(zip(waiting, scores, strict=True))

    def _answer(
        self,
        names: Sequence[str],
        spoken: list[dict[str, Tokens]],
        question: Question,
        score: Score,
    ) -> Answer:
        each = iter(score.logprobs)
        parts = [{text: [round(v, DECIMALS) for v in next(each)] for text in own} for own in spoken]
        whole = [[math.fsum(values) for values in own.values()] for own in parts]
        if not all(math.isfinite(value) for values in whole for value in values):
            raise AnswerError(
                f"{self.name} gave a log-probability that is no number; "
                "half precision may have overflowed: open the model with dtype float32"
            )
        masses = [math.fsum(map(math.exp, values)) for values in whole]
        return Answer(
            tuple(round(min(0.0, math.log(mass)), DECIMALS) for mass in masses),
            (True,) * len(names),
            min(1.0, round(math.fsum(masses), DECIMALS)),
            usage={
                "prompt_tokens": len(question.prompt),
                "prompt_tokens_details": {"cached_tokens": score.cached},
            },
            raw={"labels": dict(zip(names, parts, strict=True))},
        )

    # ---- text becomes tokens --------------------------------------------------------------------

    def _question(self, request: Request) -> tuple[list[dict[str, Tokens]], Question]:
        """The texts that stand for each label, and the prompt with all of them, as tokens."""
        text = self._text(request.prompt)
        spoken = self._spoken(request.label_names, "\n" + text.rpartition("\n")[2])
        prompt = self._ids(text, special=self.style == "text")
        return spoken, Question(prompt, tuple(t for own in spoken for t in own.values()))

    def _text(self, prompt: Prompt) -> str:
        return prompt if isinstance(prompt, str) else _render(self._tokenizer, prompt)

    def _ids(self, text: str, special: bool = False) -> Tokens:
        return tuple(self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def _tokens_after(self, tail: str, text: str) -> Tokens:
        """What `text` adds after `tail`, the last line of a prompt; nothing if it cannot be told.

        Text that changes the tail's own tokens is read as at the start of a line: like a server,
        this model has read the prompt already.
        """
        for before in (tail, "\n"):
            head, both = self._ids(before), self._ids(before + text)
            added = both[len(head) :]
            if both[: len(head)] == head and added:
                return () if self._tokenizer.unk_token_id in added else added
        return ()

    def _spoken(self, names: Sequence[str], tail: str) -> list[dict[str, Tokens]]:
        """For each label the texts that stand for it, with their tokens; its own text first."""
        own = [self._gap + name for name in names]
        tokens = [self._after(tail, text) for text in own]
        for i, a in enumerate(tokens):
            if not a:
                raise InputError(
                    f"the tokenizer of {self.name} cannot write the label name {names[i]!r}; use "
                    "the framing `letters`"
                )
            for j, b in enumerate(tokens):
                if i != j and b[: len(a)] == a:
                    raise InputError(
                        f"the label names {names[i]!r} and {names[j]!r} cannot be told apart: for "
                        f"the tokenizer of {self.name} one is the other's beginning; use the "
                        "framing `letters`"
                    )
        claims = [
            {space + spelling for spelling in spellings(name) for space in (" ", "")}
            for name in names
        ]
        # What a label's own text begins with is counted there.
        taken = {a[0] for a in tokens}
        found = [{text: a} for text, a in zip(own, tokens, strict=True)]
        for c, mine in enumerate(claims):
            others = set().union(*claims[:c], *claims[c + 1 :])
            for text in sorted(mine - others - {own[c]}):
                variant = self._after(tail, text)
                if len(variant) == 1 and variant[0] not in taken:
                    found[c][text] = variant
                    taken.add(variant[0])
        return found

    def _check_length(self, longest: int, what: str) -> None:
        if self.context is not None and longest > self.context:
            raise ModelError(
                f"{what} are {longest:,} tokens, and {self.name} takes at most "
                f"{self.context:,}; show fewer shots (planning.shots), or shorten the row"
            )


def _length(question: Question) -> int:
    """The tokens of a prompt and its longest label; the last is only answered."""
    return len(question.prompt) + max(len(c) for c in question.continuations) - 1


def _render(tokenizer: Any, messages: Sequence[Mapping[str, str]], opens: bool = True) -> str:  # noqa: ANN401
    """The messages as the tokenizer's template writes them, up to where an assistant begins."""
    try:
        # The label is asked for at once; templates that know no thinking ignore the switch.
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=opens, enable_thinking=False
        )
    except MemoryError:
        raise
    # A template is a program of whoever made the model: in a sandbox, but it may fail in any way.
    except Exception as error:
        raise ModelError(
            f"the model's chat template refused the messages: {first_line(error)}; use the api "
            "completions",
            fatal=True,
        ) from error
    return text


def _chat_gap(tokenizer: Any) -> str:  # noqa: ANN401
    """What the template puts between the assistant's opening and what the assistant says."""
    asked = [{"role": "user", "content": "Which?"}]
    opened = _render(tokenizer, asked)
    said = _render(tokenizer, [*asked, {"role": "assistant", "content": "This."}], opens=False)
    gap, found, _ = said.removeprefix(opened).partition("This.")
    return gap if said.startswith(opened) and found and not gap.strip() else ""


def _explained(error: Exception) -> Exception:
    """The error itself, or where memory ran out, what to do about it."""
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return ModelError(
            "the model ran out of memory; open it with a smaller batch (--set "
            "model.local.batch=8), or show fewer shots (planning.shots)",
            fatal=True,
        )
    return error


# ---- opening --------------------------------------------------------------------------------


def open_local(
    name: str,
    *,
    api: Literal["auto"] | Api = "auto",
    device: str = "auto",
    dtype: str | None = None,
    batch: int = 32,
    reuse: bool = True,
    engine: EngineName = "transformers",
    vllm: Mapping[str, Any] | None = None,
) -> LocalModel:
    """The model in a folder, in a GGUF file, or of that name on the hub; see `find_model`.

    `api` says how it is asked: ``completions`` (one text, also by ``auto``, as a server that offers
    both would be) or ``chat`` (by its template, the label as the beginning of the answer). `device`
    ``auto`` is the graphics card where there is one. `dtype` is that of the weights' file, on a CPU
    float32, or for a model that is not `SMALL` bfloat16 where the processor computes in it; with
    ``float64`` an answer is the same to the last digit in every batch. `batch` is how many
    sequences are computed at once at most, `reuse` whether shared prefixes are computed once.
    `engine` ``vllm`` is vLLM, which chooses these three itself; `vllm` holds arguments of
    `vllm.LLM`.
    """
    if api not in ("auto", "completions", "chat"):
        raise InputError(f"api is auto, completions or chat, got {api!r}")
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"no dtype {dtype!r}; use one of {', '.join(DTYPES)}")
    if engine not in get_args(EngineName):
        raise InputError(f"no engine {engine!r}; use transformers or vllm")
    if engine == "transformers" and vllm is not None:
        raise InputError("model.local.vllm is for the engine vllm; set model.local.engine=vllm")
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtra("a model in this process", "local") from error
    files = find_model(name)
    computes: Engine
    if engine == "vllm":
        from consilience.models.vllm_engine import open_vllm

        computes, tokenizer = open_vllm(files, dtype, vllm or {})
    else:
        where = _device(device)
        network, tokenizer = _loaded(files, dtype, where)
        network = network.to(where).eval()
        computes = TransformersEngine(network, tokenizer, batch=batch, reuse=reuse)
    if api == "chat" and not tokenizer.chat_template:
        raise InputError(f"the model {name!r} has no chat template; use the api completions")
    asked: Api = "chat" if api == "chat" else "completions"
    return LocalModel(f"local:{files.called}", computes, tokenizer, asked, engine)


def _loaded(files: ModelFiles, dtype: str | None, device: torch.device) -> tuple[Any, Any]:
    """The network and the tokenizer, in the usual dtype where none is asked for."""
    chosen = dtype or _usual(device)
    network, tokenizer = load_model(files, chosen)
    # How large it is shows here; read so, a large model never takes the memory of 32 bits.
    if dtype is None and chosen == "bfloat16" and network.num_parameters() < SMALL:
        network, tokenizer = load_model(files, "float32")
    return network, tokenizer


def _usual(device: torch.device) -> str:
    """The dtype of large models on a device; `auto` is that of the weights' file."""
    if device.type != "cpu":
        return "auto"
    # What PyTorch may not have under these names is as good as absent.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return "bfloat16" if any(getattr(torch.cpu, name, bool)() for name in checks) else "float32"


def _device(name: str) -> torch.device:
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"the device {name!r} cannot be used here: {first_line(error)}; use auto or cpu"
        ) from error
