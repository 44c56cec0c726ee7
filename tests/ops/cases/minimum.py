"""MINIMUM."""

from cases.maximum import table

from pipeline.ops.minimum import Minimum

CASES = table(Minimum)
