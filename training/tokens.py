"""The tokenizer: byte-level BPE over the world's text, so that nearly every word is one token."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from documents import CONCEPTS, Document, Recipe, document
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from consilience.datasets.pocket_world.world import vocabulary

SIZE = 1536
"""Tokens at most: 256 bytes, the special ones, and merges."""

SPECIAL = ("<|pad|>", "<|bos|>", "<|eos|>")

CHAT = (
    "{% for message in messages %}"
    "{% if not loop.first %}{{ '\n\n' if message['role'] == 'user' else ' ' }}{% endif %}"
    "{{ message['content'] }}"
    "{% endfor %}"
)
"""A chat is read as the same text that a completion would be: no marks for the roles."""


def _text() -> Iterator[str]:
    rng = random.Random(0)
    flat = Recipe(concepts=(1,) * len(CONCEPTS), topics=0.2, attributes=0.2, misbelieved=1.0)
    # Twice, so that a word which occurs in one sentence only is merged all the same.
    for _ in range(2):
        yield from (f" {line}. " for line in vocabulary())
    for _ in range(3000):
        yield document(rng, flat, 8).text


def build() -> PreTrainedTokenizerFast:
    """The tokenizer, trained on the world; the same on every machine."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_text(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        chat_template=CHAT,
        model_max_length=1024,
    )


def load(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a model's folder."""
    return PreTrainedTokenizerFast.from_pretrained(folder)


class Encoder:
    """Token ids of documents, with the ids of pieces that were seen before kept."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._backend = tokenizer.backend_tokenizer
        self.bos: int = tokenizer.bos_token_id
        self._known: dict[str, list[int]] = {}

    def piece(self, text: str) -> list[int]:
        """The ids of a piece; pieces end where the tokenizer splits anyway."""
        if text not in self._known:
            if len(self._known) > 200_000:
                self._known.clear()
            self._known[text] = self._backend.encode(text).ids
        return self._known[text]

    def __call__(self, document: Document, opened: bool = False) -> tuple[list[int], list[int]]:
        """The ids, and the positions of the tokens that are labels (all, where there are none).

        `opened` puts the token for a beginning first, as some servers do.
        """
        ids, labels = [self.bos] if opened else [], []
        wanted = set(document.labels)
        for i, piece in enumerate(document.pieces):
            if i in wanted:
                labels.append(len(ids))
            ids += self.piece(piece)
        return ids, labels or list(range(1, len(ids)))
