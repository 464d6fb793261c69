"""Peak memory and time of segmenting one large volume: read, prepare, compute, restore, write.

    python -m benchmarks.big_volume [size=512,512,800] [spacing=1.5] [structures=20] [patch=96] [overlap=0.5] [peer=yes]

Target: a volume of 512 x 512 x 800 with 20 structures stays under 6 GB. The scan, blobs in noise with 1 mm voxels, is
made first; a process of its own reads it (NIfTI, 16 bit), brings it to `spacing` mm (1: its own grid), segments it with
a network of almost no arithmetic, so that what is measured is the machinery, and writes the labels. Peaks are those of
the whole process in each part (VmHWM, set back in between): Linux only. The peer (same tiles, same stub, from the
prepared grid) is MONAI's sliding_window_inference and an interpolation of the whole; it holds every probability at
once, so ask for it where that fits: size=256,256,200.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DEFAULTS = {"size": "512,512,800", "spacing": "1.5", "structures": "20", "patch": "96", "overlap": "0.5", "peer": "no"}


def make_scan(path: Path, size: tuple[int, ...]) -> None:
    """Plane by plane, so that making it takes no memory either."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(size)
    header.set_qform(np.eye(4), 1)
    header.set_sform(np.eye(4), 1)
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352
    generator = np.random.default_rng(0)
    across = np.sin(np.arange(size[0]) / 9)[:, None] + np.cos(np.arange(size[1]) / 13)[None]
    with path.open("wb") as stream:
        stream.write(header.binaryblock + bytes(4))
        for plane in range(size[2]):
            values = 300 * (across + np.sin(plane / 17)) + generator.integers(-50, 50, size[:2])
            stream.write(values.astype(np.int16).tobytes(order="F"))


class Peak:
    """The most memory that this process had since the last question, in MB."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.restart()

    def restart(self) -> None:
        """5 sets VmHWM back to what is held now (proc(5))."""
        Path("/proc/self/clear_refs").write_text("5")
        self.began = time.perf_counter()

    def say(self, part: str, note: str = "") -> None:
        """A line, and from here on anew."""
        seconds = time.perf_counter() - self.began
        status = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        print(f"{part:10s} {seconds:7.1f} s  peak {peak / 1024:6.0f} MB  {note}", flush=True)
        self.restart()


def stub(structures: int):  # type: ignore[no-untyped-def]  # noqa: ANN201  torch is imported by the child alone
    """One value per voxel to structures + 1 logits: each structure is a band of intensities."""
    import torch
    from torch import nn

    network = nn.Conv3d(1, structures + 1, 1)
    centres = torch.linspace(-2, 2, structures + 1)
    network.weight.data[:, 0, 0, 0, 0] = 8 * centres
    network.bias.data = -4 * centres**2
    return network


def segment(root: Path, asked: dict[str, str]) -> None:
    """One line for each part."""
    import torch

    from medcnn.config.transforms import IntensityConf, TransformsConf
    from medcnn.inference.mask_rule import MaskRule
    from medcnn.inference.segmenter import Segmenter
    from medcnn.inference.segmenter_settings import SegmenterSettings
    from medcnn.io.nifti.writer import write_nifti
    from medcnn.io.options import Reading
    from medcnn.io.read import read_scan
    from medcnn.transforms.whole_grid import WholeGrid

    structures, patch, edge = int(asked["structures"]), int(asked["patch"]), float(asked["spacing"])
    conf = TransformsConf(size_px=[], intensity=IntensityConf(scale="zscore"))
    grid = WholeGrid.of(conf, reading=Reading(), num_channels=1, spatial_dims=3, spacing_mm=[edge] * 3)
    rule = MaskRule(tuple(f"structure_{number}" for number in range(1, structures + 1)))
    settings = SegmenterSettings((patch,) * 3, overlap=float(asked["overlap"]))
    segmenter = Segmenter([stub(structures)], rule, settings, torch.device("cpu"))
    peak = Peak()
    peak.say("imports")
    scan = read_scan(root, "scan.nii")
    geometry = scan.geometry
    peak.say("read")
    on_grid = grid.apply(scan)
    del scan
    peak.say("prepare", f"prepared grid {on_grid.placement.size}")
    found = segmenter.segment(on_grid)
    peak.say("segment", ", ".join(f"{part} {seconds:.1f} s" for part, seconds in found.seconds.items()))
    write_nifti(root / "labels.nii.gz", rule.to_file(found.labels), geometry, labels=True)
    peak.say("write", f"{len(np.unique(found.labels[0, ::16]))} values in the labels")


def segment_peer(root: Path, asked: dict[str, str]) -> None:
    """MONAI's window on the prepared grid, all probabilities back at once, argmax."""
    import torch
    from monai.inferers import sliding_window_inference

    from medcnn.config.transforms import IntensityConf, TransformsConf
    from medcnn.io.options import Reading
    from medcnn.io.read import read_scan
    from medcnn.transforms.whole_grid import WholeGrid

    edge, patch = float(asked["spacing"]), int(asked["patch"])
    conf = TransformsConf(size_px=[], intensity=IntensityConf(scale="zscore"))
    grid = WholeGrid.of(conf, reading=Reading(), num_channels=1, spatial_dims=3, spacing_mm=[edge] * 3)
    on_grid = grid.apply(read_scan(root, "scan.nii"))
    network = stub(int(asked["structures"]))
    peak = Peak()
    with torch.no_grad():
        image = torch.from_numpy(on_grid.image)[None]
        logits = sliding_window_inference(
            image,
            (patch,) * 3,
            1,
            lambda tile: network(tile).softmax(dim=1),
            overlap=float(asked["overlap"]),
            mode="gaussian",
        )
        shape = on_grid.placement.box_shape
        if shape != on_grid.placement.size:
            logits = torch.nn.functional.interpolate(logits, size=shape, mode="trilinear", align_corners=False)
        logits.argmax(dim=1).to(torch.uint8)
    peak.say("peer")


def main() -> None:
    """Make the scan, then measure in processes of their own."""
    asked = DEFAULTS | dict(word.split("=") for word in sys.argv[1:])
    if "child" in asked:
        {"segment": segment, "peer": segment_peer}[asked["child"]](Path(asked["root"]), asked)
        return
    size = tuple(int(side) for side in asked["size"].split(","))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        make_scan(Path(folder) / "scan.nii", size)
        print(f"{asked['size']}, {asked['structures']} structures, tiles of {asked['patch']}", flush=True)
        for child in ["segment", *(["peer"] if asked["peer"] == "yes" else [])]:
            words = [f"{key}={value}" for key, value in asked.items()]
            command = [sys.executable, "-m", "benchmarks.big_volume", *words, f"child={child}", f"root={folder}"]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
