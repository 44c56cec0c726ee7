"""What the float stages begin with, the same for all files; no stage may change it."""

from __future__ import annotations

import pytest

from pipeline.artifacts import FloatModel
from pipeline.data import source
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.data.source import ModelRecipe


@pytest.fixture(scope="session")
def data() -> Dataset:
    return load(DataRecipe(limit=700), 0)


@pytest.fixture(scope="session")
def model(data: Dataset) -> FloatModel:
    """digits_cnn, not trained."""
    return FloatModel(source.load(ModelRecipe(), data, 0).module, data)
