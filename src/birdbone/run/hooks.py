"""What surrounds a run: one run at a time per profile, no orphans, no leftovers of a kill."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path
from typing import TextIO

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from birdbone.datasets.place import place_of
from birdbone.processes import die_with_parent
from birdbone.run.config import base_loader, roots, state_folder
from birdbone.run.lock import take_lock
from birdbone.run.outside import SOURCES, refresh

log = logging.getLogger("birdbone")


class RunHooks:
    """Lock, clean-up at the start, one line at the end."""

    def __init__(self) -> None:
        self._lock: TextIO | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._state = state_folder(context.project_path, context.config_loader)
        self._roots = roots(context.config_loader)
        self._root = context.project_path
        self._parameters = context.config_loader["parameters"]

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        """The whole tree stays plain: Kedro has put into it the settings that nodes take as
        models.
        """
        catalog.get("parameters").save(self._parameters)

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        if os.environ.get("DVC_STAGE"):
            die_with_parent()
        self._release()
        self._lock = take_lock(self._state)
        for folder in (self._state, self._state / "ledger", *_folders(pipeline, catalog)):
            sweep(folder)
        self._tell_sources()
        self._start = time.perf_counter()
        self._ran = 0
        self._worked = 0.0

    @hook_impl
    def before_node_run(self) -> None:
        self._loaded = time.perf_counter()

    @hook_impl
    def after_node_run(self) -> None:
        self._ran += 1
        self._worked += time.perf_counter() - self._loaded

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline) -> None:
        seconds = time.perf_counter() - self._start
        log.info(
            "%d nodes run, %d kept, %d min %02d s, %.0f %% of it loading, saving and verifying; results in %s",
            self._ran,
            len(pipeline.nodes) - self._ran,
            *divmod(round(seconds), 60),
            100 * (1 - self._worked / max(seconds, 1e-9)),
            " and ".join(f"{root}/" for root in self._roots.values()),
        )
        self._release()

    @hook_impl
    def on_pipeline_error(self) -> None:
        log.error("stopped; what is finished is kept for the next run")
        self._release()

    def _tell_sources(self) -> None:
        """``sources.json`` of this run's data root made what lies outside now: base's, which DVC
        follows, by the base profile alone.
        """
        base = base_loader(self._root)
        tree = base.tree() if roots(base)["data"] == self._roots["data"] else self._parameters
        file = Path(self._roots["data"]) / SOURCES
        existed = (self._root / file).is_file()
        if refresh(self._root, tree, self._roots["data"]) and existed:
            again = ": dvc repro once more after this" if os.environ.get("DVC_STAGE") else ""
            log.info("%s: what the parameters name has changed%s", file, again)

    def _release(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None


class ComputeHooks:
    """All that can be known before is checked; threads and seed are set, so that equal runs on one
    machine give equal bits.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._parameters = context.config_loader["parameters"]

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        import torch

        from birdbone.run.checks import check_start

        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        check_start(self._parameters, {node.name for node in pipeline.nodes})
        if threads := self._parameters.get("threads"):
            torch.set_num_threads(threads)
        torch.manual_seed(self._parameters.get("random_seed", 0))


def sweep(folder: Path) -> None:
    """Remove temporary files and folders that a killed run left in ``folder`` (``.*.tmp-*``)."""
    for leftover in folder.glob(".*.tmp-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _folders(pipeline: Pipeline, catalog: CatalogProtocol) -> set[Path]:
    """The folders that this pipeline's outputs are written into."""
    places = [place_of(catalog.get(name)) for name in pipeline.all_outputs()]
    return {folder for place in places if place for folder in (place, place.parent)}
