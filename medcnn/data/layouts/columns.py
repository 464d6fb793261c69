"""What a column of somebody's table is, by its name and its values."""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_CLASSES = 50
TRUE_OR_FALSE = frozenset(("0", "1", "0.0", "1.0", "true", "false", "yes", "no"))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RESERVED = _words("case_id patient_id image label mask boxes split fold")
_IDENTIFIERS = _words(
    "id name names patientname patientsname subjectname fullname lastname firstname surname familyname givenname "
    "dob birthday birthdate mrn ssn nhsnumber nhs email phone telephone address street zip zipcode postcode "
    "studyid examid visitid imageid caseid seriesid scanid accno referringphysician hash filename path"
)
_SUBGROUPS = _words(
    "sex gender age ageyears ageatscan agegroup handedness hand race ethnicity country site center centre hospital "
    "institution clinic scanner scannermodel manufacturer manufacturermodelname model vendor fieldstrength modality "
    "view viewposition laterality side bodypart protocol contrast dataset source session visit width height weight "
    "kvp slicethickness quality year"
)
_LABELS = _words("class classes diagnosis target finding findings category labels outcome y groundtruth gt")


def plain(name: str) -> str:
    """Letters and digits only, small: `Patient ID`, `patient_id` and `PatientID` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_identifier(name: str) -> bool:
    """Names people or examinations: never written anywhere."""
    word = plain(name)
    inside = ("birth", "accession", "patientname", "patientsname", "lastname", "firstname", "surname")
    return word in _IDENTIFIERS or word.endswith("uid") or any(part in word for part in inside)


def is_reserved(name: str) -> bool:
    """Means something in a manifest, so that no free column may be called so."""
    return name in _RESERVED or name.startswith(("image.", "label.", "mask."))


def is_patient(name: str) -> bool:
    """Says who was scanned."""
    return plain(name) in ("patientid", "patient", "subject", "subjectid", "participantid", "participant", "pid")


def is_subgroup(name: str) -> bool:
    """Describes patient, scanner or site, and is no label unless somebody says so."""
    return plain(name) in _SUBGROUPS


def is_label(name: str) -> bool:
    """Called what labels are called."""
    return plain(name) in _LABELS


def is_categorical(values: Sequence[str]) -> bool:
    """A few values, each of which comes back: no running text, no measurement, no constant."""
    there = [value for value in values if value]
    kinds = set(there)
    if not 2 <= len(kinds) <= MOST_CLASSES or len(kinds) > max(2, len(there) / 2):
        return False
    return len(kinds) <= 10 or not all(_is_number(value) for value in kinds)


def is_true_or_false(values: Sequence[str]) -> bool:
    """0 and 1, or words for them; gaps are allowed, both must come up somewhere or one of them always."""
    there = {value.lower() for value in values if value}
    return bool(there) and there <= TRUE_OR_FALSE


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
