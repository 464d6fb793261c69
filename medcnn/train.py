"""Train: a manifest becomes a model package in a run.

    python -m medcnn.train +task=xray_cls [data=...] [model=...] [trainer.epochs=...] [resume=auto]

Nothing heavy is imported before the config is known to be right; torch and MONAI come with the functions that use them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from medcnn.config.compose import open_door, task_list
from medcnn.config.distributed import helped_run
from medcnn.config.errors import ConfigError
from medcnn.config.folders import data_root
from medcnn.config.saved import load_config
from medcnn.config.verbs import TrainConf

if TYPE_CHECKING:
    from medcnn.study.study import Study

log = logging.getLogger("medcnn.train")

USAGE = f"""usage: python -m medcnn.train +task=<name> [setting=value ...]      (or: medcnn train ...)

Train a classifier, a segmenter or a regression and review it: a run folder with the model package, metrics with
intervals, figures and a report.

tasks
{task_list()}

often set
  data=<name> data.root=<folder>     another data set: conf/data, or data=custom with your own manifest.csv
  model=<name>                       plain_cnn, resnet18, resnet34, resnet50, custom; unet, unet_residual
  model.pretrained=imagenet          start from given weights, or a package; trainer.frozen=body: the last layer alone
  trainer.epochs=30  trainer.batch_cases=32  trainer.learning_rate=1e-3  trainer.max_minutes=15
  plan.patch_px=[...]  trainer.folds=5  transforms.slices=axial     of segmenters; docs/segmentation.md has more
  seed=0   output=runs   tracking.uri=...   tracking.register_as=<name> tracking.alias=champion
  resume=auto | <run folder>         go on with a run that was interrupted
  debug=dry_run | overfit            two steps to see that all works | can it learn 16 cases by heart?
  debug=learning_rate                tries rates from small to large on a network that is thrown away, suggests one

  --cfg job                          print the whole config, every setting there is
  -m setting=a,b                     one run for each value
  hydra.searchpath=[file:///dir]     your own conf folder

exit codes: 0 done, 1 could not be done, 2 the config cannot be run, 28 no space,
130 and 143 interrupted (what was learnt is kept; resume=auto goes on)
"""


def train(conf: TrainConf) -> Path:
    """Train one model on one data set, review it on cases it never saw, and return the run's folder.

    Raises medcnn.errors.UserError (data, training, checkpoints, no space, interrupted) with what to do.
    """
    require_folders(conf)
    from medcnn.training.interruption import Interruption

    with Interruption().listening() as interruption:
        study = _study(conf).begin(conf, interruption)
        with study.at_work():
            # Data: split by patient, never by image; a leak across splits stops here
            study.load_data()

            # Plan: everything that is fixed before the first step
            study.make_plan()

            with study.tracked() as tracker:
                if conf.debug == "learning_rate":
                    study.try_learning_rates(tracker)
                    return study.run.path

                # Optimisation: the epoch is chosen on validation patients
                study.fit(tracker)
                if study.is_helper:
                    return study.run.path  # the first process goes on alone

                # The package: weights, output rule from calibration patients, what it expects to see
                study.save_package()

                # Review: patients that chose nothing
                study.review(tracker)
            study.say_what_next(tracker)
    return study.run.path


def _study(conf: TrainConf) -> type[Study]:
    """Of the task's kind."""
    if conf.task.kind == "segmentation":
        from medcnn.study.segmentation.study import SegmentationStudy

        return SegmentationStudy
    if conf.task.kind == "regression":
        from medcnn.study.regression.study import RegressionStudy

        return RegressionStudy
    from medcnn.study.classification.study import ClassificationStudy

    return ClassificationStudy


def require_folders(conf: TrainConf) -> None:
    """Raise ConfigError for paths that are not there, before anything heavy is imported."""
    problems = []
    if not data_root(conf.data.root).is_dir():
        problems.append(f"data.root: there is no folder {conf.data.root!r}. Give the folder that holds the data")
    elif conf.data.manifest and not (data_root(conf.data.root) / conf.data.manifest).is_file():
        problems.append(f"data.manifest: there is no file {conf.data.manifest!r} in data.root")
    if conf.resume not in ("", "auto") and not Path(conf.resume).is_dir():
        problems.append(f"resume: there is no run folder {conf.resume!r}. Give one, or auto for the newest unfinished")
    if problems:
        raise ConfigError(problems)


def _run(conf: TrainConf) -> int:
    train(conf)
    return 0


def main() -> None:
    """The command; Lightning starts it again for the further processes of a distributed training."""
    if run := helped_run():
        train(load_config(run / "config.yaml"))
        return
    open_door("train", _run, usage=USAGE)


if __name__ == "__main__":
    main()
