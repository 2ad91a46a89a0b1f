from collections.abc import Callable

import pytest

from pipeline.embedded.process import free_port


@pytest.fixture
def own(variables: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Free addresses for everything."""
    return variables(kafka={"bootstrap": f"127.0.0.1:{free_port()}"})
