"""Classification figures, the same for every stage: accuracy, recall per class, and the class that fares worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.ir import Array


@dataclass(frozen=True, slots=True)
class Scores:
    """Fractions in [0, 1], of `images` test examples (0: not known). A class without test examples has no recall and is left
    out of `recall`."""

    accuracy: float
    recall: dict[str, float]
    images: int = 0

    @property
    def worst_class(self) -> str:
        return min(self.recall, key=lambda c: self.recall[c])

    @property
    def worst_class_recall(self) -> float:
        return self.recall[self.worst_class]

    def metrics(self) -> dict[str, float]:
        per_class = {f"recall_{c}": r for c, r in self.recall.items()}
        known = {"accuracy": self.accuracy, "worst_class_recall": self.worst_class_recall, **per_class}
        if not self.images:
            return known
        low, high = wilson_interval(self.accuracy, self.images)
        return {**known, "accuracy_low": low, "accuracy_high": high, "images": self.images}


def wilson_interval(fraction: float, n: int) -> tuple[float, float]:
    """(low, high): where the true fraction lies with 95 % confidence when `fraction` of n independent examples were right.
    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), 209-212."""
    z2 = 1.959964**2
    middle = (fraction + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (fraction * (1 - fraction) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def scores(labels: Array, outputs: Array, classes: Sequence[str]) -> Scores:
    """`labels` (n,) class indexes; `outputs` (n, classes) logits, probabilities or int8 values; of ties the lowest index."""
    predicted = outputs.reshape(len(labels), -1).argmax(axis=1)
    right = predicted == labels
    recall = {str(name): float(right[labels == i].mean()) for i, name in enumerate(classes) if (labels == i).any()}
    return Scores(float(right.mean()), recall, len(labels))
