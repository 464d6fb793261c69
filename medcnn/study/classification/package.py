"""From chosen weights to the model package: what it expects to see, and the output rule from calibration cases."""

from __future__ import annotations

from dataclasses import replace

from medcnn.config.verbs import TrainConf
from medcnn.data.dataset import Dataset
from medcnn.inference.classifier import OutputRule
from medcnn.model_package.classifier import ClassifierDescription, ClassifierPackage
from medcnn.model_package.description import save_package
from medcnn.model_package.opening import load_classifier
from medcnn.networks.build import carried_settings
from medcnn.planning.plan import Plan
from medcnn.run_folder import RunFolder
from medcnn.study.classification.explanations import Explanations, explained
from medcnn.study.classification.patients import fit_patient_rule
from medcnn.study.classification.review import fit_rule
from medcnn.study.named_modules import named_modules
from medcnn.study.study_data import StudyData
from medcnn.tracking.environment import versions
from medcnn.training.callbacks import member_path


def save_study_package(
    conf: TrainConf, run: RunFolder, data: StudyData[Dataset], plan: Plan
) -> tuple[ClassifierPackage, Explanations | None]:
    """Write the package, fit its output rule with it and examine its heat maps, write it again with what was found."""
    weights = [member_path(run.checkpoints, number).read_bytes() for number in range(plan.members)]
    description = save_package(run.model, _description(conf, data, plan), weights)
    untuned = _opened(conf, run)
    labels = data.dataset.labels
    rule, fitted_on, remarks = fit_rule(untuned.classifier, data.prepared, labels, conf.decisions, seed=conf.seed)
    data.remarks.extend(remarks)
    ways = [] if conf.debug == "dry_run" else conf.explain
    held_out = data.prepared.of_split(fitted_on)
    made = explained(untuned.classifier.with_rule(rule), held_out, fitted_on, ways, seed=conf.seed)
    words = made.words() if made else {}
    patients = fit_patient_rule(untuned.classifier.with_rule(rule), held_out, labels, conf.decisions, seed=conf.seed)
    tuned = replace(description, rule=rule, fitted_on=fitted_on, explained=words, patients=patients)
    save_package(run.model, tuned, weights)
    return _opened(conf, run), made


def _opened(conf: TrainConf, run: RunFolder) -> ClassifierPackage:
    inference = conf.inference
    return load_classifier(
        run.model,
        accelerator=inference.accelerator,
        batch_cases=inference.batch_cases,
        modules=named_modules(conf),
    )


def _description(conf: TrainConf, data: StudyData[Dataset], plan: Plan) -> ClassifierDescription:
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
            **({"grades": True} if labels.kind == "ordinal" else {}),
            **({"num_covariates": data.num_covariates} if data.covariates else {}),
        },
        preprocessing=data.preprocessing,
        expects=data.expectation(),
        shifts=conf.inference.shifts,
        covariates=data.covariates,
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
