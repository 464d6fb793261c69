"""Makes tiny_study importable; one trained run for all tests that only look at one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root; tests that change it make their own."""
    from tiny_study import write_pictures

    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    from tiny_study import train_conf

    from medcnn.train import train

    return train(train_conf(pictures, tmp_path_factory.mktemp("runs"), "trainer.epochs=12"))
