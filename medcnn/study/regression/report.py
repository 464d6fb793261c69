"""What a training leaves to be read: metrics.json, predictions.csv, figures, report.html, a table on the terminal."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from medcnn import __version__
from medcnn.config.saved import flat
from medcnn.config.verbs import TrainConf
from medcnn.data.privacy import Keyring
from medcnn.data.value_dataset import ValueDataset
from medcnn.model_package.regressor import RegressorPackage
from medcnn.reporting.page import ModelCard, Report, Section, SplitSummary, write_report
from medcnn.reporting.tables import show_results
from medcnn.run_folder import RunFolder
from medcnn.study.regression.review import Measured, draw, measure, worst_cases, write_predictions
from medcnn.study.study_data import StudyData
from medcnn.study.training_sections import audit_of, training_sections
from medcnn.tracking.environment import versions
from medcnn.training.state import TrainingState

REVIEWED = ("test", "calib", "val")  # the first there is gives the headline
_RESAMPLES = 2000
_WORST = 12


def review_run(
    run: RunFolder,
    conf: TrainConf,
    package: RegressorPackage,
    data: StudyData[ValueDataset],
    state: TrainingState,
    keyring: Keyring,
) -> dict[str, Any]:
    """Measure every held-out split, write and draw everything; returns what metrics.json holds."""
    measured = _measured(conf, package, data)
    metrics: dict[str, Any] = {part.split: part.result.as_json() for part in measured}
    metrics["training"] = {"wall_minutes": round(state.seconds / 60, 3), "skipped_steps": state.skipped}
    write_predictions(run.path / "predictions.csv", measured, keyring)
    first = measured[0]
    report = Report(
        title=f"{conf.task.name}: {conf.model.name} on {conf.data.name}",
        subtitle=f"{run.path.name}, seed {conf.seed}",
        summaries=[SplitSummary.of(part.split, part.result) for part in measured],
        notes=data.remarks,
        sections=[
            Section(f"Results on {first.split}", draw(first, run.figures)),
            *training_sections(run, conf, data.prepared.of_split("train"), state),
        ],
        worst=worst_cases(first, package.regressor, keyring, most=_WORST),
        worst_text=f"From the {first.split} split: the largest errors first.",
        audit=audit_of(data.dataset, data.prepared, data.remarks),
        model_card=model_card(conf.model.name, package),
        config=dict(flat(asdict(conf))),
        versions={"medcnn": __version__, **versions()},
    )
    write_report(run.path / "report.html", report)
    run.write_json("metrics.json", metrics)  # last: a run with its metrics is finished
    sys.stdout.flush()
    show_results({part.split: part.result.estimates for part in measured})
    return metrics


def _measured(conf: TrainConf, package: RegressorPackage, data: StudyData[ValueDataset]) -> list[Measured]:
    resamples = 200 if conf.debug == "dry_run" else _RESAMPLES
    return [
        measure(package.regressor, part, split, seed=conf.seed, resamples=resamples)
        for split in REVIEWED
        if len(part := data.prepared.of_split(split))
    ]


def model_card(network: str, package: RegressorPackage) -> ModelCard:
    """Who may use the model for what."""
    description, rule = package.description, package.description.rule
    expects, held = description.expects, rule.range
    seen = f"{rule.in_words(rule.low)} to {rule.in_words(rule.high)}, mean {rule.in_words(rule.mean)}"
    facts = {
        "Network": f"{network}, {len(description.weights)} member(s)",
        "Quantity": f"{rule.name} in {rule.unit}" if rule.unit else rule.name,
        "Trained on": seen,
        "Ranges": "none"
        if held is None
        else f"value ± {held.half_width:.4g}: {held.words()}, from {held.num_patients} of {held.fitted_on}",
        "Input": f"{' x '.join(str(n) for n in description.preprocessing.size_px)} px",
        "Modality": ", ".join(expects.modality) or "any",
        "Body part": ", ".join(expects.body_part) or "any",
        "Digest": package.digest,
    }
    limits = [
        "For research use only: not a medical device, and not to be used for clinical decisions.",
        "Figures hold for scans like those of the evaluated split; another site, scanner or population needs its own.",
        "Ranges are equally wide everywhere and hold the truth on average over patients, not for each of them.",
    ]
    return ModelCard(description.intended_use, limits, facts)
