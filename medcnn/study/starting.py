"""What a training starts from: looked for before any data are read, and pinned in the run folder.

A folder called latest, or an alias in MLflow's registry, may name something else an hour later; a run that is resumed
starts its next member from what its first one had.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

from medcnn.config.errors import ConfigError
from medcnn.config.model import ClassifierConf, ModelConf, UNetConf
from medcnn.config.verbs import TrainConf
from medcnn.data.labels import Labels
from medcnn.data.privacy import PRIVATE_FOLDER
from medcnn.errors import PackageError
from medcnn.networks.package_facts import SETTING, PackageFacts, package_facts, package_folder
from medcnn.tracking.model_source import is_in_mlflow, local_package

log = logging.getLogger("medcnn.train")

_PIN = "starts_from.txt"
_ALIKE = 0.8  # of the letters of two names, in which one may be a slip of the other


def find_start(conf: TrainConf, output: Path) -> str:
    """Where the weights that model.pretrained names lie on this machine; "" for a start at random.

    Everything about the network that needs no data is looked at too: its least input, and whether the weights fit it.
    Raises ConfigError.
    """
    model = conf.model
    if isinstance(model, UNetConf) and model.encoder_weights:
        from medcnn.networks.encoders import read_weights

        read_weights(Path(model.encoder_weights))
    if not isinstance(model, ClassifierConf):
        return ""
    from medcnn.networks.start import require_start

    found = _here(model.pretrained, output)
    require_start(replace(model, pretrained=found), conf.transforms.size_px)
    return found


def _here(named: str, output: Path) -> str:
    """A path as it is now, or what MLflow holds, fetched."""
    if named in ("", "imagenet"):
        return named
    if is_in_mlflow(named):
        try:
            return str(local_package(named, output / PRIVATE_FOLDER / "models"))
        except PackageError as error:
            raise ConfigError([f"{SETTING}: {str(error).removeprefix('model: ')}"]) from error
    path = Path(named).expanduser().resolve()
    return str((package_folder(path) or path).resolve())


def pin(found: str, run: Path) -> None:
    """Keep in the run folder, which is private, what was found."""
    if found:
        (run / _PIN).write_text(found + "\n")


def pinned(model: ModelConf, run: Path) -> ModelConf:
    """The settings with what was found when the run began."""
    kept = run / _PIN
    if not (isinstance(model, ClassifierConf) and kept.is_file()):
        return model
    return replace(model, pretrained=kept.read_text().strip())


def package_of(model: ModelConf) -> PackageFacts | None:
    """Of the package that is started from; None where it is none."""
    if not (isinstance(model, ClassifierConf) and model.pretrained not in ("", "imagenet")):
        return None
    folder = package_folder(Path(model.pretrained))
    return package_facts(folder) if folder else None


def keeps_head(model: ModelConf, labels: Labels) -> bool:
    """Whether the package's last layer means what these data's labels do: the same classes in the same order.

    Raises ConfigError where they are nearly the same, which is more often a slip than meant.
    """
    package = package_of(model)
    if package is None or (isinstance(model, ClassifierConf) and model.new_head):
        return False
    if (package.kind, package.class_names) == (labels.kind, labels.class_names):
        return True
    if what := _slip(package.class_names, labels.class_names):
        raise ConfigError([_nearly(what, package, labels)])
    return False


def _slip(theirs: tuple[str, ...], own: tuple[str, ...]) -> str:
    """How two lists of as many classes are nearly the same; "" where they are not."""
    if len(theirs) != len(own) or theirs == own:
        return ""
    if Counter(theirs) == Counter(own):
        return "the same in another order"
    left = list(own)
    for name in theirs:
        match = next((other for other in left if _alike(name, other)), None)
        if match is None:
            return ""
        left.remove(match)
    return "nearly the same, but written in another way"


def _alike(one: str, other: str) -> bool:
    """But for case, spaces and signs, or a letter or two of a longer name; numbers are never a slip."""
    a, b = ("".join(sign for sign in name.casefold() if sign.isalnum()) for name in (one, other))
    if a == b:
        return True
    digits = ["".join(sign for sign in name if sign.isdigit()) for name in (a, b)]
    return digits[0] == digits[1] and SequenceMatcher(None, a, b).ratio() >= _ALIKE


def _nearly(what: str, package: PackageFacts, labels: Labels) -> str:
    theirs, own = (f"[{', '.join(names)}]" for names in (package.class_names, labels.class_names))
    remedy = "name and order the manifest's label columns as the package does"
    if labels.kind != "multilabel":
        remedy = f"write the labels as the package does and set data.class_names=[{','.join(package.class_names)}]"
    return (
        f"{SETTING}: the package's classes are {theirs}, these data's {own}: {what}. To go on with the package's last "
        f"layer, {remedy}. If they mean something else, model.new_head=true starts with a new one"
    )


def remarks_on(model: ModelConf, labels: Labels, *, scale: str, data_digest: str, split_digest: str) -> list[str]:
    """What a reader of the results must know of the package that was started from."""
    package = package_of(model)
    if package is None:
        return []
    said = []
    if not keeps_head(model, labels):
        theirs, own = (", ".join(names) or "a number" for names in (package.class_names, labels.class_names))
        said.append(f"the package that this training starts from knows {theirs}; its last layer is replaced for {own}")
    if package.scale and package.scale != scale:
        said.append(
            f"the package that this training starts from knows intensities scaled by {package.scale}, here they are "
            f"scaled by {scale}: transforms.intensity.scale={package.scale} would give it what it knows"
        )
    if package.data_digest == data_digest and package.split_digest != split_digest:
        said.append(
            "the package that this training starts from was trained on these same cases, divided in another way: cases "
            "that are held out here may be among those that it learnt from, so results are too good"
        )
    return said
