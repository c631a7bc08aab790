"""A network through lm-evaluation-harness (EleutherAI): its tasks, its prompts, its standard errors."""

from __future__ import annotations

import importlib.util
import logging

from torch import nn

from birdbone.errors import ConfigError, TextError


def run_tasks(
    network: nn.Module,
    tokenizer,
    tasks: list[str | dict],
    few_shot: int | None = None,
    limit: int | None = None,
    batch: int = 4,
    random_seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Task -> metric -> value, ``<metric>_stderr`` beside it, and ``samples``.

    tasks: names the harness knows (their data come from the hub) or configurations (see ``text.benchmarks``).
    limit: questions per task. Raises ConfigError where the harness is not installed, TextError naming a task that
    it does not know; a hub that gives no data raises the harness's own errors.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError("benchmark tasks need lm-evaluation-harness: pip install 'birdbone[evaluate]'")
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    named = [t for t in tasks if isinstance(t, str)]
    known = TaskManager(include_defaults=bool(named))  # reading its thousands of tasks takes seconds
    if unknown := [t for t in named if t not in known.all_tasks]:
        raise TextError(f"parameter evaluate.tasks: lm-evaluation-harness knows no task {', '.join(unknown)}")
    found = simple_evaluate(
        model=HFLM(pretrained=network, tokenizer=tokenizer, batch_size=batch),
        tasks=tasks,
        num_fewshot=few_shot,
        limit=limit,
        random_seed=random_seed,
        numpy_random_seed=random_seed,
        torch_random_seed=random_seed,
        fewshot_random_seed=random_seed,
        log_samples=False,
        task_manager=known,
    )
    return {
        task: {**_plain(figures), "samples": found["n-samples"].get(task, {}).get("effective", 0)}
        for task, figures in found["results"].items()
    }


def _plain(figures: dict) -> dict[str, float]:
    """``acc,none`` -> ``acc``; metrics alone, which are named with their filter."""
    return {n.split(",")[0]: value for n, value in figures.items() if "," in n and isinstance(value, int | float)}
