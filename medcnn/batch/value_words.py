"""What stands on the picture of a case whose number was predicted."""

from __future__ import annotations

from medcnn.batch.overlay import Words
from medcnn.explain.build import Explainer
from medcnn.inference.prediction import Prediction
from medcnn.model_package.regressor import RegressorPackage


def value_words(
    package: RegressorPackage, explainer: Explainer, case_id: str, prediction: Prediction, *, has_heat: bool
) -> Words:
    """has_heat: whether any place of the scan raised the number."""
    rule = package.regressor.rule
    if prediction.value is None:
        headline, numbers = f"no {rule.name}: not the kind of scan this model knows", ""
    else:
        headline = f"{rule.name} {rule.in_words(prediction.value)}"
        numbers = _range(package, prediction)
    meaning = explainer.meaning.replace("the class's score", "the number").replace("the class", "a higher number")
    caption = (
        f"Heat: {explainer.title} for a higher {rule.name}, relative to its own maximum. {meaning} It shows where the "
        f"answer was sensitive to the scan, not why. "
        f"Intended use: {package.description.intended_use}"
    )
    return Words(
        case_id,
        headline,
        numbers,
        f"What spoke for a higher {rule.name}" if has_heat else f"Nothing spoke for a higher {rule.name}",
        caption,
        prediction.flags,
        is_warning=prediction.value is None,
    )


def _range(package: RegressorPackage, prediction: Prediction) -> str:
    rule = package.regressor.rule
    if rule.range is None or prediction.low is None or prediction.high is None:
        return "The model makes no ranges"
    return f"{rule.range.words()}: {prediction.low:.{rule.digits}f} to {rule.in_words(prediction.high)}"
