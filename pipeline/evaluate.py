"""Classification figures, the same for every stage: accuracy, recall per class, and the class that fares worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.ir import Array


@dataclass(frozen=True, slots=True)
class Scores:
    """Fractions in [0, 1]. A class without test examples has no recall and is left out of `recall`."""

    accuracy: float
    recall: dict[str, float]

    @property
    def worst_class(self) -> str:
        return min(self.recall, key=lambda c: self.recall[c])

    @property
    def worst_class_recall(self) -> float:
        return self.recall[self.worst_class]

    def metrics(self) -> dict[str, float]:
        per_class = {f"recall_{c}": r for c, r in self.recall.items()}
        return {"accuracy": self.accuracy, "worst_class_recall": self.worst_class_recall, **per_class}


def scores(labels: Array, outputs: Array, classes: Sequence[str]) -> Scores:
    """`labels` (n,) class indexes; `outputs` (n, classes) logits, probabilities or int8 values; of ties the lowest index."""
    predicted = outputs.reshape(len(labels), -1).argmax(axis=1)
    right = predicted == labels
    recall = {str(name): float(right[labels == i].mean()) for i, name in enumerate(classes) if (labels == i).any()}
    return Scores(float(right.mean()), recall)
