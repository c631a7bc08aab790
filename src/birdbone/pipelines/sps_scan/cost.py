"""What the node of stage 3 costs, see ``run.cost``."""

from birdbone.parameters import Parameters
from birdbone.run.cost import Work
from birdbone.sources.shape import ModelShape

SCAN = 3.0
"""Forward passes of a token scanned: forward, and backward to the activations."""


def works(parameters: Parameters, shape: ModelShape) -> dict[str, Work]:
    """A row for the node."""
    return {"sps_scan.scan": Work(tokens=SCAN * parameters.text.calibration_tokens)}
