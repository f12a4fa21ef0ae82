"""The same weights in this process: what a server should say, by one plain forward pass each."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from consilience.models.label_logprobs import FirstToken, Token, spellings
from consilience.prompts.framing import Prompt


class Reference:
    """A folder's network in float32 and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.network: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        ).eval()
        self.size: int = self.network.config.vocab_size
        self.longest: int = self.network.config.max_position_embeddings
        self._known: dict[tuple[int, ...], list[float]] = {}

    def ids(self, prompt: Prompt) -> list[int]:
        """The tokens of a prompt; messages go through the chat template."""
        if isinstance(prompt, str):
            found: list[int] = self.tokenizer(prompt)["input_ids"]
            return found
        open_ended = prompt[-1]["role"] == "assistant"
        text = self.tokenizer.apply_chat_template(
            prompt,
            tokenize=False,
            continue_final_message=open_ended,
            add_generation_prompt=not open_ended,
        )
        return self._plain(text)

    def logprobs(self, prompt: Prompt) -> list[float]:
        """The log-probability of every token of the vocabulary after a prompt."""
        ids = tuple(self.ids(prompt))
        if ids not in self._known:
            with torch.inference_mode():
                logits = self.network(torch.tensor([ids])).logits[0, -1]
            self._known[ids] = logits.double().log_softmax(-1).tolist()
        return self._known[ids]

    def first_token(self, name: str, tail: str, gap: str) -> FirstToken | None:
        """How a label name begins after the end of a prompt, as `consilience` defines it."""
        own = self._after(tail, gap + name)
        if own is None:
            return None
        variants = {space + spelling for spelling in spellings(name) for space in (" ", "")}
        each = [self._after(tail, variant) for variant in variants]
        whole = {ids[0] for ids in each if ids is not None and len(ids) == 1}
        return FirstToken(own[0], frozenset(whole | {own[0]}), whole=len(own) == 1)

    def id_of(self, token: Token) -> int | None:
        """The id of a listed token; None where its text does not tell it from others."""
        if token.id is not None:
            return token.id
        return self._by_text.get(token.text)

    @cached_property
    def texts(self) -> list[str]:
        """Every token as text."""
        return [self.tokenizer.decode([i]) for i in range(self.size)]

    @cached_property
    def _by_text(self) -> dict[str, int]:
        """The ids of texts that only one token can have, whatever a server does with half letters.

        Some write a replacement character for them, some leave them out, and some write the special
        tokens as nothing.
        """
        count = Counter(self.texts)
        count.update(t.replace("\ufffd", "") for t in self.texts if "\ufffd" in t)
        special = set(self.tokenizer.all_special_ids)
        return {
            text: i
            for i, text in enumerate(self.texts)
            if text and count[text] == 1 and "\ufffd" not in text and i not in special
        }

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _after(self, tail: str, text: str) -> list[int] | None:
        before, both = self._plain(tail), self._plain(tail + text)
        n = len(before)
        return both[n:] if both[:n] == before and len(both) > n else None
