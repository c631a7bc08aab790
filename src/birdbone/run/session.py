"""A Kedro session that resumes: nodes whose inputs, code and outputs are unchanged are kept."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from kedro.runner.task import Task
from pluggy import PluginManager

from birdbone.run.config import state_folder
from birdbone.run.ledger import Ledger, key_of

log = logging.getLogger("birdbone")


class Session(KedroSession):
    """Runs Kedro's default runner as a ResumeRunner; any other ``--runner`` is left as it is."""

    state: Path

    def load_context(self) -> KedroContext:
        context = super().load_context()
        self.state = state_folder(context.project_path, context.config_loader)
        return context

    def run(self, *args, runner: Any = None, **kwargs) -> dict[str, Any]:
        if runner is None or type(runner) is SequentialRunner:
            runner = ResumeRunner(self, is_async=getattr(runner, "_is_async", False))
        return super().run(*args, runner=runner, **kwargs)


class ResumeRunner(SequentialRunner):
    """One node after the other; a node the ledger knows to be done is kept, its bytes verified.

    ``BIRDBONE_FRESH=1`` recomputes every node asked for, from its start.
    """

    def __init__(self, session: Session, is_async: bool = False) -> None:
        super().__init__(is_async=is_async)
        self._session = session

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        hook_manager: PluginManager | None = None,
        run_id: str | None = None,
    ) -> None:
        ledger = Ledger(self._session.state, catalog)
        fresh = os.environ.get("BIRDBONE_FRESH") == "1"
        uses_left = Counter(name for node in pipeline.nodes for name in node.inputs)
        for index, node in enumerate(pipeline.nodes, 1):
            place = f"{index} of {len(pipeline.nodes)}"
            decides = ledger.decides(node)
            if not fresh and ledger.done(node, key_of(decides)):
                ledger.sweep(node)
                log.info("%s: unchanged, kept (%s)", node.name, place)
            else:
                log.info("%s: running (%s)", node.name, place)
                start = time.perf_counter()
                with ledger.running(node, decides, fresh):
                    Task(node, catalog, self._is_async, hook_manager, run_id).execute()
                log.info("%s: done in %.1f s", node.name, time.perf_counter() - start)
            self._release_datasets(node, catalog, uses_left, pipeline)
