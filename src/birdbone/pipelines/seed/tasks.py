"""The untouched model on the benchmark tasks that the guard watches."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from birdbone.datasets.atomic import file_digest
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.harness import evaluate, fallen
from birdbone.pipelines.evaluate.settings import EvaluateSettings


def measure_tasks(
    seed: Checkpoint,
    tokenizer_folder: Path,
    allowed: dict[str, float],
    settings: EvaluateSettings,
    device: str,
    random_seed: int,
) -> dict:
    """The seed's figures as ``harness.guarded`` takes them; empty where the guard has no task."""
    if not allowed:
        return {}
    options = settings.options
    files = {name: file for name, file in options.files.items() if name in allowed}
    options = replace(options, files=files)
    figures = evaluate("seed", seed, tokenizer_folder, list(allowed), options, device, random_seed)
    fallen(figures, figures, allowed)
    # The guards get the files through these options alone: new questions must be a new input.
    paths = [
        file[part] for file in files.values() for part in ("test", "examples") if file.get(part)
    ]
    digests = {path: file_digest(Path(path).expanduser()) for path in paths}
    return {"allowed": allowed, "settings": asdict(options), "files": digests, "seed": figures}
