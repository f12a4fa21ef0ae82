"""The files of a model in this process: where they are, what they are called, how they are read.

They are a folder as `transformers` writes it, one GGUF file, or come from the hub. No code of
theirs is run: none of their own, and none in pickled weights.
"""

from __future__ import annotations

import hashlib
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from consilience.errors import InputError, MissingExtra

LOADED = (
    *("*.safetensors", "config.json", "chat_template*", "*.model"),
    *("tokenizer*", "special_tokens*", "added_tokens*", "vocab*", "merges*", "*.tiktoken"),
)
"""The files of a folder that decide what its model answers."""

POCKET = Path(__file__).parents[1] / "datasets" / "pocket_world" / "model"
"""The folder of the model that comes with the package, ``local:pocket``."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A folder or a name on the hub with its revision there, or a GGUF file in a folder.

    `called` is the name of the model, which ends in a fingerprint of what decides its answers.
    """

    source: str
    called: str
    revision: str | None = None
    gguf: str | None = None

    @property
    def shown(self) -> str:
        """Where they are, as messages say it."""
        return str(Path(self.source, self.gguf)) if self.gguf else self.source


def find_model(name: str) -> ModelFiles:
    """The files of a model by its folder, its GGUF file, or its name on the hub.

    ``pocket`` is the model in this package. InputError where there is none; MissingExtra for a GGUF
    file that cannot be read here.
    """
    place = POCKET if name == "pocket" else Path(name).expanduser()
    if place.is_file() and place.suffix.lower() == ".gguf":
        return _gguf(place)
    if place.is_dir():
        if not (place / "config.json").is_file():
            if len(alone := list(place.glob("*.gguf"))) == 1:
                return _gguf(alone[0])
            raise InputError(f"no model in the folder {name}: it has no config.json")
        # The folder's last name alone: the same weights elsewhere are the same model.
        called = name if name == "pocket" else place.resolve().name
        return ModelFiles(str(place), f"{called}@{_fingerprint(place)}")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"no model at {name}: there is no such folder, and no such GGUF file")
    from huggingface_hub import hf_hub_download

    try:
        config = hf_hub_download(name, "config.json")
    except (OSError, ValueError) as error:
        raise InputError(
            f"no model {name!r}: there is no such folder, and the hub said: {first_line(error)}; "
            "check the name and the network, or give a folder"
        ) from error
    revision = Path(config).parent.name
    return ModelFiles(name, f"{name}@{revision[:12]}", revision)


def _gguf(file: Path) -> ModelFiles:
    if find_spec("gguf") is None:
        raise MissingExtra(f"the model {file}", "gguf")
    with file.open("rb") as opened:
        mark = hashlib.file_digest(opened, "sha256").hexdigest()[:12]
    return ModelFiles(str(file.parent), f"{file.resolve().stem}@{mark}", gguf=file.name)


def _fingerprint(folder: Path) -> str:
    """The beginning of a hash of all files that decide what the model answers."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in LOADED for file in folder.glob(pattern)}):
        if file.is_file():
            with file.open("rb") as opened:
                digest.update(
                    f"{file.name}\n{hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode()
                )
    return digest.hexdigest()[:12]


def load_model(files: ModelFiles, dtype: str) -> tuple[Any, Any]:
    """The network and the tokenizer; InputError in one line, also where weights are missing."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    bars, said = logging.is_progress_bar_enabled(), logging.get_verbosity()
    # What it warns of quotes the folder's files as they are; what matters is refused below.
    logging.set_verbosity_error()
    if not files.revision:
        logging.disable_progress_bar()  # reading a folder is no download
    where: dict[str, Any] = {"trust_remote_code": False, "use_safetensors": True}
    where |= {"revision": files.revision} if files.revision else {"local_files_only": True}
    where |= {"gguf_file": files.gguf} if files.gguf else {}
    # Bars that nothing switches off are drawn where a GGUF file is unpacked.
    quiet = redirect_stderr(StringIO()) if files.gguf else nullcontext()
    try:
        with quiet:
            tokenizer = AutoTokenizer.from_pretrained(files.source, **where)
            network, report = AutoModelForCausalLM.from_pretrained(
                files.source, dtype=dtype, output_loading_info=True, **where, **_unpacked(files)
            )
    except MemoryError:
        raise
    # `tokenizers`, written in Rust, raises a bare `Exception` for a file that it cannot read; only
    # the two calls that read the user's files are inside.
    except Exception as error:
        raise InputError(f"cannot load the model {files.shown}: {first_line(error)}") from error
    finally:
        logging.set_verbosity(said)
        if bars:
            logging.enable_progress_bar()
    if missing := sorted(report["missing_keys"]):
        # They would be drawn at random, and the model would answer all the same.
        raise InputError(
            f"cannot load the model {files.shown}: its files lack {len(missing)} weights "
            f"({missing[0]}, …); is it a causal language model, and whole?"
        )
    return network, tokenizer


def _unpacked(files: ModelFiles) -> dict[str, Any]:
    """The option by which the weights of a GGUF file become plain ones, whatever is installed."""
    import transformers

    if files.gguf is None or not hasattr(transformers, "GgufConfig"):
        return {}
    return {"quantization_config": transformers.GgufConfig(dequantize=True)}


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
