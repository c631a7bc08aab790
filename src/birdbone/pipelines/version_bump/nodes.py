"""Stage 10: a preview of this run's diff bundle, before anything is committed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from birdbone.diff.bundle import bundle_id, core_of, write_texts
from birdbone.diff.patch import WEIGHTS_PATCH, write_patches
from birdbone.diff.records import Records
from birdbone.diff.report_data import story_of
from birdbone.diff.revisions import Side
from birdbone.diff.states import state_of
from birdbone.model.checkpoint import Checkpoint


def preview(
    seed: Checkpoint,
    accepted: Checkpoint,
    seed_metrics: dict,
    quantize_report: dict,
    final: dict,
    vocabulary: Any,
    parameters: dict,
    *waves: dict,
) -> Callable[[Path], dict]:
    """A writer of the bundle from the seed to this run's model, without ``weights.patch``.

    `birdbone bundle` writes the whole bundle, against the last commit, for review. vocabulary:
    which tokens went, or the setting ``all``. waves: the report of each, in order.
    """
    figures = {"seed": seed_metrics, "final": final}
    reports = {wave["wave"]: wave for wave in waves}
    old = Side("the seed", state_of(seed), Records({**figures, "is_seed": True}))
    made = {**figures, "quantize": quantize_report}
    if isinstance(vocabulary, dict):
        made["vocabulary"] = vocabulary
    new = Side("this run", state_of(accepted), Records(made, reports), config=parameters)
    core = core_of(old, new)

    def write(folder: Path) -> dict:
        summary = write_patches(old.state, new.state, old.state, folder)
        (folder / WEIGHTS_PATCH).unlink()
        write_texts(folder, story_of(bundle_id(core), old, new, old.state, summary))
        return {"id": bundle_id(core), "core": core}

    return write
