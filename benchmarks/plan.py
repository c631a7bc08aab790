"""The cost model beside the timings of a profile's last run: seconds of each node, and what the
rows should have been.

ratio: the timing, less what other processes took, over the model's seconds. Rows whose ratio is far
from the others' have a wrong factor; a ratio that all share is the machine's.
"""

from __future__ import annotations

from workbench import arguments

from birdbone.cli.earlier import earlier_runs
from birdbone.cli.probe import probe
from birdbone.model.device import resolve_device
from birdbone.parameters import Parameters
from birdbone.pipeline_registry import node_works
from birdbone.run.config import make_loader, project_root, state_folder
from birdbone.run.cost import Work, duration
from birdbone.sources.locate import locate
from birdbone.sources.shape import model_shape


def works(parameters: Parameters) -> tuple[float, dict[str, Work]]:
    """Operations a token of the model, and the rows of the cost model."""
    tree = parameters.values()
    shape = model_shape(locate(tree["model"], tree["models"]))
    return shape.flops, node_works(parameters, shape)


def main() -> None:
    options = arguments(__doc__)
    root = project_root()
    loader = make_loader(root, options.env)
    parameters = loader.checked
    measured = probe(resolve_device(parameters.device), parameters.threads)
    timed = earlier_runs([state_folder(root, loader)], parameters.values(), works)
    alone = {node: run.timing.alone for node, (run,) in timed.items()}
    model = {node: duration(run.work, run.flops, measured.speed) for node, (run,) in timed.items()}
    print(f"{'node':24}{'seconds':>10}{'alone':>10}{'model':>10}{'ratio':>8}")
    for node, (run,) in timed.items():
        seconds = run.timing.seconds
        print(
            f"{node:24}{seconds:10.1f}{alone[node]:10.1f}{model[node]:10.1f}"
            f"{alone[node] / model[node]:8.2f}"
        )
    print(f"{'all':34}{sum(alone.values()):10.1f}{sum(model.values()):10.1f}")


if __name__ == "__main__":
    main()
