"""The data of a classifier's training: labelled cases."""

from __future__ import annotations

from dataclasses import replace

from medcnn.config.verbs import TrainConf
from medcnn.data.dataset import Dataset, open_dataset
from medcnn.data.privacy import Keyring
from medcnn.debugging import debug_cases
from medcnn.run_folder import RunFolder
from medcnn.study.classification.output_rule import check_decisions
from medcnn.study.classification.patients import asked_rule
from medcnn.study.classification.per_patient import require_patients
from medcnn.study.classification.subgroups import require_columns
from medcnn.study.starting import pinned, remarks_on
from medcnn.study.study_data import StudyData, prepared_for_training
from medcnn.tasks.classifier_loss import check_loss


def load_study_data(conf: TrainConf, run: RunFolder, keyring: Keyring, *, resumes: bool) -> StudyData[Dataset]:
    """Read, check, prepare; writes manifest.csv as used. Raises DataError, LeakageError, TrainingError, and
    ConfigError for a loss or decisions that these labels do not have, before a scan is read.
    """
    dataset = open_dataset(conf.data, keyring, splits=True)
    check_loss(conf.trainer, dataset.labels.kind)
    check_decisions(conf.decisions, dataset.labels.kind)
    if rule := asked_rule(conf.decisions):
        held_out = [case for case in dataset.manifest.cases if case.split != "train"]
        require_patients(held_out, dataset.labels, rule)
    require_columns(dataset.manifest.cases, conf.subgroups, conf.age_edges)
    dataset = replace(dataset, remarks=(*dataset.remarks, *_on_start(conf, run, dataset)))
    if conf.debug != "none":
        dataset = replace(dataset, manifest=debug_cases(dataset.manifest, dataset.labels, conf.debug))
    return prepared_for_training(conf, run, keyring, dataset, resumes=resumes)


def _on_start(conf: TrainConf, run: RunFolder, dataset: Dataset) -> list[str]:
    """Of the package that is started from. Raises ConfigError where its classes are nearly these."""
    return remarks_on(
        pinned(conf.model, run.path),
        dataset.labels,
        scale=conf.transforms.intensity.scale,
        data_digest=dataset.digest,
        split_digest=dataset.split_digest,
    )
