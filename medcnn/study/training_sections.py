"""What a report says of a training whose network sees whole scans: its curves, what it saw, what the data were."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medcnn.config.verbs import TrainConf
from medcnn.data.batches import Batch
from medcnn.data.dataset import Dataset
from medcnn.data.prepared import Prepared
from medcnn.data.value_dataset import ValueDataset
from medcnn.reporting.figures import SavedFigure, save
from medcnn.reporting.image_figures import augmentation_figure, montage_figure
from medcnn.reporting.learning_figure import learning_figure
from medcnn.reporting.page import Audit, Section
from medcnn.run_folder import RunFolder
from medcnn.study.scan_pictures import middle_plane, picture
from medcnn.training.state import TrainingState
from medcnn.transforms.random_steps import RandomSteps


def training_sections(run: RunFolder, conf: TrainConf, train: Prepared, state: TrainingState) -> list[Section]:
    """Learning curves, and training scans as they enter the network."""
    sections = []
    best = state.best_epoch + 1 if conf.trainer.keep == "best" and state.best_epoch >= 0 else None
    rows = [row for row in state.history if row["member"] == state.member]
    if rows:
        shown = [{key: value for key, value in row.items() if key not in ("member", "step")} for row in rows]
        drawn = learning_figure(shown, best_epoch=best)
        sections.append(Section("Training", [save(drawn, run.figures, "learning_curves")]))
    return [*sections, Section("What the network sees", _input_figures(run, conf, train))]


def _input_figures(run: RunFolder, conf: TrainConf, train: Prepared) -> list[SavedFigure]:
    """Training scans as they enter the network, and what the random steps make of some."""
    some = train.images[list(range(min(len(train), 16)))]
    plane = middle_plane(abs(some[0, 0]))
    texts = ["+".join(value for value in case.labels.values()) for case in train.cases[: len(some)]]
    figures = [save(montage_figure([picture(image, plane) for image in some], texts), run.figures, "inputs")]
    steps = RandomSteps(conf.transforms.random, some.ndim - 2)
    if not steps.steps:
        return figures
    few = torch.from_numpy(some[:4].copy())
    draws = [_varied(steps, Batch(few, few, 0, [100 * k + n for n in range(len(few))]), conf.seed) for k in range(5)]
    changed = [[picture(draw[n].numpy(), plane) for draw in draws] for n in range(len(few))]
    drawn = augmentation_figure([picture(image.numpy(), plane) for image in few], changed, value_range=(-1.0, 1.0))
    return [*figures, save(drawn, run.figures, "random_transforms")]


def _varied(steps: RandomSteps, batch: Batch, seed: int) -> torch.Tensor:
    return steps.apply(batch.image, steps.draw(seed, batch.epoch, batch.positions))


def audit_of(dataset: Dataset | ValueDataset, prepared: Prepared, remarks: Sequence[str]) -> Audit:
    """What the data are: cases of each split and class, patients, what was left out."""
    cases = dataset.manifest.cases
    patients = {
        split: len({case.patient_id for case in cases if case.split == split and case.patient_id})
        for split in dict.fromkeys(case.split for case in cases)
    }
    rejected = [f"{case.case_id}: {rejection}" for case, rejection in prepared.rejected[:20]]
    if isinstance(dataset, Dataset):
        counts = dataset.counts()
    else:
        counts = {split: {"cases": count} for split, count in dataset.counts().items()}
    return Audit(counts, patients if any(patients.values()) else {}, rejected, list(remarks))
