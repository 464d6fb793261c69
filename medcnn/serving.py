"""The pyfunc entry: a model package that MLflow loads and serves. MLflow runs this file as the model ("from code").

    model = mlflow.pyfunc.load_model("models:/xr@champion")
    model.predict(pandas.DataFrame([{"path": "ward3/scan.dcm"}]))

A row of input has a `path` below the folder MEDCNN_SERVE_ROOT, or a file's `bytes` (raw, or base64 text), and by its
name each covariate that a classifier takes beside the image.
Each row of input gives one row, its reason empty when all is well. Of a classifier: case_id, decision, confidence, set
(the classes that the scan may have, where the model makes prediction sets), p.<class> ..., reason. Of a segmenter:
case_id, volume_ml.<structure> ..., expected_dice.<structure> ..., reason; masks are files, which predict writes. Of a
regression: case_id, value, low, high, unit, reason.
Imports mlflow and pandas; torch and MONAI only once a model is loaded.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import os
import secrets
import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

if TYPE_CHECKING:
    from medcnn.data.privacy import Keyring
    from medcnn.model_package.classifier import ClassifierPackage
    from medcnn.model_package.opening import ModelPackage
    from medcnn.model_package.regressor import RegressorPackage
    from medcnn.model_package.segmenter import SegmenterPackage
    from medcnn.scan import Scan

ROOT_VARIABLE = "MEDCNN_SERVE_ROOT"
KEY_VARIABLE = "MEDCNN_KEY_FILE"
FIRST_COLUMNS = ["case_id", "decision", "confidence", "set"]


class ScanModel(PythonModel):
    """One model package behind MLflow's interface."""

    package: ModelPackage
    names: Keyring

    def load_context(self, context: Any) -> None:
        """Open the package; where medcnn is not installed, run the one that travelled with the model."""
        if importlib.util.find_spec("medcnn") is None:
            sys.path.append(context.artifacts["wheel"])
        from medcnn.model_package.opening import load_package

        self.package = load_package(Path(context.artifacts["package"]))
        self.names = _keyring()

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row for each row of input, in the same order; a row that cannot be read says why and has no numbers."""
        from medcnn.model_package.regressor import RegressorPackage
        from medcnn.model_package.segmenter import SegmenterPackage

        rows = [self._row(row) for row in pd.DataFrame(model_input).to_dict("records")]
        if isinstance(self.package, SegmenterPackage):
            names = self.package.segmenter.rule.names
            numbers = [f"{what}.{name}" for what in ("volume_ml", "expected_dice") for name in names]
            return pd.DataFrame(rows, columns=["case_id", *numbers, "reason"])
        if isinstance(self.package, RegressorPackage):
            return pd.DataFrame(rows, columns=["case_id", "value", "low", "high", "unit", "reason"])
        classes = [name for name in dict.fromkeys(key for row in rows for key in row) if name.startswith("p.")]
        return pd.DataFrame(rows, columns=[*FIRST_COLUMNS, *classes, "reason"])

    def _row(self, row: dict[Hashable, Any]) -> dict[str, object]:
        from medcnn.errors import DataError
        from medcnn.io.read import read_scan
        from medcnn.model_package.regressor import RegressorPackage
        from medcnn.model_package.segmenter import SegmenterPackage
        from medcnn.scan import ScanRejected

        package = self.package
        try:
            with _located(row) as (root, reference, name):
                scan = read_scan(root, reference)
            if isinstance(package, SegmenterPackage):
                answer = _measured(package, scan)
            elif isinstance(package, RegressorPackage):
                answer = _valued(package, scan)
            else:
                answer = _decided(package, scan, row)
        except (ScanRejected, DataError) as error:  # unreadable, or nothing this model takes
            return {"case_id": "", "decision": "", "confidence": None, "reason": str(error)}
        return {"case_id": self.names.case_id(scan.identity, name), **answer}


def _decided(package: ClassifierPackage, scan: Scan, row: dict[Hashable, Any]) -> dict[str, object]:
    from medcnn.batch.columns import set_words

    answer = package.predict_scan(scan, {str(name): str(value) for name, value in row.items() if value is not None})
    return {
        "decision": answer.decision,
        "confidence": answer.confidence,
        "set": set_words(answer.conformal_set) or "",
        **{f"p.{label}": value for label, value in answer.probability.items()},
        "reason": answer.reason,
    }


def _valued(package: RegressorPackage, scan: Scan) -> dict[str, object]:
    answer = package.predict_scan(scan)
    unit = package.regressor.rule.unit
    return {"value": answer.value, "low": answer.low, "high": answer.high, "unit": unit, "reason": answer.reason}


def _measured(package: SegmenterPackage, scan: Scan) -> dict[str, object]:
    """No numbers where the scan is of another kind than the model knows."""
    if reasons := list(package.description.expects.misfits(scan.modality, scan.body_part)):
        return {"reason": "; ".join(reasons)}
    made = package.segment_scan(scan).segmentation
    return {
        **{f"volume_ml.{name}": value for name, value in (made.volumes_ml or {}).items()},
        **{f"expected_dice.{name}": value for name, value in made.expected_dice.items()},
        "reason": "",
    }


def _keyring() -> Keyring:
    """The key that case_id is made with; without one, names hold for this process only."""
    from medcnn.data.privacy import Keyring

    file = os.environ.get(KEY_VARIABLE)
    return Keyring.at(Path(file)) if file else Keyring(secrets.token_bytes(32))


@contextmanager
def _located(row: dict[Hashable, Any]) -> Iterator[tuple[Path, str, str]]:
    """(root, reference below it, what names the case apart from identifiers); bytes lie in a private file meanwhile."""
    from medcnn.scan import Reason, ScanRejected

    path, content = row.get("path"), row.get("bytes")
    if isinstance(path, str) and path:
        root, reference = _below_root(path)
        yield root, reference, reference
    elif isinstance(content, str | bytes) and content:
        raw = _decoded(content)
        with TemporaryDirectory(prefix="medcnn-") as folder:  # mode 0700
            (Path(folder) / "scan").write_bytes(raw)
            yield Path(folder), "scan", sha256(raw).hexdigest()
    else:
        raise ScanRejected(Reason.READ_ERROR, "the row has neither a path nor bytes", "Give one of the two")


def _below_root(path: str) -> tuple[Path, str]:
    """An absolute path is taken if it lies below the root; read_scan refuses what leaves it otherwise."""
    from medcnn.scan import Reason, ScanRejected

    allowed = os.environ.get(ROOT_VARIABLE)
    if not allowed:
        raise ScanRejected(
            Reason.PATH_ESCAPE,
            "this server reads no paths",
            f"Send bytes, or start it with {ROOT_VARIABLE} set to the one folder it may read",
        )
    root = Path(allowed).absolute()
    if Path(path).is_absolute() and Path(path).is_relative_to(root):
        return root, Path(path).relative_to(root).as_posix()
    return root, path


def _decoded(content: str | bytes) -> bytes:
    """Raw bytes as they are; text is base64."""
    from medcnn.scan import Reason, ScanRejected

    if isinstance(content, bytes):
        return content
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise ScanRejected(Reason.READ_ERROR, "bytes is text but no base64", "Encode the file in base64") from None


set_model(ScanModel())
