"""Faults that the user can mend: said in a sentence or two, without a traceback."""

from __future__ import annotations

FAULT_EXIT_CODE = 1
NOTHING_TO_DO_EXIT_CODE = 3
NO_SPACE_EXIT_CODE = 28


class UserError(Exception):
    """Says what is wrong and what to do. The command ends with exit_code."""

    exit_code = FAULT_EXIT_CODE


class DataError(UserError):
    """The manifest, the labels or the scans cannot be used as they are."""


class NothingToDoError(DataError):
    """Nothing was found that could be worked on."""

    exit_code = NOTHING_TO_DO_EXIT_CODE


class LeakageError(DataError):
    """The same patient, or identical pixels, in two splits."""


class TrainingError(UserError):
    """The training cannot go on."""


class CheckpointError(UserError):
    """No checkpoint can be used: damaged, of another model, or not loadable without running code."""


class PackageError(UserError):
    """A folder is no model package, or not one that this version reads."""


class NoSpaceError(UserError):
    """The disk is full, or the output cannot be written."""

    exit_code = NO_SPACE_EXIT_CODE


class Interrupted(UserError):  # noqa: N818  not a fault: somebody asked
    """A signal asked for the end; what was computed is kept."""

    def __init__(self, signal_number: int, text: str) -> None:
        super().__init__(text)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number
