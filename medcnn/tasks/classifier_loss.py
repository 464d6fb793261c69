"""Which loss a classifier learns by: what the config names, fitted to what the labels are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from medcnn.config.errors import ConfigError
from medcnn.config.trainer import TrainerConf
from medcnn.evaluation.arrays import Kind
from medcnn.losses.classification import (
    asymmetric_loss,
    binary_cross_entropy,
    binary_focal_loss,
    cross_entropy,
    focal_loss,
)
from medcnn.losses.ordinal import coral_loss

#: logits (B, K), target (B, K), class weights (K,) or None -> ().
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def check_loss(conf: TrainerConf, kind: Kind) -> None:
    """Raise ConfigError where these labels cannot be learnt by this loss; what no data are needed for is said by
    TrainConf.
    """
    if conf.loss == "asymmetric" and kind != "multilabel":
        raise ConfigError(
            [
                "trainer.loss: asymmetric is for several labels a case (columns label.<name>), and here a case has "
                "one. Take focal or cross_entropy"
            ]
        )


def classifier_loss(conf: TrainerConf, kind: Kind) -> Loss:
    """As the config says; `auto` is CORAL of grades, cross-entropy else. check_loss comes first."""
    several = kind == "multilabel"
    name = conf.loss
    if name == "auto":
        name = "coral" if kind == "ordinal" else "cross_entropy"
    if name == "focal":
        return partial(binary_focal_loss if several else focal_loss, gamma=conf.focal_gamma)
    if name == "asymmetric":
        positive, negative = conf.asymmetric_gammas
        return partial(asymmetric_loss, gamma_positive=positive, gamma_negative=negative, margin=conf.asymmetric_margin)
    if name == "coral":
        return coral_loss
    return binary_cross_entropy if several else cross_entropy
