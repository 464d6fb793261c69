"""Compare: two runs on the same cases, with paired intervals and tests.

python -m medcnn.compare runs=[<run A>,<run B>] output=<folder>
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medcnn.config.compare import CompareConf
from medcnn.config.compose import open_door
from medcnn.config.errors import ConfigError
from medcnn.errors import DataError

if TYPE_CHECKING:
    from medcnn.evaluation.run_auroc import ComparedAuroc
    from medcnn.evaluation.run_errors import ComparedErrors
    from medcnn.evaluation.segmentation.run_comparison import Compared
    from medcnn.evaluation.segmentation.scores import CaseScores
    from medcnn.reporting.classified_table import ClassifiedCases
    from medcnn.reporting.figures import Drawn
    from medcnn.reporting.value_table import ValuedCases

log = logging.getLogger("medcnn.compare")

TABLE = "predictions.csv"
USAGE = f"""usage: python -m medcnn.compare runs=[<run A>,<run B>] output=<folder>

Which of two runs does better on the same cases: paired differences with intervals, tests, wins and losses.

  runs=[<folder>,<folder>]  run folders, or output folders of evaluate: each holds a {TABLE}
  output=<folder>           for comparison.html, .json, .csv and the figures; must not hold a comparison already
  names=[A,B]               what the two are called on the page
  split=<name>              which cases; by default test where both have it, else the only split that both have
  resamples=2000 seed=0     of the intervals

Segmentations are compared by Dice, NSD, HD95, ASSD and volume error per structure, classifications by AUROC,
regressions by absolute error.
exit codes: 0 done, 1 could not be done, 2 the config cannot be run, 28 no space
"""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was found, however the runs answer.

    num_cases     that both runs have
    num_left_out  that one of them has alone
    """

    kind: str
    split: str
    compared: list[Compared] | list[ComparedAuroc] | list[ComparedErrors]
    figures: dict[str, Drawn]
    num_cases: int
    num_patients: int
    num_left_out: int
    rules: Sequence[str]


def compare(conf: CompareConf) -> Comparison:
    """Compare, and write comparison.json, .csv, .html and figures into conf.output.

    Raises medcnn.errors.UserError (tables that do not fit together, no space) and ConfigError with what to do.
    """
    tables = require_tables(conf)
    from medcnn.run_folder import log_to_terminal, writing

    log_to_terminal()
    kinds = [_kind(path) for path in tables]
    if kinds[0] != kinds[1]:
        raise DataError(f"runs: A is a {kinds[0]}, B is a {kinds[1]}. Two of one kind can be compared")
    by_kind = {"segmentation": _segmentations, "classification": _classifications, "regression": _regressions}
    found = by_kind[kinds[0]](conf, tables)
    output = Path(conf.output).expanduser().absolute()
    with writing(output):
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(conf, output, found)
    return found


def require_tables(conf: CompareConf) -> list[Path]:
    """The two tables; ConfigError for what is not there, before anything heavy is imported."""
    problems = list(conf.problems())
    paths = [Path(run).expanduser() / TABLE for run in conf.runs]
    for run, path in zip(conf.runs, paths, strict=True):
        if not path.is_file():
            problems.append(f"runs: there is no {TABLE} in {run!r}. Give a finished run, or an output of evaluate")
    if len(paths) == 2 and all(path.is_file() for path in paths) and paths[0].samefile(paths[1]):
        problems.append("runs: both are the same folder. Give two runs")
    if (Path(conf.output).expanduser() / "comparison.json").exists():
        problems.append(f"output: {conf.output!r} holds a comparison already. Give a new folder")
    if problems:
        raise ConfigError(problems)
    return paths


def _kind(path: Path) -> str:
    from medcnn.reporting.case_table import units_in
    from medcnn.reporting.classified_table import is_classified
    from medcnn.reporting.value_table import is_valued

    with path.open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file), [])
    if units_in(header) is not None:
        return "segmentation"
    if is_classified(header):
        return "classification"
    if is_valued(header):
        return "regression"
    raise DataError(f"runs: a {TABLE} holds neither segmented nor classified cases, nor predicted numbers")


def _segmentations(conf: CompareConf, tables: Sequence[Path]) -> Comparison:
    from medcnn.evaluation.segmentation.run_comparison import common_cases, compare_runs
    from medcnn.reporting.case_table import read_case_scores
    from medcnn.reporting.comparison_rows import SEGMENTATION_RULES

    read = [read_case_scores(path) for path in tables]
    split = _split(conf, *({case.split for case in cases} for cases in read))
    read = [[case for case in cases if case.split == split] for cases in read]
    try:
        a, b, num_left_out = common_cases(*read)
    except ValueError as error:
        raise DataError(f"runs: {error}") from error
    compared = compare_runs(a, b, seed=conf.seed, num_resamples=conf.resamples)
    num_patients = len({case.patient_key or case.case_id for case in a})
    figures = _score_figures(a, b, conf.names)
    return Comparison("segmentation", split, compared, figures, len(a), num_patients, num_left_out, SEGMENTATION_RULES)


def _score_figures(a: Sequence[CaseScores], b: Sequence[CaseScores], names: Sequence[str]) -> dict[str, Drawn]:
    import numpy as np

    from medcnn.reporting.comparison_figure import PairedPanel, paired_figure
    from medcnn.reporting.words import METRIC_WORDS

    figures = {}
    for measure, above in (("dice", 1), ("hd95", 0)):  # who is better above the line
        panels = []
        for structure in a[0].structures:
            of_a, of_b = (np.array([getattr(case.structures[structure], measure) for case in run]) for run in (a, b))
            panels.append(PairedPanel(structure, of_a, of_b))
        words = METRIC_WORDS[a[0].units.name(measure)]
        better = f"above it {names[above]} is better, below it {names[1 - above]}"
        figures[f"paired_{measure}"] = paired_figure(
            panels, [case.case_id for case in a], title=f"{words}, case by case", measure=words, names=names,
            better=better,
        )  # fmt: skip
    return figures


def _classifications(conf: CompareConf, tables: Sequence[Path]) -> Comparison:
    from medcnn.evaluation.run_auroc import compare_aurocs
    from medcnn.reporting.classified_table import read_classified
    from medcnn.reporting.comparison_rows import AUROC_RULES

    _require_same_rows(tables)
    read = [read_classified(path) for path in tables]
    split = _split(conf, *(set(cases.splits) for cases in read))
    a, b, num_left_out = _common_classified(*(cases.of_split(split) for cases in read))
    patient = list(a.patient_keys) if any(a.patient_keys) else None
    compared = compare_aurocs(
        a.probability, b.probability, a.truth, a.class_names,
        patient=patient, seed=conf.seed, num_resamples=conf.resamples,
    )  # fmt: skip
    figures = _probability_figure(a, b, [one.class_name for one in compared], conf.names)
    num_patients = len({key or case for key, case in zip(a.patient_keys, a.case_ids, strict=True)})
    num_cases = len(a.case_ids)
    return Comparison("classification", split, compared, figures, num_cases, num_patients, num_left_out, AUROC_RULES)


def _require_same_rows(tables: Sequence[Path]) -> None:
    """Raise DataError where one run has a row per image and the other one per patient (evaluate aggregate=)."""
    per_patient = [_is_per_patient(path) for path in tables]
    if per_patient[0] != per_patient[1]:
        one, other = ("A", "B") if per_patient[0] else ("B", "A")
        raise DataError(
            f"runs: {one} has a row per patient (evaluate aggregate=), {other} a row per image. Evaluate both alike"
        )


def _is_per_patient(table: Path) -> bool:
    try:
        metrics = json.loads((table.parent / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # a table by itself says nothing
    return isinstance(metrics, dict) and "aggregate" in metrics


def _common_classified(a: ClassifiedCases, b: ClassifiedCases) -> tuple[ClassifiedCases, ClassifiedCases, int]:
    """The cases of both in the order of a, and how many one of them has alone."""
    if a.class_names != b.class_names:
        raise DataError(f"runs: A tells {', '.join(a.class_names)} apart, B {', '.join(b.class_names)}")
    of_b = {case: place for place, case in enumerate(b.case_ids)}
    shared = [place for place, case in enumerate(a.case_ids) if case in of_b]
    if not shared:
        raise DataError("runs: the two have no case in common. Both must have used the same data and privacy.key_file")
    num_left_out = len(a.case_ids) + len(b.case_ids) - 2 * len(shared)
    a, b = a.taken(shared), b.taken([of_b[a.case_ids[place]] for place in shared])
    if num_other := int((a.truth != b.truth).sum()):
        raise DataError(f"runs: {num_other} of {len(shared)} common cases have another label in B than in A")
    return a, b, num_left_out


def _probability_figure(
    a: ClassifiedCases, b: ClassifiedCases, asked: Sequence[str], names: Sequence[str]
) -> dict[str, Drawn]:
    from medcnn.reporting.comparison_figure import PairedPanel, paired_figure

    labels = [a.class_names[k] for k in a.truth]
    columns = {name: a.class_names.index(name) for name in asked}
    panels = [PairedPanel(name, a.probability[:, k], b.probability[:, k], labels) for name, k in columns.items()]
    figure = paired_figure(
        panels, a.case_ids, title="Probabilities, case by case", measure="Probability", names=names,
        better="colour is the truth",
    )  # fmt: skip
    return {"paired_probability": figure}


def _regressions(conf: CompareConf, tables: Sequence[Path]) -> Comparison:
    from medcnn.evaluation.run_errors import compare_errors
    from medcnn.reporting.comparison_rows import ERROR_RULES
    from medcnn.reporting.value_table import read_valued

    read = [read_valued(path) for path in tables]
    split = _split(conf, *(set(cases.splits) for cases in read))
    a, b, num_left_out = _common_valued(*(cases.of_split(split) for cases in read))
    patient = list(a.patient_keys) if any(a.patient_keys) else None
    found = compare_errors(
        a.predicted, b.predicted, a.truth, patient=patient, seed=conf.seed, num_resamples=conf.resamples
    )
    figures = _error_figure(a, b, conf.names)
    num_patients = len({key or case for key, case in zip(a.patient_keys, a.case_ids, strict=True)})
    return Comparison("regression", split, [found], figures, len(a.case_ids), num_patients, num_left_out, ERROR_RULES)


def _common_valued(a: ValuedCases, b: ValuedCases) -> tuple[ValuedCases, ValuedCases, int]:
    """The cases of both in the order of a, and how many one of them has alone."""
    import numpy as np

    of_b = {case: place for place, case in enumerate(b.case_ids)}
    shared = [place for place, case in enumerate(a.case_ids) if case in of_b]
    if not shared:
        raise DataError("runs: the two have no case in common. Both must have used the same data and privacy.key_file")
    num_left_out = len(a.case_ids) + len(b.case_ids) - 2 * len(shared)
    a, b = a.taken(shared), b.taken([of_b[a.case_ids[place]] for place in shared])
    if num_other := int((~np.isclose(a.truth, b.truth)).sum()):
        raise DataError(f"runs: {num_other} of {len(shared)} common cases have another true number in B than in A")
    return a, b, num_left_out


def _error_figure(a: ValuedCases, b: ValuedCases, names: Sequence[str]) -> dict[str, Drawn]:
    from medcnn.reporting.comparison_figure import PairedPanel, paired_figure

    panel = PairedPanel("", abs(a.predicted - a.truth), abs(b.predicted - b.truth))
    figure = paired_figure(
        [panel], a.case_ids, title="Absolute errors, case by case", measure="Absolute error", names=names,
        better=f"above it {names[0]} is better, below it {names[1]}",
    )  # fmt: skip
    return {"paired_error": figure}


def _split(conf: CompareConf, of_a: set[str], of_b: set[str]) -> str:
    """Which cases are compared; DataError where both do not have them."""
    both = sorted(of_a & of_b)
    there = f"A has {', '.join(sorted(of_a)) or 'none'}; B has {', '.join(sorted(of_b)) or 'none'}"
    if conf.split and conf.split not in both:
        raise DataError(f"split: {conf.split!r} is not in both runs ({there})")
    if conf.split or "test" in both or len(both) == 1:
        return conf.split or ("test" if "test" in both else both[0])
    if not both:
        raise DataError(f"runs: the two have no split in common ({there})")
    raise DataError(f"split: both runs hold {', '.join(both)}. Say which one counts: split={both[0]}")


def _write(conf: CompareConf, output: Path, found: Comparison) -> None:
    import sys

    from medcnn.reporting.comparison_rows import rows_of, tables_of
    from medcnn.reporting.figures import save, write_rows
    from medcnn.reporting.page import ModelCard, Report, Section, write_report
    from medcnn.reporting.tables import aligned
    from medcnn.reporting.words import how_many

    rows, tables = rows_of(found.compared), tables_of(found.compared, conf.names)
    figures = [save(drawn, output / "figures", name) for name, drawn in found.figures.items()]
    who = f"{how_many(found.num_cases, 'case')} of {how_many(found.num_patients, 'patient')} in both"
    if found.num_left_out:
        who += f"; left out, since only one run has them: {how_many(found.num_left_out, 'case')}"
    report = Report(
        title=f"{conf.names[0]} against {conf.names[1]}",
        subtitle=f"Paired comparison of two {found.kind} runs on the {found.split} split: {who}",
        sections=[
            Section("Differences", [], f"A is {conf.names[0]}, B is {conf.names[1]}; {who}.", tables),
            Section("Case by case", figures),
        ],
        model_card=ModelCard("To tell which of two runs does better on the same cases.", limits=found.rules),
        card_title="How to read this",
    )
    write_report(output / "comparison.html", report)
    write_rows(rows, output / "comparison.csv")
    content = {
        "kind": found.kind, "names": list(conf.names), "split": found.split, "num_cases": found.num_cases,
        "num_patients": found.num_patients, "num_left_out": found.num_left_out, "seed": conf.seed,
        "resamples": conf.resamples, "rows": rows,
    }  # fmt: skip
    (output / "comparison.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    log.info("%s, %s: %s", *conf.names, who)
    sys.stdout.flush()
    for table in tables:
        sys.stdout.write(f"\n{table.title}\n{aligned(table.header, table.rows)}".replace("−", "-"))
    sys.stdout.write("\n")
    log.info("report     %s", output / "comparison.html")


def _run(conf: CompareConf) -> int:
    compare(conf)
    return 0


def main() -> None:
    """The command."""
    open_door("compare", _run, usage=USAGE)


if __name__ == "__main__":
    main()
