"""What each step of a wave did, with the same amount removed at random beside it."""

from __future__ import annotations

from dataclasses import dataclass

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.judging.trace import Tracer
from birdbone.model.observing.activations import Clusters
from birdbone.model.observing.moments import SecondMoments
from birdbone.model.pruning.prune import prune
from birdbone.model.scores import Scores
from birdbone.pipelines.gathered import Together
from birdbone.pipelines.inputs import Compute
from birdbone.pipelines.waves.settings.prune import PruneSettings
from birdbone.pipelines.yardstick import Yardstick

AT_RANDOM = "as much removed at random, repaired alike"


@dataclass(frozen=True)
class Steps(Together):
    """What a wave made, step by step."""

    prune_report: dict
    pruned: Checkpoint
    healed: Checkpoint
    regrown: Checkpoint


@dataclass(frozen=True)
class Choice(Together):
    """What the removal was chosen by."""

    node_scores: Scores
    second_moments: SecondMoments
    clusters: Clusters
    widths: str
    settings: PruneSettings


def trace_wave(
    steps: Steps,
    before: dict,
    yardstick: Yardstick,
    choice: Choice,
    tokens: int,
    compute: Compute,
) -> dict:
    """A row for each step that changed the model.

    The first wave has a control for its choice: it starts from the seed, whose second moments are
    at hand. Those of a healed model would cost a pass over the calibration text.
    """
    wave = before["wave"] + 1
    report = steps.prune_report
    if not report["changed"]:
        return {"wave": wave, "steps": []}
    texts, seed = yardstick.texts, yardstick.seed
    tracer = Tracer(yardstick.guard, texts.guard, tokens, compute.place, compute.random_seed)
    at_random = None
    if before["wave"] == 0 and choice.settings.score != "random":
        state, _ = prune(
            seed,
            report["weights_asked"],
            choice.node_scores,
            choice.clusters,
            texts.calibration,
            choice.second_moments,
            choice.settings.model_copy(update={"score": "random"}),
            choice.widths,
            compute.place,
        )
        at_random = (AT_RANDOM, state)
    label = f"wave {wave}"
    rows = [tracer.step("pruning", steps.pruned, label, at_random)]
    if steps.healed.digest != steps.pruned.digest:
        rows.append(tracer.step("healing", steps.healed, label, None))
    if steps.regrown.digest != steps.healed.digest:
        rows.append(tracer.step("regrowth", steps.regrown, label, None))
    return {"wave": wave, "steps": rows}
