"""Git runs here away from the repository around the tests."""

import pytest


@pytest.fixture(autouse=True)
def away(away_from_other_repositories):
    pass
