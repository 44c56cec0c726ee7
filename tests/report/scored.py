"""A stage's scores, made up."""

from __future__ import annotations

from pipeline.measurement.kind import Kind
from pipeline.report.figures import Figure, StageResult


def scored(name: str, recall: dict[str, float], *, accuracy: float | None = None, kind: Kind = "computed") -> StageResult:
    """A stage with these recalls by class; the accuracy is their mean where none is given."""
    worst, mean = min(recall.values()), sum(recall.values()) / len(recall)
    by_class = {f"recall_{c}": value for c, value in recall.items()}
    values = {"accuracy": mean if accuracy is None else accuracy, "worst_class_recall": worst, **by_class}
    return StageResult(name, tuple(Figure(k, v, kind) for k, v in values.items()), 1.0)
