"""A model through lm-evaluation-harness (EleutherAI): its tasks, its prompts, its standard
errors.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Collection
from pathlib import Path

from torch import nn

from birdbone.errors import ConfigError, TextError
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import read_tokenizer, resolve_device
from birdbone.model.network import build
from birdbone.text.benchmarks import TaskOptions, local_task

log = logging.getLogger("birdbone")

HEADLINES = ("acc", "exact_match")
"""Metrics that a task may be guarded by, the first that it has: shares of the questions answered
rightly.
"""


def evaluate(
    name: str,
    checkpoint: Checkpoint,
    tokenizer_folder: Path,
    tasks: list[str],
    options: TaskOptions,
    device: str,
    random_seed: int,
) -> dict[str, dict[str, float]]:
    """Task -> metric -> value of a checkpoint; ``name`` is what the log calls it.

    tasks: keys of ``options.files``, or names that the harness knows.
    """
    own = options.files
    measured = run_tasks(
        build(checkpoint, resolve_device(device)),
        read_tokenizer(tokenizer_folder),
        [local_task(task, own[task]) if task in own else task for task in tasks],
        options.few_shot,
        options.limit,
        options.batch,
        random_seed,
    )
    for task, figures in measured.items():
        log.info("%s on %s: %s", name, task, _in_words(figures))
    return measured


def guarded(
    name: str,
    checkpoint: Checkpoint,
    tokenizer_folder: Path,
    watched: dict,
    device: str,
    random_seed: int,
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """(figures, lost) of a checkpoint on the tasks that the guard watches; both empty where it
    watches none.

    watched: ``seed`` (task -> metric -> value), ``allowed`` (task -> share of the questions) and
    ``settings``, those of ``TaskOptions``. lost: task -> how far it lies below the seed, of those
    that fell by more than allowed.
    """
    if not watched:
        return {}, {}
    allowed = watched["allowed"]
    options = TaskOptions(**watched["settings"])
    figures = evaluate(name, checkpoint, tokenizer_folder, list(allowed), options, device, random_seed)
    return figures, fallen(watched["seed"], figures, allowed)


def fallen(seed: dict, figures: dict, allowed: dict[str, float]) -> dict[str, float]:
    """Task -> how far its headline lies below the seed's, of those that fell by more than
    ``allowed``.

    seed, figures: task -> metric -> value. Raises ConfigError for a task that has none of
    HEADLINES.
    """
    lost = {}
    for task, most in allowed.items():
        metric = next((m for m in HEADLINES if m in seed[task]), None)
        if metric is None:
            raise ConfigError(f"parameter guard.tasks.{task}: the task has no {' or '.join(HEADLINES)} to go by")
        fall = seed[task][metric] - figures[task][metric]
        if not fall <= most:
            lost[task] = fall
    return lost


def _in_words(figures: dict[str, float]) -> str:
    """``acc 0.412 ± 0.010, acc_norm …, 2376 questions``."""
    values = [n for n in figures if n != "samples" and not n.endswith("_stderr")]
    parts = [f"{n} {figures[n]:.3f}" + (f" ± {e:.3f}" if (e := figures.get(f"{n}_stderr")) else "") for n in values]
    return ", ".join([*parts, f"{figures['samples']} questions"])


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

    tasks: names the harness knows (their data come from the hub) or configurations (see
    ``text.benchmarks``). limit: questions per task. Raises ConfigError where the harness is not
    installed, TextError naming a task that it does not know; a hub that gives no data raises the
    harness's own errors.
    """
    manager = _known_tasks([t for t in tasks if isinstance(t, str)])
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    outcome = simple_evaluate(
        model=HFLM(pretrained=network, tokenizer=tokenizer, batch_size=batch, trust_remote_code=False),
        tasks=tasks,
        num_fewshot=few_shot,
        limit=limit,
        random_seed=random_seed,
        numpy_random_seed=random_seed,
        torch_random_seed=random_seed,
        fewshot_random_seed=random_seed,
        log_samples=False,
        task_manager=manager,
    )
    return {
        task: {**_plain(figures), "samples": outcome["n-samples"].get(task, {}).get("effective", 0)}
        for task, figures in outcome["results"].items()
    }


def check_tasks(tasks: list[str], files: Collection[str]) -> None:
    """Raises ConfigError where tasks are asked for and the harness is not installed, TextError
    naming one that it does not know; those in ``files`` are the user's own.
    """
    if tasks:
        _known_tasks([t for t in tasks if t not in files])


def _known_tasks(named: list[str]):
    """The harness's registry, which holds every task in ``named``."""
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError("benchmark tasks need lm-evaluation-harness: pip install 'birdbone[evaluate]'")
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_defaults=bool(named))  # reading its thousands of tasks takes seconds
    if unknown := [t for t in named if t not in manager.all_tasks]:
        raise TextError(
            f"parameter evaluate.tasks or guard.tasks: lm-evaluation-harness knows no task {', '.join(unknown)}"
        )
    return manager


def _plain(figures: dict) -> dict[str, float]:
    """``acc,none`` -> ``acc``; metrics alone, which are named with their filter."""
    return {n.split(",")[0]: value for n, value in figures.items() if "," in n and isinstance(value, int | float)}
