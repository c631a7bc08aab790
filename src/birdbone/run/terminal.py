"""What a run prints: the wave table after each wave, the summary and the paths at the end."""

from __future__ import annotations

import re
import sys
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from birdbone.datasets.place import place_of
from birdbone.run.config import state_folder
from birdbone.run.timings import read_timings

SUMMARIES = {
    "summary": ("report_page", "export_gguf", "export_folder", "bundle"),
    "moe_summary": ("moe_page", "moe_gguf", "moe_folder"),
}
"""What is printed at the end of a run that made it, and whose paths follow."""


class TerminalHooks:
    """Prints to standard output; says nothing of nodes that were not part of the run."""

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        self._state = state_folder(context.project_path, context.config_loader)

    @hook_impl
    def after_node_run(self, node: Node, catalog: CatalogProtocol, outputs: dict[str, Any]) -> None:
        if not re.fullmatch(r"wave_\d+\.report", node.name):
            return
        from birdbone.report.summary import wave_table
        from birdbone.report.wave_rows import wave_row

        (latest,) = outputs.values()
        timings = read_timings(self._state)
        rows = []
        for number in range(1, latest["wave"] + 1):
            wave = f"wave_{number}"
            report = latest if number == latest["wave"] else catalog.load(f"{wave}.report")
            spent = sum(timing.seconds for name, timing in timings.items() if name.startswith(f"{wave}."))
            rows.append({**wave_row(report), "seconds": spent})
        print(wave_table(rows, color=sys.stdout.isatty()), flush=True)

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        datasets = pipeline.outputs() | pipeline.datasets()
        for summary, files in SUMMARIES.items():
            if summary not in datasets:
                continue
            print(catalog.load(summary))
            for name in files:
                if name in datasets:
                    print(f"{name:14} {place_of(catalog.get(name))}")
