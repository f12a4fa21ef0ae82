"""vLLM in this process: the engine of a local model where there is a graphics card.

Every place at which a token of a label is read is one request for one token, whose listed
log-probabilities are those of the tokens wanted there and no others (`logprob_token_ids`). vLLM
schedules them, and keeps the keys and values of beginnings that they share.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from consilience.errors import InputError, ModelError
from consilience.models.greedy import BLANK
from consilience.models.local_files import ModelFiles, first_line
from consilience.models.prefix import Question, Score, Tokens

MOST_IDS = 128
"""vLLM gives the log-probabilities of at most so many tokens in one request."""

OURS = ("model", "tokenizer", "revision", "dtype", "trust_remote_code", "load_format")
"""Arguments of `vllm.LLM` that are set here, and not by whoever opens a model."""


class VllmEngine:
    """An opened `vllm.LLM`, asked for the log-probabilities of continuations."""

    def __init__(self, llm: Any, tokenizer: Any) -> None:  # noqa: ANN401
        self._llm = llm
        self._tokenizer = tokenizer
        config = llm.llm_engine.model_config
        self.dtype = str(config.dtype).removeprefix("torch.")
        self.longest: int | None = config.max_model_len

    def score(self, questions: Sequence[Question]) -> list[Score]:
        """One score per question, in their order."""
        from vllm import SamplingParams

        wanted: dict[Tokens, dict[int, None]] = {}
        for question in questions:
            for before, token in _places(question):
                wanted.setdefault(before, {})[token] = None
        asked = [
            (before, ids)
            for before, tokens in wanted.items()
            for ids in _portions(list(tokens), MOST_IDS)
        ]
        params = [
            SamplingParams(
                max_tokens=1, logprobs=len(ids), logprob_token_ids=list(ids), detokenize=False
            )
            for _, ids in asked
        ]
        made = self._generate([before for before, _ in asked], params)
        found = {
            (before, token): output.outputs[0].logprobs[0][token].logprob
            for (before, ids), output in zip(asked, made, strict=True)
            for token in ids
        }
        outputs = zip(asked, made, strict=True)
        cached = {before: out.num_cached_tokens or 0 for (before, _), out in outputs}
        scores = []
        for question in questions:
            each = iter([found[place] for place in _places(question)])
            logprobs = [[next(each) for _ in tokens] for tokens in question.continuations]
            scores.append(Score(logprobs, cached[question.prompt]))
        return scores

    def write(self, prompt: Tokens, max_tokens: int) -> tuple[list[int], str]:
        """The tokens that the model most likely writes next, and their text to a blank line."""
        from vllm import SamplingParams

        params = SamplingParams(temperature=0, max_tokens=max_tokens, stop=[BLANK])
        [output] = self._generate([prompt], [params])
        tokens = list(output.outputs[0].token_ids)
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return tokens, text.partition(BLANK)[0]

    def forget(self) -> None:
        """Frees the keys and values of earlier prompts."""
        self._llm.reset_prefix_cache()

    def _generate(self, prompts: Sequence[Tokens], params: Sequence[Any]) -> list[Any]:
        from vllm import TokensPrompt

        asked = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
        try:
            return list(self._llm.generate(asked, list(params), use_tqdm=False))
        except ValueError as error:  # a request that vLLM refuses
            raise ModelError(f"vLLM refused what it was asked: {first_line(error)}") from error


def _portions(ids: Sequence[int], most: int) -> list[Sequence[int]]:
    """The same ids in parts of at most so many."""
    return [ids[at : at + most] for at in range(0, len(ids), most)]


def _places(question: Question) -> list[tuple[Tokens, int]]:
    """What stands before each token of each continuation, and the token."""
    return [
        (question.prompt + tokens[:at], token)
        for tokens in question.continuations
        for at, token in enumerate(tokens)
    ]


def open_vllm(
    files: ModelFiles, dtype: str | None, options: Mapping[str, Any]
) -> tuple[VllmEngine, Any]:
    """The engine of a model's files and its tokenizer; `options` are arguments of `vllm.LLM`.

    InputError in one line where vLLM is not there or refuses. No code of the model is run, and
    weights are read from safetensors alone.
    """
    if ours := sorted(set(options) & set(OURS)):
        raise InputError(f"vLLM's {ours[0]} is set by the model's name and dtype; leave it out")
    if files.gguf:
        raise InputError(f"vLLM reads no GGUF file here; leave out the engine: {files.shown}")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        from vllm import LLM
    # vLLM pins the versions of half of what else is installed, so it is no extra of this package.
    except ImportError as error:
        raise InputError(
            "the engine vllm needs vLLM in this environment, and it cannot be imported: "
            f"{first_line(error)}; pip install vllm"
        ) from error
    given = {"enable_prefix_caching": True, "max_logprobs": MOST_IDS, **options}
    try:
        llm = LLM(
            model=files.source,
            revision=files.revision,
            dtype=dtype or "auto",
            trust_remote_code=False,
            load_format="safetensors",
            **given,
        )
    except MemoryError:
        raise
    # What it starts, reads and checks (processes, a folder, arguments) raises classes that share no
    # base but this; only the opening of what the user named is inside.
    except Exception as error:
        # A fault of an argument has its name in the first line, and what it is in the second.
        said = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
        why = said or type(error).__name__
        raise InputError(f"vLLM cannot open {files.shown}: {why}") from error
    tokenizer = llm.get_tokenizer()
    return VllmEngine(llm, tokenizer), tokenizer
