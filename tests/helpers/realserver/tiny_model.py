"""A small Llama with random weights, as a folder that vLLM reads and a GGUF that llama.cpp reads.

The weights come from a seed, so the model knows nothing; what is real is everything around it: the
tokenizer, the chat template, the servers and their log-probabilities. Making both takes seconds.

    python tiny_model.py OUT_DIR [--gguf FILE] [--seed 0] [--corpus FILE] [--spread 0.3]

Needs `torch`, `transformers`, `tokenizers` and `gguf`.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from to_gguf import LLAMA_SPLIT, convert

CONTEXT = 4096
VOCABULARY = 4096
HIDDEN, LAYERS, HEADS, KV_HEADS = 192, 4, 6, 3  # head_dim 32: vLLM's CPU attention refuses 16
SPREAD = 0.3  # initializer_range: log-odds between labels of about ±6; 0.1 gives about ±2

BOS, EOS = "<|begin|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
SPECIAL = (BOS, EOS, *ROLES)

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)

# Each becomes one token, both bare ("True") and, the digits excepted, after a space (" True").
LABELS = (
    *("A", "B", "C", "D", "E", "True", "False", "Yes", "No", "true", "false", "yes", "no"),
    *("Correct", "Incorrect", "correct", "incorrect", "Right", "Wrong", "right", "wrong"),
    *("Valid", "Invalid", "Positive", "Negative", "positive", "negative", "0", "1", "2", "3"),
    *("Так", "Ні"),  # several bytes to a letter
)
CSV_COLUMNS = ("Question", "Best Answer", "Best Incorrect Answer")


# The words of the synthetic corpus.
THINGS = ("river", "baker", "lamp", "engine", "garden", "teacher", "bridge", "violin", "forest")
VERBS = ("needs", "carries", "follows", "repairs", "hides", "measures", "becomes", "explains")
QUALITIES = ("small", "old", "quiet", "bright", "heavy", "distant", "careful", "broken", "famous")
PLACES = ("in the north", "near the sea", "after the war", "before noon", "under the town")


def synthetic_lines(seed: int, count: int = 3000) -> Iterator[str]:
    """Plain English sentences made from small word lists, the same ones for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        first, second = draw.sample(THINGS, 2)
        fact = (
            f"the {draw.choice(QUALITIES)} {first} {draw.choice(VERBS)} "
            f"a {draw.choice(QUALITIES)} {second} {draw.choice(PLACES)}"
        )
        yield f"Is it true that {fact}, and for how many of its {draw.randint(2, 2000)} days?"
        yield f"{fact.capitalize()}."


def read_corpus(path: Path) -> list[str]:
    """The texts of a file, ready for training a tokenizer on.

    The three claim columns of a TruthfulQA-like CSV, all cells of another CSV, or the lines of
    anything else.
    """
    if path.suffix != ".csv":
        return path.read_text(encoding="utf-8").splitlines()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = CSV_COLUMNS if rows and set(CSV_COLUMNS) <= rows[0].keys() else None
    return [row[name] for row in rows for name in (wanted or row)]


def training_texts(lines: Iterable[str]) -> Iterator[str]:
    """The lines, each also set into the kinds of frame that prompts use, with every label name."""
    for number, line in enumerate(lines):
        label = LABELS[number % len(LABELS)]
        yield line
        yield f"Question: {line}\nClaim: {line}\nAnswer: {line}\nLabel: {label}\n\n{label}\n"
        yield f"Statement: {line}\nIs this claim true or false? {label}, {label}\n{label}"


def make_folder(
    folder: Path, lines: Iterable[str] | None = None, seed: int = 0, spread: float = SPREAD
) -> Path:
    """A model folder (configuration, safetensors, tokenizer, chat template) written to `folder`."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE(ignore_merges=True))  # "llama-bpe" too takes whole known words first
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(training_texts(lines or synthetic_lines(seed)), trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS} $B",
        special_tokens=[(BOS, bpe.token_to_id(BOS))],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        additional_special_tokens=list(ROLES),
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    tokenizer.chat_template = CHAT_TEMPLATE

    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=2 * HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            max_position_embeddings=CONTEXT,
            initializer_range=spread,
            tie_word_embeddings=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Makes a small Llama with random weights.")
    parser.add_argument("out_dir", type=Path, help="folder to write the model to")
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="also write this GGUF file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--corpus", type=Path, metavar="FILE", help="CSV or text that the tokenizer is trained on"
    )
    parser.add_argument(
        "--spread", type=float, default=SPREAD, help="standard deviation of the weights"
    )
    options = parser.parse_args()
    lines = read_corpus(options.corpus) if options.corpus else None
    print(make_folder(options.out_dir, lines, options.seed, options.spread))
    if options.gguf:
        print(convert(options.out_dir, options.gguf))


if __name__ == "__main__":
    main()
