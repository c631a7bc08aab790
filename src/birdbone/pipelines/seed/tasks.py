"""The untouched model on the benchmark tasks that the guard watches."""

from __future__ import annotations

from pathlib import Path

from birdbone.datasets.atomic import file_digest
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.harness import evaluate, fallen


def measure_tasks(
    seed: Checkpoint, tokenizer_folder: Path, allowed: dict[str, float], settings: dict, device: str, random_seed: int
) -> dict:
    """The benchmark tasks that the guard watches, as ``harness.guarded`` takes them; nothing where it watches none."""
    if not allowed:
        return {}
    files = {n: about for n, about in settings["files"].items() if n in allowed}
    asked = {**{k: settings[k] for k in ("few_shot", "limit", "batch")}, "files": files}
    found = evaluate("seed", seed, tokenizer_folder, list(allowed), asked, device, random_seed)
    fallen(found, found, allowed)
    # The guards get the files through these settings alone: other questions are another input to them.
    read = {
        p: file_digest(Path(p).expanduser()) for f in files.values() for k in ("test", "examples") if (p := f.get(k))
    }
    return {"allowed": allowed, "settings": asked, "files": read, "seed": found}
