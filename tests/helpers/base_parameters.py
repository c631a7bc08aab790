"""The parameters of the base profile, checked, for what takes all of them."""

from pathlib import Path

import yaml

from birdbone.parameters import Parameters, validate

BASE = Path(__file__).resolve().parents[2] / "conf/base"


def base_parameters() -> Parameters:
    parts = [yaml.safe_load(path.read_text()) for path in sorted(BASE.glob("parameters*.yml"))]
    return validate({key: value for part in parts for key, value in part.items()})
