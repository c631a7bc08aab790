"""Errors reach the user as one message, also when Kedro wrapped them."""

from kedro.io import DatasetError

from birdbone.errors import ArtifactError
from birdbone.run.failure import message


def test_the_cause_inside_kedros_wrapper_is_shown():
    try:
        try:
            raise ArtifactError("models/x.safetensors is truncated")
        except ArtifactError as cause:
            raise DatasetError("Failed while loading data from dataset ModelFolder(...)") from cause
    except DatasetError as error:
        assert message(error) == "models/x.safetensors is truncated"


def test_a_bug_keeps_its_traceback():
    assert message(ZeroDivisionError("division by zero")) is None
