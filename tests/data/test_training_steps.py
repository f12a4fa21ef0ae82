"""A trainer of TRL takes a step on what is exported, on a model in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import consilience as cs
from consilience.data.training import training_records, write_training
from consilience.results.training_rows import rows_to_train_on

POCKET = Path(cs.__file__).parent / "datasets" / "pocket_world" / "model"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the trainers and of torch, about this machine
@pytest.mark.parametrize("form", ["sft", "dpo", "reward"])
def test_a_trainer_takes_a_step_on_a_file(form: str, tmp_path: Path) -> None:
    # Loading them takes seconds, and this test is mostly not run.
    import datasets
    import transformers
    import trl

    data, _ = cs.load_dataset("easy", groups=40)
    found = cs.elicit(data, cs.open_model("simulated:easy"), calls_per_example=4)
    write_training(training_records(rows_to_train_on(found), form), tmp_path / "train.jsonl")
    rows = datasets.load_dataset(
        "json", data_files=str(tmp_path / "train.jsonl"), cache_dir=str(tmp_path / "cache")
    )["train"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(POCKET)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    asked: dict[str, Any] = {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    kinds = {
        "sft": (transformers.AutoModelForCausalLM, trl.SFTConfig, trl.SFTTrainer),
        "dpo": (transformers.AutoModelForCausalLM, trl.DPOConfig, trl.DPOTrainer),
        "reward": (
            transformers.AutoModelForSequenceClassification,
            trl.RewardConfig,
            trl.RewardTrainer,
        ),
    }
    loader, config, trainer = kinds[form]
    model = loader.from_pretrained(POCKET, **({"num_labels": 1} if form == "reward" else {}))
    model.config.pad_token_id = tokenizer.pad_token_id
    made = trainer(
        model=model, args=config(**asked), train_dataset=rows, processing_class=tokenizer
    )
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    loss = made.train().training_loss
    assert 0 < loss < 50
    assert any(not value.equal(before[name]) for name, value in made.model.named_parameters()), (
        "nothing was trained"
    )
