import pytest


@pytest.fixture(scope="session", autouse=True)
def uncovered():
    """Do not measure the coverage of servers: they would answer far more slowly."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        environment.delenv("COVERAGE_PROCESS_START", raising=False)
        yield
