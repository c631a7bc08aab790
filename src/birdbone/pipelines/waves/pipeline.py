"""Stages 5 to 8 as a table, unrolled: ``wave_1.prune`` → ``.heal`` → ``.regrow`` → ``.guard`` → ``wave_2.prune`` …"""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.waves.guard import guard
from birdbone.pipelines.waves.heal import heal
from birdbone.pipelines.waves.prune import prune
from birdbone.pipelines.waves.regrow import regrow

OUTSIDE = {
    "seed_model",
    "seed_metrics",
    "seed_states",
    "seed_tasks",
    "control_metrics",
    "tokenizer",
    "texts",
    "node_scores",
    "second_moments",
    "clusters",
    "scratch",
}


def create_wave(number: int) -> Pipeline:
    """One wave in its namespace; wave 1 starts from the seed and its baseline."""
    step = Pipeline(
        [
            Node(
                prune,
                [
                    "start",
                    "before",
                    "node_scores",
                    "second_moments",
                    "clusters",
                    "texts",
                    "seed_metrics",
                    "params:prune_wave",
                    "params:target_sparsity",
                    "params:target_bytes",
                    "params:widths",
                    "params:quantize",
                    "params:device",
                ],
                ["pruned", "prune_report"],
                name="prune",
                tags=["prune_wave"],
            ),
            Node(
                heal,
                [
                    "pruned",
                    "prune_report",
                    "before",
                    "seed_model",
                    "texts",
                    "params:micro_heal",
                    "params:device",
                    "params:random_seed",
                    "scratch",
                ],
                ["healed", "heal_report", "healing_curve"],
                name="heal",
                tags=["micro_heal"],
            ),
            Node(
                regrow,
                [
                    "healed",
                    "before",
                    "seed_model",
                    "seed_metrics",
                    "texts",
                    "params:regrow",
                    "params:micro_heal",
                    "params:prune_wave.multiple",
                    "params:device",
                    "params:random_seed",
                    "scratch",
                ],
                ["regrown", "regrow_report"],
                name="regrow",
                tags=["regrow"],
            ),
            Node(
                guard,
                [
                    "accepted_before",
                    "before",
                    "regrown",
                    "seed_model",
                    "seed_states",
                    "tokenizer",
                    "texts",
                    "seed_metrics",
                    "seed_tasks",
                    "control_metrics",
                    "regrow_report",
                    "params:text.canaries",
                    "params:guard.wave_share",
                    "params:max_loss",
                    "params:device",
                    "params:random_seed",
                ],
                ["model", "accepted", "verdict"],
                name="guard",
                tags=["guard"],
            ),
        ]
    )
    earlier = f"wave_{number - 1}"
    first = number == 1
    inputs = {
        "start": "seed_model" if first else f"{earlier}.model",
        "accepted_before": "seed_model" if first else f"{earlier}.accepted",
        "before": "seed_metrics" if first else f"{earlier}.verdict",
        **{name: name for name in OUTSIDE},
    }
    parameters = {name for node in step.nodes for name in node.inputs if name.startswith("params:")}
    return Pipeline(
        step,
        namespace=f"wave_{number}",
        inputs=inputs,
        parameters={p: p for p in parameters},
        tags=[f"wave_{number}", "waves"],
    )


def create_pipeline(parameters: Parameters) -> Pipeline:
    """All waves."""
    return sum((create_wave(i) for i in range(1, parameters.waves + 1)), Pipeline([]))
