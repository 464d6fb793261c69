"""The data of a regression's training: cases with a number each."""

from __future__ import annotations

from dataclasses import replace

from medcnn.config.verbs import TrainConf
from medcnn.data.dataset import open_dataset
from medcnn.data.privacy import Keyring
from medcnn.data.value_dataset import ValueDataset
from medcnn.debugging import debug_cases_with_values
from medcnn.inference.regressor import ValueRule
from medcnn.run_folder import RunFolder
from medcnn.study.study_data import StudyData, prepared_for_training


def load_value_data(conf: TrainConf, run: RunFolder, keyring: Keyring, *, resumes: bool) -> StudyData[ValueDataset]:
    """Read, check, prepare; writes manifest.csv as used. Raises DataError, LeakageError, TrainingError."""
    dataset = open_dataset(conf.data, keyring, splits=True, learns="values")
    if conf.debug != "none":
        dataset = replace(dataset, manifest=debug_cases_with_values(dataset.manifest, conf.debug))
    return prepared_for_training(conf, run, keyring, dataset, resumes=resumes)


def training_rule(data: StudyData[ValueDataset]) -> ValueRule:
    """What the network's number means, from the training cases alone; no range yet."""
    values, quantity = data.dataset.values("train"), data.dataset.quantity
    low, high = float(values.min()), float(values.max())
    return ValueRule(quantity.name, quantity.unit, float(values.mean()), float(values.std()), low, high)
