"""Scanners' own headers, enhanced objects of many frames among them: what predict makes of them is as sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from folders import asked
from orthanc_server import Orthanc
from packages import tiny_segmenter_package
from test_dciodvfy import errors
from test_orthanc import assert_kept_as_it_was, by_c_store, by_stow

from medcnn.predict import predict


def test_results_of_real_studies_are_valid_and_taken(
    archive: Orthanc, validator: str, medcnn_data: Path, tmp_path: Path
) -> None:
    model = tiny_segmenter_package(tmp_path / "model", patch=(64, 64, 8))
    scans = medcnn_data / "dicom" / "dcm_qa_enh" / "In"
    conf = asked(model, scans, tmp_path / "out", engine="here", explain="gradcam", split_by=["time", "image_type"])
    done = predict(conf)
    answered = [row for row in done.rows if row.status == "ok"]
    assert len(answered) >= 6
    paths = sorted((done.output / "dicom").glob("*.dcm"))
    assert len(paths) >= 3 * len(answered)
    assert {path.name: said for path in paths if (said := errors(validator, path))} == {}
    for number, path in enumerate(paths):
        (by_stow if number % 2 else by_c_store)(archive, path)
        assert_kept_as_it_was(archive, path)
    segmentations = [pydicom.dcmread(path) for path in paths if path.stem.endswith("_seg")]
    assert any(np.any(seg.pixel_array) for seg in segmentations)
