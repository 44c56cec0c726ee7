"""What a report warns of."""

from __future__ import annotations

from pipeline.display import short
from pipeline.measurement.board import Measurement
from pipeline.report.figures import CLASS_LETTERS, Report, StageResult


def warnings(report: Report) -> list[str]:
    """What a reader should not overlook: a model that learned nothing or not everything, or that quantization hurt."""
    found = []
    score = report.headline
    if report.measured and (failure := report.task.learned_nothing(report.measured.scores)):
        labels = "these classes, in this order," if report.task.classes else "such data"
        hint = (
            f"check that the checkpoint was trained on {labels} with this normalisation"
            if any(s.loaded for s in report.stages)
            else "see the training curves in MLflow"
        )
        found.append(f"the model {failure}; {hint}.")
    unseen = next((s for s in reversed(report.stages) if s.value("worst_class_recall") == 0), None)
    if unseen:
        found.append(f"{unseen.title}: {_unseen(unseen)} never recognised; see the recall by class in the report.")
    before, after = _around_quantize(report)
    if before is not None and after is not None and score.much_worse(before, after):
        lost = score.lost(before, after)
        said = f"{100 * lost:.1f} points of {score.label}" if score.percent else f"{score.show(lost)} of {score.label}"
        found.append(f"int8 costs {said}; try --set quantize.mode=qat, or more calibration images.")
    found += [
        f"{s.title}: no epoch was better on the validation images than the weights that came in, so those stay; try another "
        f"{s.name}.learning_rate."
        for s in report.stages
        if s.value("best_epoch") == 0
    ]
    if report.measured is None:
        return found
    m = report.measured.measurement
    if not isinstance(m, Measurement):
        found += [f"the latencies must not be quoted: {reason}." for reason in m.invalid]
        found += [f"{warning}." for warning in m.warnings]
    if m.clock == "host":
        name = report.target.name
        found.append(f"no {name} was measured: its runner worked on this computer. Name its host in bench.toml.")
    return found


def _around_quantize(report: Report) -> tuple[float | None, float | None]:
    """The headline of the model that was quantized, whichever stage gave it, and of the int8 one."""
    name, names = report.headline.name, [s.name for s in report.stages]
    if "quantize" not in names:
        return None, None
    place = names.index("quantize")
    before = next((v for s in reversed(report.stages[:place]) if (v := s.value(name)) is not None), None)
    return before, report.stages[place].value(name)


def _unseen(stage: StageResult) -> str:
    names = [f"'{short(name, CLASS_LETTERS)}'" for name, f in stage.recalls.items() if f.value == 0]
    if len(names) == 1:
        return f"class {names[0]} is"
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}) are"
