"""`predict` over a hundred good scans and thirty bad ones of every kind, by a segmenter and by a classifier."""

from __future__ import annotations

import csv
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from folders import asked, digests
from mixed_folder import Mixed, write_pictures, write_volumes
from mixed_pictures import grey
from mixed_volumes import SHAPE, voxels
from packages import tiny_package, tiny_segmenter_package
from PIL import Image

from medcnn.predict import Predicted, predict
from medcnn.scan import Reason

NOT_OF_A_FOLDER = {  # of masks, training, configs; of a run's resources; of a display window, which no model here wants
    *("LABEL_VALUES", "LEAKAGE", "CKPT_CORRUPT", "CKPT_MISMATCH", "CKPT_UNSAFE", "CONFIG_FORBIDDEN", "INPUT_CHANGED"),
    *("MEMORY", "TIMEOUT", "WORKER_SIGNAL", "NO_SPACE", "INTERNAL", "WINDOW_INVALID"),
    *("COVARIATE_MISSING", "COVARIATE_INVALID"),  # of models that take more than the scan
}


@dataclass(frozen=True)
class GoneOver:
    """A hostile folder and what a run over it left. before: the folder as it was."""

    of_volumes: bool
    mixed: Mixed
    model: Path
    done: Predicted
    before: dict[str, tuple[object, ...]]


@pytest.fixture(scope="module", params=["volumes", "pictures"])
def gone_over(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GoneOver:
    folder, of_volumes = tmp_path_factory.mktemp(request.param), request.param == "volumes"
    mixed = (write_volumes if of_volumes else write_pictures)(folder / "scans")
    make: Callable[[Path], Path] = tiny_segmenter_package if of_volumes else tiny_package
    model, before = make(folder / "model"), state(mixed.root)
    done = predict(asked(model, mixed.root, folder / "out", explain="gradcam"))
    return GoneOver(of_volumes, mixed, model, done, before)


def state(root: Path) -> dict[str, tuple[object, ...]]:
    """Of everything below: kind and rights, time of the last change, link target, bytes."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        about = path.lstat()
        link = str(path.readlink()) if path.is_symlink() else ""
        content = sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(about.st_mode) else ""
        found[str(path.relative_to(root))] = (about.st_mode, about.st_mtime_ns, about.st_ino, link, content)
    return found


@pytest.mark.case("I01")
def test_I01_a_hundred_results_and_thirty_reasons(gone_over: GoneOver) -> None:
    mixed, done = gone_over.mixed, gone_over.done
    assert (len(mixed.good), len(mixed.bad)) == (100, 30)
    assert done.exit_code == 8
    found = {row.reference: (row.status, row.reason_code) for row in done.rows}
    assert len(found) == len(done.rows) == done.computed == 130
    assert {name: end for name, end in found.items() if name in mixed.good} == dict.fromkeys(mixed.good, ("ok", ""))
    assert {name: end for name, end in found.items() if name not in mixed.good} == {
        name: ("rejected", code) for name, code in mixed.bad.items()
    }
    with (done.output / "skipped.csv").open(newline="") as stream:
        skipped = {row["reference"]: row["reason_code"] for row in csv.DictReader(stream)}
    assert skipped == mixed.skipped
    with (done.output / "predictions.csv").open(newline="") as stream:
        lines = {row["reference"]: row for row in csv.DictReader(stream)}
    assert lines.keys() == found.keys()
    assert all(lines[name]["reason"].startswith(f"{code}: ") for name, code in mixed.bad.items())


def test_every_result_has_its_files_and_nothing_else_lies_there(gone_over: GoneOver) -> None:
    done = gone_over.done
    kinds = ("overlays", "masks") if gone_over.of_volumes else ("overlays",)
    for row in done.rows:
        there = {name.partition("/")[0] for name in row.files}
        assert there >= set(kinds) if row.status == "ok" else not there & {"overlays", "masks", "dicom"}, row.reference
    named = {name: digest for row in done.rows for name, digest in row.files.items()}
    lying = {name: digest for name, digest in digests(done.output).items() if name.startswith(kinds)}
    assert {name: digest for name, digest in named.items() if name.startswith(kinds)} == lying
    assert Counter(name.partition("/")[0] for name in lying if not name.endswith(".dcm")) == dict.fromkeys(kinds, 100)


def test_every_mask_is_the_known_one(gone_over: GoneOver) -> None:
    """The tiny segmenter draws by value alone: up to 100 nothing, up to 200 the rim (3), beyond the core (7)."""
    masks = {row.reference: row.masks for row in gone_over.done.rows if row.masks}
    assert masks.keys() == (set(gone_over.mixed.good) if gone_over.of_volumes else set())
    for reference, (mask,) in masks.items():
        drawn = np.asanyarray(nib.load(gone_over.done.output / mask).dataobj)
        assert drawn.shape == SHAPE
        assert np.array_equal(drawn, truth(int(Path(reference).name[1:4]))), reference


def truth(number: int) -> np.ndarray:
    values = voxels(number)
    return np.where(values > 200, 7, np.where(values > 100, 3, 0))


@pytest.mark.case("I15")
def test_I15_the_input_is_as_it_was(gone_over: GoneOver) -> None:
    assert state(gone_over.mixed.root) == gone_over.before
    links = [name for name, about in gone_over.before.items() if about[3]]
    assert len(links) >= 4  # and they are looked at as links


@pytest.mark.case("I02")
def test_I02_again_nothing_is_computed_or_written(gone_over: GoneOver) -> None:
    output = gone_over.done.output
    before = state(output)
    again = predict(asked(gone_over.model, gone_over.mixed.root, output, explain="gradcam"))
    assert (again.computed, again.exit_code, len(again.rows)) == (0, 8, 130)
    after = state(output)
    assert after["ledger.jsonl"] == before["ledger.jsonl"]
    assert after.keys() == before.keys()
    of_cases = [name for name, about in before.items() if "/" in name and not name.startswith(".")]
    assert len(of_cases) >= 100
    assert {name: after[name] for name in of_cases} == {name: before[name] for name in of_cases}  # not even touched
    changed = {name for name, about in before.items() if after[name][4] != about[4]}  # written anew, the same bytes
    assert changed <= {".lock"}


@pytest.mark.case("I14")
def test_I14_alone_in_eights_and_in_another_order(gone_over: GoneOver, tmp_path: Path) -> None:
    """Each scan again in one plain dress and under a name that turns the order round: the numbers are the same."""
    numbers, turned = {}, {}
    for reference in gone_over.mixed.good:
        if reference.endswith(".jpg"):  # which keeps only what the eye needs
            continue
        row = reference.rpartition("/")[2] if "#row" in reference else ""
        number = 900 + int(row) if row else int(Path(reference).name[1:4])
        numbers[reference], turned[reference] = number, f"{999 - number}"
    is_volume = gone_over.of_volumes
    (tmp_path / "plain").mkdir()
    for reference, name in turned.items():
        if is_volume:
            values = voxels(numbers[reference]).astype(np.float32)
            nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "plain" / f"{name}.nii")
        else:
            Image.fromarray(grey(numbers[reference])).save(tmp_path / "plain" / f"{name}.png")
    suffix = ".nii" if is_volume else ".png"
    before = {row.reference: row for row in gone_over.done.rows}
    few = {"batch_memory_mb": 64} if is_volume else {"batch_cases": 8}
    alone = {"batch_memory_mb": 65} if is_volume else {"batch_cases": 1}
    for name, how in (("few", few), ("alone", alone)):
        rows = predict(asked(gone_over.model, tmp_path / "plain", tmp_path / name, **how)).rows
        after = {row.reference: row for row in rows}
        assert len(after) == len(turned)
        for old, new in turned.items():
            one, other = before[old], after[f"{new}{suffix}"]
            assert other.decision == one.decision
            assert other.probability == pytest.approx(one.probability, abs=1e-5), old
            assert other.expected_dice == pytest.approx(one.expected_dice, abs=1e-5), old
            for mask in other.masks:
                assert np.array_equal(nib.load(tmp_path / name / mask).dataobj, truth(numbers[old])), old
    told = [tuple(before[name].probability.values()) + tuple(before[name].expected_dice.values()) for name in turned]
    assert len(set(told)) > 0.5 * len(told)  # and it is no constant that agrees


def test_together_they_show_every_code_that_a_folder_can_hold(tmp_path: Path) -> None:
    both = [write_volumes(tmp_path / "volumes"), write_pictures(tmp_path / "pictures")]
    shown = {code for mixed in both for code in (*mixed.bad.values(), *mixed.skipped.values())}
    assert {reason.value for reason in Reason} - shown == NOT_OF_A_FOLDER
    assert shown & NOT_OF_A_FOLDER == set()


def test_it_is_the_same_folder_each_time(tmp_path: Path) -> None:
    for write in (write_volumes, write_pictures):
        first, second = (write(tmp_path / write.__name__ / name) for name in ("one", "two"))
        assert digests(first.root) == digests(second.root)
