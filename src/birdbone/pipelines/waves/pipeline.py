"""Stages 5 to 8 as a table, wave by wave: ``wave_1.prune`` → heal → regrow → guard → report …"""

from kedro.pipeline import Node, Pipeline

from birdbone.parameters import Parameters
from birdbone.pipelines.gathered import gathered
from birdbone.pipelines.inputs import COMPUTE, LESSON, WORKPLACE
from birdbone.pipelines.waves.guard import judge_wave
from birdbone.pipelines.waves.heal import heal_wave
from birdbone.pipelines.waves.prune import prune_wave
from birdbone.pipelines.waves.regrow import regrow_wave
from birdbone.pipelines.waves.report import report_wave
from birdbone.pipelines.waves.trace import trace_wave
from birdbone.pipelines.yardstick import YARDSTICK

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
    """One wave in its namespace; wave 1 starts from wave 0, which is the seed."""
    step = Pipeline(
        [
            Node(
                gathered(prune_wave),
                [
                    "start",
                    "before",
                    "node_scores",
                    "second_moments",
                    "clusters",
                    "texts",
                    "seed_metrics",
                    "params:target_sparsity",
                    "params:target_bytes",
                    "params:widths",
                    "params:quantize",
                    "params:prune_wave",
                    "params:device",
                ],
                ["pruned", "prune_report"],
                name="prune",
                tags=["prune_wave"],
            ),
            Node(
                gathered(heal_wave),
                [
                    "pruned",
                    "prune_report",
                    "before",
                    *LESSON,
                    "params:micro_heal",
                    *WORKPLACE,
                ],
                ["healed", "heal_report", "healing_curve"],
                name="heal",
                tags=["micro_heal"],
            ),
            Node(
                gathered(regrow_wave),
                [
                    "healed",
                    "before",
                    *LESSON,
                    "params:regrow",
                    "params:micro_heal",
                    "params:prune_wave.multiple",
                    *WORKPLACE,
                ],
                ["regrown", "regrow_report"],
                name="regrow",
                tags=["regrow"],
            ),
            Node(
                gathered(judge_wave),
                [
                    "accepted_before",
                    "before",
                    "regrown",
                    "regrow_report",
                    *YARDSTICK,
                    "seed_tasks",
                    "control_metrics",
                    "params:max_loss",
                    "params:guard.wave_share",
                    "params:text.canaries",
                    *COMPUTE,
                ],
                ["model", "accepted", "verdict"],
                name="guard",
                tags=["guard"],
            ),
            Node(
                gathered(trace_wave),
                [
                    "prune_report",
                    "pruned",
                    "healed",
                    "regrown",
                    "before",
                    *YARDSTICK,
                    "node_scores",
                    "second_moments",
                    "clusters",
                    "params:widths",
                    "params:prune_wave",
                    "params:guard.trace_tokens",
                    *COMPUTE,
                ],
                "trace",
                name="trace",
                tags=["guard"],
            ),
            Node(
                report_wave,
                ["prune_report", "heal_report", "regrow_report", "trace", "verdict"],
                "report",
                name="report",
                tags=["guard"],
            ),
        ]
    )
    earlier = f"wave_{number - 1}"
    inputs = {
        "start": f"{earlier}.model",
        "accepted_before": f"{earlier}.accepted",
        "before": f"{earlier}.verdict",
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
