"""Evaluate: a trained model on data with labels or masks, with intervals, figures and a table of cases.

python -m medcnn.evaluate model=<package or run> data=<set> data.root=<folder> data.split=test output=<folder>
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medcnn.config.compose import choices, open_door
from medcnn.config.errors import ConfigError
from medcnn.config.folders import data_root
from medcnn.config.verbs import EvaluateConf

if TYPE_CHECKING:
    from medcnn.evaluation.classification import ClassificationResult
    from medcnn.evaluation.regression import RegressionResult
    from medcnn.evaluation.segmentation.result import SegmentationResult

USAGE = f"""usage: python -m medcnn.evaluate model=<package or run> data=<name> data.root=<folder> output=<folder>

Measure a trained model on cases with labels, masks or a number each: metrics.json, predictions.csv, figures and
report.html in the output folder.

  model=<folder>            a model package, or a run folder
  data=<name>               {", ".join(choices("data"))}
  data.root=<folder>        where that data set lies; data=custom takes your own manifest.csv there
  data.split=test           train, val, calib, test or all; a manifest without splits is taken whole
  output=<folder>           must not hold results already
  resamples=2000 seed=0     of the intervals

a classifier, besides:
  prevalence={{ill: 0.05}}    shares of the classes where the model is used, of which it knew others; then
                            follow=same_decisions or same_thresholds
  subgroups=[sex,age,site]  every metric for each value of these free columns of the manifest, and tested differences;
                            the values stand in the report
  age_edges=[18,40,60,80]   years, where a column named age is cut into groups
  aggregate=mean            one answer per patient: none, mean, max or noisy_or of the images' probabilities

a regression, besides:
  data.quantity.column=age  the manifest's column that holds the number; label by default

a model that segments, otherwise than the model says:
  inference.overlap=  inference.mirror_axes=  inference.shifts=

Thresholds, temperature and post-processing are the package's own. Each case is answered by itself.
exit codes: 0 done, 1 could not be done, 2 the config cannot be run, 28 no space
"""


def evaluate(conf: EvaluateConf) -> ClassificationResult | SegmentationResult | RegressionResult:
    """Measure, write metrics.json, predictions.csv, figures and report.html into conf.output.

    Raises medcnn.errors.UserError (package, data, no space) and ConfigError with what to do.
    """
    require_folders(conf)
    from medcnn.model_package.classifier import ClassifierPackage
    from medcnn.model_package.opening import load_package
    from medcnn.model_package.regressor import RegressorPackage
    from medcnn.run_folder import log_to_terminal, writing

    log_to_terminal()
    output = Path(conf.output).expanduser().absolute()
    with writing(output):
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        inference = conf.inference
        package = load_package(
            Path(conf.package),
            accelerator=inference.accelerator,
            batch_cases=inference.batch_cases,
            modules=conf.modules,
        )
        if isinstance(package, ClassifierPackage):
            from medcnn.study.classification.evaluation import evaluate_labels

            return evaluate_labels(conf, output, package)
        if isinstance(package, RegressorPackage):
            from medcnn.study.regression.evaluation import evaluate_values

            return evaluate_values(conf, output, package)
        from medcnn.study.segmentation.evaluation import evaluate_masks

        if conf.subgroups or conf.aggregate != "none" or conf.prevalence:
            raise ConfigError(
                ["subgroups, aggregate, prevalence: are for classifiers, and this model segments. Leave them out"]
            )
        return evaluate_masks(conf, output, package)


def require_folders(conf: EvaluateConf) -> None:
    """Raise ConfigError for paths that are not there, before anything heavy is imported."""
    problems = []
    if not Path(conf.package).is_dir():
        problems.append(f"model: there is no folder {conf.package!r}. Give a run folder or a model package")
    if not data_root(conf.data.root).is_dir():
        problems.append(f"data.root: there is no folder {conf.data.root!r}. Give the folder that holds the data")
    if (Path(conf.output) / "metrics.json").exists():
        problems.append(f"output: {conf.output!r} holds an evaluation already. Give a new folder")
    if problems:
        raise ConfigError(problems)


def _run(conf: EvaluateConf) -> int:
    evaluate(conf)
    return 0


def main() -> None:
    """The command."""
    open_door("evaluate", _run, usage=USAGE)


if __name__ == "__main__":
    main()
