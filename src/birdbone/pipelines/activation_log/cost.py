"""What the node of stage 2 costs, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.run.cost import MOMENTS, Work
from birdbone.sources.shape import ModelShape


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for the node."""
    return {"activation_log.observe": Work(tokens=MOMENTS * parameters.text.calibration_tokens)}
