"""What a segmenter's training leaves to be read: metrics with intervals, figures, worst cases, the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from medcnn import __version__
from medcnn.config.saved import flat
from medcnn.config.verbs import TrainConf
from medcnn.data.manifest import Case
from medcnn.data.privacy import Keyring
from medcnn.data.segmentation_cases import SegmentationCases
from medcnn.inference.choose_postprocessing import Trial
from medcnn.inference.segmenter import Segmenter
from medcnn.model_package.segmenter import SegmenterPackage
from medcnn.planning.segmentation_plan import SegmentationPlan
from medcnn.reporting.case_table import write_case_scores
from medcnn.reporting.figures import SavedFigure, save
from medcnn.reporting.image_figures import augmentation_figure, montage_figure
from medcnn.reporting.learning_figure import learning_figure
from medcnn.reporting.page import Audit, ModelCard, Report, Section, SplitSummary, Table, write_report
from medcnn.reporting.segmentation_figures import segmentation_figures
from medcnn.reporting.tables import show_results
from medcnn.run_folder import RunFolder
from medcnn.study.segmentation.bench import Bench
from medcnn.study.segmentation.crossvalidation import OutOfFold, trial_rows
from medcnn.study.segmentation.data import MaskStudyData
from medcnn.study.segmentation.evaluation import GALLERY_TEXT
from medcnn.study.segmentation.measuring import Choose, MeasuredMasks, measure_masks
from medcnn.study.segmentation.pictures import gallery
from medcnn.tracking.environment import versions
from medcnn.training.state import TrainingState

CROSS_VALIDATED = "cv"
REVIEWED = ("test", CROSS_VALIDATED, "calib", "val")  # the first there is gives the headline
_RESAMPLES = 2000
_SHOWN = 16


@dataclass(frozen=True, eq=False)
class Trained:
    """All that a review is made from."""

    run: RunFolder
    conf: TrainConf
    keyring: Keyring
    data: MaskStudyData
    cases: SegmentationCases
    plan: SegmentationPlan
    bench: Bench
    package: SegmenterPackage
    trials: Sequence[Trial]
    state: TrainingState


def review_masks(trained: Trained) -> dict[str, Any]:
    """Measure every held-out split, write and draw everything; returns what metrics.json holds."""
    run, conf, state = trained.run, trained.conf, trained.state
    found = _measured(trained)
    measured = [part for part, _ in found]
    metrics: dict[str, Any] = {part.split: part.result.as_json() for part in measured}
    metrics["training"] = {"wall_minutes": round(state.seconds / 60, 3), "skipped_steps": state.skipped}
    write_case_scores(run.path / "predictions.csv", [score for part in measured for score in part.scores])
    first, choose = found[0]
    report = Report(
        title=f"{conf.task.name}: {conf.model.name} on {conf.data.name}",
        subtitle=f"{run.path.name}, seed {conf.seed}",
        summaries=[SplitSummary.of(part.split, part.result) for part in measured],
        notes=trained.data.remarks,
        sections=_sections(trained, first, choose),
        audit=_audit(trained),
        model_card=_model_card(trained),
        config=dict(flat(asdict(conf))),
        versions={"medcnn": __version__, **versions()},
    )
    write_report(run.path / "report.html", report)
    run.write_json("metrics.json", metrics)  # last: a run with its metrics is finished
    sys.stdout.flush()
    show_results(
        {part.split: part.result.estimates for part in measured},
        counts={part.split: part.result.counts for part in measured},
    )
    return metrics


def _measured(trained: Trained) -> list[tuple[MeasuredMasks, Choose]]:
    """Of every split that was held out, who was measured on it."""
    conf, package, found = trained.conf, trained.package, []
    folds = OutOfFold(package.segmenter, conf.trainer.folds)

    def ensemble(case: Case) -> Segmenter:
        return package.segmenter

    for split in REVIEWED:
        if split == CROSS_VALIDATED:
            cases = folds.cases(trained.cases) if conf.trainer.folds else trained.cases.part(lambda case: False)
            choose: Choose = folds.choose
        elif split == "val" and conf.trainer.folds:
            continue  # val cases took their turns: the ensemble has seen them
        else:
            cases, choose = trained.cases.of_split(split), ensemble
        if len(cases):
            resamples = 200 if conf.debug == "dry_run" else _RESAMPLES
            measured = measure_masks(
                choose,
                cases,
                split,
                trained.keyring,
                seed=conf.seed,
                resamples=resamples,
                tolerance_mm=conf.nsd_tolerance_mm,
            )
            found.append((measured, choose))
    return found


def _sections(trained: Trained, first: MeasuredMasks, choose: Choose) -> list[Section]:
    figures = trained.run.figures
    drawn = segmentation_figures(first.result, first.scores, split=first.split)
    results = [save(figure, figures, name) for name, figure in drawn.items()]
    sections = [
        Section(f"Results on {first.split}", results),
        Section("Cases", gallery(first, choose, figures), GALLERY_TEXT),
    ]
    if trained.trials:
        header = ["structure", "step", "Dice without", "with", "cases better / worse", ""]
        table = Table("Mending of masks, each step on top of those kept", header, trial_rows(trained.trials))
        text = "A step is kept only where the mean Dice of cases outside each member's training rises by it."
        sections.append(Section("Post-processing", [], text, [table]))
    rows = [row for row in trained.state.history if row["member"] == trained.state.member]
    if rows:
        shown = [{key: value for key, value in row.items() if key not in ("member", "step")} for row in rows]
        sections.append(Section("Training", [save(learning_figure(shown), figures, "learning_curves")]))
    sections.append(Section("What the network sees", _input_figures(trained)))
    return sections


def _input_figures(trained: Trained) -> list[SavedFigure]:
    """Patches as they are cut, and what the random steps make of some."""
    bench = trained.bench
    batches = bench.batches(0 if trained.conf.trainer.folds else None)
    task, picked = bench.task(trained.conf.seed), []
    few = next(iter(batches.loader(0, 0, 1)))
    plain = _planes(few.image, bench.patch_px)
    for turn in range(5):
        few.positions = [100 * turn + at for at in range(len(few.image))]
        picked.append(_planes(task.varied(few)[0], bench.patch_px))
    figures = [save(montage_figure(plain, [""] * len(plain)), trained.run.figures, "inputs")]
    changed = [[turn[at] for turn in picked] for at in range(min(4, len(plain)))]
    drawn = augmentation_figure(plain[:4], changed)
    return [*figures, save(drawn, trained.run.figures, "random_transforms")]


def _planes(image: torch.Tensor, patch: Sequence[int]) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """The middle of each patch (B, C, *cut), no margin, as a picture (H, W): axial, patient's right on the left."""
    planes = []
    for one in image[:_SHOWN].numpy():
        first = one[0]
        for axis, side in enumerate(patch):
            start = (first.shape[axis] - side) // 2
            first = first.take(range(start, start + side), axis)
        planes.append(first if first.ndim == 2 else np.ascontiguousarray(first[::-1, ::-1, first.shape[2] // 2].T))
    return planes


def _audit(trained: Trained) -> Audit:
    cases = trained.data.dataset.manifest.cases
    splits = list(dict.fromkeys(case.split for case in cases))
    patients = {s: len({c.patient_id for c in cases if c.split == s and c.patient_id}) for s in splits}
    counts = {split: {"cases": len(trained.data.read.of_split(split))} for split in splits}
    rejected = [f"{case.case_id}: {why}" for case, why in (*trained.data.read.rejected, *trained.cases.rejected)][:20]
    return Audit(counts, patients if any(patients.values()) else {}, rejected, list(trained.data.remarks))


def _model_card(trained: Trained) -> ModelCard:
    description, plan = trained.package.description, trained.plan
    settings = description.settings
    patch = " x ".join(str(side) for side in plan.patch_px)
    spacing = " x ".join(f"{edge:g}" for edge in plan.spacing_mm)
    facts = {
        "Network": f"{trained.conf.model.name}, widths {', '.join(map(str, plan.widths))}, "
        f"{len(description.weights)} member(s)",
        "Structures": ", ".join(description.rule.names),
        "Patch": f"{patch} voxels" + (f" of {spacing} mm" if spacing else ""),
        "Intensities": plan.normalisation["scale"],
        "Averaged over": f"{2 ** len(settings.mirror_axes) * (1 + settings.shifts)} pass(es)",
        "Mending": ", ".join(description.postprocessing.mendings) or "none",
        "Modality": ", ".join(description.expects.modality) or "any",
        "Body part": ", ".join(description.expects.body_part) or "any",
        "Digest": trained.package.digest,
    }
    limits = [
        "For research use only: not a medical device, and not to be used for clinical decisions.",
        "Figures hold for scans like those of the evaluated split; another site, scanner or population needs its own.",
    ]
    return ModelCard(description.intended_use, limits, facts)
