"""llm-compressor's masks on a model folder, run by its own Python: FOLDER WINDOWS OUT METHOD
STRUCTURE.

WINDOWS holds ``windows`` [N, T], the calibration text as token ids. Prints the seconds that the
masking took.
"""

import json
import sys
import time

import torch
from llmcompressor import oneshot
from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM

MODIFIERS = {"sparsegpt": SparseGPTModifier, "wanda": WandaPruningModifier}
BATCH = 4


def main(folder: str, windows: str, out: str, method: str, structure: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False
    )
    ids = load_file(windows)["windows"].long()
    rows = [{"input_ids": row, "attention_mask": torch.ones_like(row)} for row in ids]
    recipe = MODIFIERS[method](
        sparsity=0.5, mask_structure=structure, targets=["Linear"], ignore=["re:.*lm_head"]
    )
    start = time.perf_counter()
    oneshot(
        model=model,
        dataset=DataLoader(rows, batch_size=BATCH),
        recipe=recipe,
        num_calibration_samples=len(ids),
    )
    seconds = time.perf_counter() - start
    model.save_pretrained(out)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
