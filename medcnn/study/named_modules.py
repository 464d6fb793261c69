"""The module of the user's own network, which naming it in the config admits."""

from __future__ import annotations

from medcnn.config.model import CustomConf
from medcnn.config.verbs import TrainConf


def named_modules(conf: TrainConf) -> list[str]:
    """[] for the networks of medcnn."""
    return [conf.model.module] if isinstance(conf.model, CustomConf) else []
