import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "data_samples"
sys.path.insert(0, str(SAMPLES))  # the generator is a folder of scripts, no package


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES
