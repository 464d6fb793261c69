"""From chosen weights to the model package: what it expects to see, and the ranges from calibration cases."""

from __future__ import annotations

import logging
from dataclasses import replace

from medcnn.config.verbs import TrainConf
from medcnn.data.prepared import Prepared
from medcnn.data.value_dataset import ValueDataset, values_of
from medcnn.evaluation.value_range import fit_range
from medcnn.inference.regressor import Regressor, ValueRule
from medcnn.model_package.description import save_package
from medcnn.model_package.opening import load_regressor
from medcnn.model_package.regressor import RegressorDescription, RegressorPackage
from medcnn.networks.build import carried_settings
from medcnn.planning.plan import Plan
from medcnn.run_folder import RunFolder
from medcnn.study.named_modules import named_modules
from medcnn.study.regression.data import training_rule
from medcnn.study.regression.review import values_by
from medcnn.study.study_data import StudyData
from medcnn.tracking.environment import versions
from medcnn.training.callbacks import member_path

log = logging.getLogger("medcnn.train")


def save_study_package(conf: TrainConf, run: RunFolder, data: StudyData[ValueDataset], plan: Plan) -> RegressorPackage:
    """Write the package, fit its ranges with it, write it again with them, and open it."""
    weights = [member_path(run.checkpoints, number).read_bytes() for number in range(plan.members)]
    description = save_package(run.model, _description(conf, data, plan), weights)
    untuned = _opened(conf, run).regressor
    rule, fitted_on = _with_range(untuned, data.prepared, conf.decisions.range.error, seed=conf.seed)
    for note in rule.range.notes() if rule.range else []:
        log.info("note: %s", note)
        data.remarks.append(note)
    save_package(run.model, replace(description, rule=rule, fitted_on=fitted_on), weights)
    return _opened(conf, run)


def _with_range(regressor: Regressor, prepared: Prepared, error: float, *, seed: int) -> tuple[ValueRule, str]:
    """From calib; from val, without a promise, where there is no calib. Returns also which split."""
    split = "calib" if len(prepared.of_split("calib")) else "val"
    held_out = prepared.of_split(split)
    patients = [case.patient_id for case in held_out.cases]
    found = fit_range(
        values_by(regressor, held_out),
        values_of(held_out.cases),
        error=error,
        fitted_on=split,
        patient=patients if all(patients) else None,
        seed=seed,
    )
    return replace(regressor.rule, range=found), split


def _opened(conf: TrainConf, run: RunFolder) -> RegressorPackage:
    inference = conf.inference
    return load_regressor(
        run.model,
        accelerator=inference.accelerator,
        batch_cases=inference.batch_cases,
        modules=named_modules(conf),
    )


def _description(conf: TrainConf, data: StudyData[ValueDataset], plan: Plan) -> RegressorDescription:
    dataset = data.dataset
    return RegressorDescription(
        task=conf.task.name,
        intended_use=conf.task.intended_use,
        rule=training_rule(data),
        class_codes={},
        fitted_on="",
        network={
            **carried_settings(conf.model),
            "in_channels": plan.in_channels,
            "size_px": plan.size_px,
            "num_outputs": 1,
        },
        preprocessing=data.preprocessing,
        expects=data.expectation(),
        shifts=conf.inference.shifts,
        training={
            "data": conf.data.name,
            "data_digest": dataset.digest,
            "split_digest": dataset.split_digest,
            "cases": dataset.counts(),
            "seed": conf.seed,
            "plan": plan.as_json(),
            "versions": versions(),
        },
    )
