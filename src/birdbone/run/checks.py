"""What can be known before a run computes anything: one list, gone through by `birdbone plan` and
at a run's start.

Parameters alone are checked in ``parameters``, by names and ranges. Here is what they ask of this
machine, of files, and of the model, whose configuration and tokenizer are read without its weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from birdbone.errors import ConfigError, ExportError, TextError
from birdbone.gguf.keys import check_settings
from birdbone.gguf.tokenizer import read_vocabulary
from birdbone.model.context import positions_of
from birdbone.model.device import resolve_device
from birdbone.model.family import family_of
from birdbone.model.judging.harness import check_tasks
from birdbone.model.judging.prompts import prompt_ids
from birdbone.model.layout import Layout
from birdbone.model.network import canonical_shapes, hf_config
from birdbone.run.specialise import job_of
from birdbone.sources.load import config_of, tokenizer_of
from birdbone.sources.locate import locate
from birdbone.sources.tokenizer import Tokenizer
from birdbone.text.benchmarks import local_task
from birdbone.text.canaries import load_canaries
from birdbone.text.sources import SEED_CHAT, check_job, check_source

READS_MODEL = ("seed.load", "domains.texts")
EVALUATES = ("evaluate.seed", "evaluate.export", "evaluate.others")


def check_start(parameters: dict[str, Any], nodes: Collection[str]) -> None:
    """Everything, for a run of ``nodes``. Raises a BirdboneError naming the parameter or file at
    fault.
    """
    check_outside(parameters, nodes)
    if "model" in parameters and set(READS_MODEL) & set(nodes):
        source = locate(parameters["model"], parameters["models"])
        check_model(parameters, nodes, config_of(source), quick_tokenizer(source))


def quick_tokenizer(source: dict) -> Tokenizer | None:
    """The model's tokenizer where it is read in a moment; one in a GGUF file is checked by the node
    export.form.
    """
    return None if source["kind"] == "gguf" else tokenizer_of(source)


def check_outside(parameters: dict[str, Any], nodes: Collection[str] = ()) -> None:
    """Device, texts, canaries, benchmarks and further models are there, by name.

    Raises ConfigError, TextError or SourceError naming the parameter or file.
    """
    if "device" in parameters:
        resolve_device(parameters["device"])
    if text := parameters.get("text"):
        load_canaries(text["canaries"])
        for source in (text["source"], *text["guard_domains"], *text["elsewhere"]):
            check_source(source)
        if text["excerpts"]:
            check_job(text["source"])
        job = job_of(parameters.get("specialise"))
        if job in text["elsewhere"]:
            raise ConfigError(
                f"parameter specialise: {job} is also a domain of text.elsewhere, and the report "
                "could not tell them apart. Give the job another name"
            )
    for label, source in parameters.get("domains", {}).get("sets", {}).items():
        if source != SEED_CHAT:
            try:
                check_source(source)
            except TextError as error:
                raise TextError(
                    f"parameter domains.sets.{label}: {error}, or {SEED_CHAT}"
                ) from None
    if benchmarks := parameters.get("evaluate"):
        for name, about in benchmarks["files"].items():
            local_task(name, about)
        for model in benchmarks["models"]:
            locate(model, parameters["models"])
        evaluated = (
            [*benchmarks["tasks"], *benchmarks["files"]] if set(EVALUATES) & set(nodes) else []
        )
        check_tasks([*parameters["guard"]["tasks"], *evaluated], benchmarks["files"])


def check_model(
    parameters: dict[str, Any],
    nodes: Collection[str],
    config: dict[str, Any],
    tokenizer: Tokenizer | None,
) -> None:
    """The model has room for what will be read, its question can be asked, and llama.cpp has a form
    for it.

    Raises ConfigError, TextError or ExportError.
    """
    positions = positions_of(config)
    _check_window("text.window", parameters["text"]["window"], positions)
    if "domains.texts" in nodes:
        _check_window("domains.window", parameters["domains"]["window"], positions)
    _check_pattern(
        parameters["prune_wave"]["weights"], parameters["prune_wave"]["multiple"], config
    )
    check_settings(family_of(config).gguf, hf_config(config))
    if tokenizer is not None:
        for prompt in parameters["report"]["prompts"]:
            prompt_ids(tokenizer, prompt, positions)
        if parameters["text"]["chat"] and not tokenizer.chat_template:
            raise TextError(
                "parameter text.chat: this model's tokenizer has no chat template; give plain text "
                "instead"
            )
        with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
            tokenizer.save_pretrained(folder)
            try:
                read_vocabulary(Path(folder), config["vocab_size"])
            except ExportError as error:
                raise ExportError(str(error).replace(folder, "the model's tokenizer")) from None


def _check_window(name: str, window: int, positions: int) -> None:
    if window > positions:
        raise ConfigError(
            f"parameter {name}: {window} tokens, but the model has {positions} positions. Set "
            f"{name} to {positions} or less"
        )


def _check_pattern(weights: dict[str, Any], multiple: int, config: dict[str, Any]) -> None:
    if weights["method"] == "none" or not weights["pattern"]:
        return
    shapes = canonical_shapes(config)
    length = weights["pattern"][1]
    widths = {shapes[f"{module}.weight"][1] for module in Layout(config).linears}
    if odd := sorted(width for width in widths if width % length and multiple % length):
        raise ConfigError(
            f"parameter prune_wave.weights.pattern: {length} does not divide the model's rows of "
            f"{odd[0]} columns"
        )
