"""What is said of a case, in codes that a DICOM report can hold: standard ones where they say the same, else our own.

Standard: volume, finding, certainty of a finding (DCM 111012, which a device gives to a finding, 0 to 100 %), yes, no.
A class' probability is no certainty of a finding (3 % pneumonia is no finding), and no code is known for it nor for the
Dice to be expected: they have codes of our own, as have classes whose SNOMED CT code the package does not give.
Volumes are in cm3: 1 ml, and unlike it one of the units that readers of volumes know (CID 7462).
"""

from __future__ import annotations

from collections.abc import Mapping

from medcnn.inference.prediction import Prediction
from medcnn.io.dicom.result_object import PRIVATE_SCHEME, own_code
from medcnn.io.dicom.segment import ANATOMY, Code
from medcnn.io.dicom.sr_write import CUBIC_CM, NO, NO_UNITS, VOLUME, YES, Group, Number, Report, SegmentReference

# Codes of classes that have none of their own hold no hyphen: these are told apart from them.
FOUND = Code(PRIVATE_SCHEME, "Q-Found", "Found by the model")
EXPECTED_DICE = Code(PRIVATE_SCHEME, "M-ExpectedDice", "Expected Dice coefficient of the segmentation")
PROBABILITY = Code(PRIVATE_SCHEME, "M-Probability", "Calibrated probability of the finding")
DECISION = Code(PRIVATE_SCHEME, "Q-Decision", "Decision of the model")
NONE_OF_THEM = Code(PRIVATE_SCHEME, "V-None", "None of the classes")
WITHHELD = Code(PRIVATE_SCHEME, "V-Withheld", "Withheld")
CERTAINTY = Code("DCM", "111012", "Certainty of Finding")
RANGE_LOW = Code(PRIVATE_SCHEME, "M-RangeLow", "Lower end of the range of the prediction")
RANGE_HIGH = Code(PRIVATE_SCHEME, "M-RangeHigh", "Upper end of the range of the prediction")
UCUM = {
    "years": "a", "year": "a", "y": "a", "months": "mo", "weeks": "wk", "days": "d", "%": "%", "ml": "cm3",
    "cm3": "cm3", "mm3": "mm3", "l": "l", "mm": "mm", "cm": "cm", "m": "m", "mm2": "mm2", "cm2": "cm2", "kg": "kg",
    "g": "g", "kg/m2": "kg/m2", "g/cm2": "g/cm2", "mmhg": "mm[Hg]", "hu": "[hnsf'U]",
}  # fmt: skip
_LONGEST_UNIT = 14  # letters, of the 16 that a code may have
PERCENT = Code("UCUM", "%", "Percent")


def code_of(name: str, codes: Mapping[str, str]) -> Code:
    """Of a class or structure. codes: name -> SNOMED CT."""
    return Code("SCT", codes[name], name) if codes.get(name) else own_code(name)


def structures_report(
    found: Mapping[str, bool],
    volumes_ml: Mapping[str, float],
    expected_dice: Mapping[str, float],
    segments: Mapping[str, SegmentReference],
    codes: Mapping[str, str],
    notes: tuple[str, ...],
) -> Report:
    """A group for each structure, in the order of `found`; one that was not found is said not to be, with 0 ml."""
    groups = []
    for name, is_found in found.items():
        numbers = []
        if name in volumes_ml:
            numbers.append(Number(VOLUME, volumes_ml[name], CUBIC_CM))
        if name in expected_dice:
            numbers.append(Number(EXPECTED_DICE, expected_dice[name], NO_UNITS))
        said = ((FOUND, YES if is_found else NO),)
        groups.append(Group(name, code_of(name, codes), tuple(numbers), said, segments.get(name), ANATOMY))
    return Report(tuple(groups), "Segmentation measurements", notes)


def value_report(said: Prediction, quantity: str, unit: str) -> Report:
    """The number with its unit, then the ends of its range; a withheld one has none."""
    measured = own_code(quantity)
    if said.value is None:
        group = Group(quantity, measured, evaluations=((DECISION, WITHHELD),))
        return Report((group,), "Regression", said.flags or (said.reason,), is_complete=False)
    wanted = ((measured, said.value), (RANGE_LOW, said.low), (RANGE_HIGH, said.high))
    numbers = tuple(Number(code, value, unit_code(unit)) for code, value in wanted if value is not None)
    return Report((Group(quantity, measured, numbers),), "Regression", said.flags)


def unit_code(unit: str) -> Code:
    """In UCUM; what it does not know stands in braces, which UCUM reads as a remark on the number 1."""
    if not unit:
        return NO_UNITS
    plain = "".join(sign for sign in unit if "!" <= sign <= "~" and sign not in "{}\\")
    return Code("UCUM", UCUM.get(unit.lower()) or (f"{{{plain[:_LONGEST_UNIT]}}}" if plain else "1"), unit)


def answer_report(said: Prediction, codes: Mapping[str, str]) -> Report:
    """The decision with its certainty, then each class with its probability; a withheld answer has neither."""
    if not said.decision:
        group = Group("Decision", DECISION, evaluations=((DECISION, WITHHELD),))
        return Report((group,), "Classification", said.flags or (said.reason,), is_complete=False)
    decided = [name for name in said.probability if name == said.decision or name in said.decision.split("+")]
    values = [code_of(name, codes) for name in decided] or [NONE_OF_THEM]
    decision = Group(
        "Decision",
        DECISION,
        (Number(CERTAINTY, 100 * said.confidence, PERCENT),),
        tuple((DECISION, value) for value in values),
    )
    classes = [
        Group(name, code_of(name, codes), (Number(PROBABILITY, probability, NO_UNITS),))
        for name, probability in said.probability.items()
    ]
    return Report((decision, *classes), "Classification", said.flags)
