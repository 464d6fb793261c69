"""What every test may ask for. The one place that knows where real data lies: the environment's MEDCNN_DATA."""

from __future__ import annotations

import logging
import os
from fnmatch import fnmatch
from pathlib import Path

import pytest

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")


@pytest.fixture(scope="session")
def medcnn_data() -> Path:
    """The folder of real data sets; skips where this machine has none."""
    folder = os.environ.get("MEDCNN_DATA")
    if not folder:
        pytest.skip("real data is not at hand: MEDCNN_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def samples() -> Path:
    """data_samples of this checkout."""
    return Path(__file__).resolve().parents[1] / "data_samples"


@pytest.fixture(autouse=True)
def _quiet_logging() -> None:
    """Every test starts with medcnn's loggers as they are on import.

    Commands in this process turn the messages to standard output, and libraries (Hydra, Alembic below MLflow) set up
    the logging of the whole process, which may silence loggers that exist.
    """
    logger = logging.getLogger("medcnn")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.DEBUG)
    for name, known in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "medcnn" and isinstance(known, logging.Logger):
            known.disabled = False


def allowed_skips() -> dict[str, str]:
    """Test id -> reason, from allowed_skips.txt."""
    lines = ALLOWED_SKIPS.read_text().splitlines() if ALLOWED_SKIPS.is_file() else []
    pairs = (line.split("  ", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): reason.strip() for name, reason in pairs}


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With real data at hand, a skipped test is a failure unless allowed_skips.txt gives its reason."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("MEDCNN_DATA") or reporter is None:
        return
    known = allowed_skips()
    skipped = {report.nodeid for report in reporter.stats.get("skipped", []) if hasattr(report, "nodeid")}
    unknown = sorted(name for name in skipped if not any(fnmatch(name, one) for one in known))
    if unknown:
        reporter.write_line("skipped without a reason in tests/allowed_skips.txt: " + ", ".join(unknown), red=True)
        session.exitstatus = 1
