"""From chosen weights to the model package: what it expects to see, and the output rule from calibration cases."""

from __future__ import annotations

from dataclasses import replace

from medcnn.config.verbs import TrainConf
from medcnn.inference.classifier import OutputRule
from medcnn.inference.expectation import Expectation
from medcnn.model_package.classifier import ClassifierDescription, ClassifierPackage
from medcnn.model_package.description import save_package
from medcnn.model_package.opening import load_classifier
from medcnn.networks.build import carried_settings
from medcnn.planning.plan import Plan
from medcnn.run_folder import RunFolder
from medcnn.study.classification.data import StudyData
from medcnn.study.classification.review import fit_rule
from medcnn.study.named_modules import named_modules
from medcnn.tracking.environment import versions
from medcnn.training.callbacks import member_path

_SEEN = 500  # training scans that the intensity range is taken from


def save_study_package(conf: TrainConf, run: RunFolder, data: StudyData, plan: Plan) -> ClassifierPackage:
    """Write the package, fit its output rule with it, write it again with the rule, and open it."""
    weights = [member_path(run.checkpoints, number).read_bytes() for number in range(plan.members)]
    description = save_package(run.model, _description(conf, data, plan), weights)
    untuned = _opened(conf, run)
    labels = data.dataset.labels
    rule, fitted_on, remarks = fit_rule(untuned.classifier, data.prepared, labels, conf.decisions, seed=conf.seed)
    data.remarks.extend(remarks)
    save_package(run.model, replace(description, rule=rule, fitted_on=fitted_on), weights)
    return _opened(conf, run)


def _opened(conf: TrainConf, run: RunFolder) -> ClassifierPackage:
    inference = conf.inference
    return load_classifier(
        run.model,
        accelerator=inference.accelerator,
        batch_cases=inference.batch_cases,
        modules=named_modules(conf),
    )


def _description(conf: TrainConf, data: StudyData, plan: Plan) -> ClassifierDescription:
    labels, dataset = data.dataset.labels, data.dataset
    return ClassifierDescription(
        task=conf.task.name,
        intended_use=conf.task.intended_use,
        rule=OutputRule(labels.kind, labels.class_names),
        class_codes=dict(conf.data.class_codes),
        fitted_on="",
        network={
            **carried_settings(conf.model),
            "in_channels": plan.in_channels,
            "size_px": plan.size_px,
            "num_outputs": len(labels.class_names),
        },
        preprocessing=data.preprocessing,
        expects=_expectation(data),
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


def _expectation(data: StudyData) -> Expectation:
    train = data.prepared.of_split("train")
    return Expectation.of(
        modality=[fact.modality for fact in train.facts],
        body_part=[fact.body_part for fact in train.facts],
        low=[fact.low for fact in train.facts],
        high=[fact.high for fact in train.facts],
        images=train.images[list(range(min(len(train), _SEEN)))],
    )
