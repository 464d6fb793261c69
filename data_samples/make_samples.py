"""Makes the sample data anew: python data_samples/make_samples.py --output DIR [--xray-images N] [--mri-volumes N].

The same seed gives the same labels and the same pixels within one grey level anywhere, the same bytes on one machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from brain_mri import Volume, volume
from chest_xray import Phantom, phantom
from cohort import splits
from dicom_files import write_series, write_xray
from plain_files import write_manifest, write_nifti, write_png

XRAY_IMAGES = 282
MRI_VOLUMES = 73


def xray_row(image: Phantom, split: str) -> dict[str, str]:
    """The image's line in the manifest; paths relative to it. lung_percent: of the picture, as the mask has it."""
    person = image.visit.patient
    boxes = [{"box": list(box), "class": "opacity"} for box in image.boxes]
    return {
        "case_id": image.case_id,
        "patient_id": person.patient_id,
        "image": f"images/{image.case_id}.dcm",
        "label": image.label,
        "mask": f"masks/{image.case_id}.png",
        "boxes": json.dumps(boxes, separators=(",", ":")),
        "split": split,
        "sex": person.sex,
        "age": str(person.age),
        "site": person.site,
        "view": image.header.view,
        "lung_percent": f"{100 * float((image.mask > 0).mean()):.1f}",
    }


def mri_row(scan: Volume, split: str) -> dict[str, str]:
    """The volume's line in the manifest; paths relative to it."""
    person = scan.visit.patient
    return {
        "case_id": scan.case_id,
        "patient_id": person.patient_id,
        "image": f"series/{scan.case_id}" if scan.form == "dicom" else f"images/{scan.case_id}.nii.gz",
        "label": scan.label,
        "mask": f"masks/{scan.case_id}.nii.gz",
        "split": split,
        "sex": person.sex,
        "age": str(person.age),
        "site": person.site,
    }


def make_xray(folder: Path, num_images: int) -> None:
    """Images, lung masks and manifest."""
    split_of, rows = splits("xray", num_images), []
    for number in range(1, num_images + 1):
        image = phantom(number)
        row = xray_row(image, split_of[image.visit.patient.patient_id])
        write_xray(image, folder / row["image"])
        write_png(image.mask, folder / row["mask"])
        rows.append(row)
    write_manifest(rows, folder / "manifest.csv")


def make_mri(folder: Path, num_volumes: int) -> None:
    """NIfTI volumes, DICOM series, masks and manifest."""
    split_of, rows = splits("mri", num_volumes), []
    for number in range(1, num_volumes + 1):
        scan = volume(number)
        row = mri_row(scan, split_of[scan.visit.patient.patient_id])
        if scan.form == "dicom":
            write_series(scan, folder / row["image"])
        else:
            stored = np.int16 if number % 4 == 0 else np.uint8  # values stay below 256
            write_nifti(scan.voxels.astype(stored), scan.affine, folder / row["image"])
        write_nifti(scan.mask, scan.affine, folder / row["mask"])
        rows.append(row)
    write_manifest(rows, folder / "manifest.csv")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for xray/ and mri/")
    parser.add_argument("--xray-images", type=int, default=XRAY_IMAGES, help="the first N chest X-rays")
    parser.add_argument("--mri-volumes", type=int, default=MRI_VOLUMES, help="the first N brain volumes")
    options = parser.parse_args()
    make_xray(options.output / "xray", options.xray_images)
    make_mri(options.output / "mri", options.mri_volumes)
    print(f"{options.xray_images} X-rays and {options.mri_volumes} volumes in {options.output}")


if __name__ == "__main__":
    main()
