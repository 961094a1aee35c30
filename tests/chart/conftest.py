import pytest
from rendering import Helm


@pytest.fixture(scope="session")
def helm():
    return Helm()
