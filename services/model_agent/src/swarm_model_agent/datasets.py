"""Data sets: scikit-learn's own and made ones, and their split. Every worker keeps the last few."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import train_test_split

from swarm_common.errors import UsageError
from swarm_common.events import Array
from swarm_common.events.agent import DataPrepared
from swarm_model_agent.params import DataParams, MakeClassification, MakeRegression, read

Floats = NDArray[np.float64]
_KEPT = 4


class Split(msgspec.Struct, frozen=True):
    """Features ``(rows, features)`` and truth ``(rows,)``: class numbers as int64, or values as float64."""

    classes: tuple[str, ...]
    """Empty for regression."""
    x_train: Floats
    x_test: Floats
    y_train: NDArray[Any]
    y_test: NDArray[Any]

    @property
    def problem(self) -> str:
        """``classification`` or ``regression``."""
        return "classification" if self.classes else "regression"


Loaded = tuple[Floats, NDArray[Any], tuple[str, ...]]


def _bundled(load: Callable[..., Any]) -> Callable[[DataParams], Loaded]:
    def loaded(params: DataParams) -> Loaded:
        if params.make:
            raise UsageError(
                f"params.make is for made data; {params.dataset} is a fixed data set", field="params.make"
            )
        bunch = load()
        names = getattr(bunch, "target_names", ())
        return bunch.data, bunch.target, tuple(str(name) for name in names)

    return loaded


def _made_classification(params: DataParams) -> Loaded:
    make = read({"random_state": params.split_seed, **params.make}, MakeClassification, "params.make")
    try:
        x, y = datasets.make_classification(**msgspec.structs.asdict(make))
    except ValueError as error:
        raise UsageError(f"params.make: {error}", field="params.make", given=str(params.make)) from error
    return x, y, tuple(str(number) for number in range(make.n_classes))


def _made_regression(params: DataParams) -> Loaded:
    make = read({"random_state": params.split_seed, **params.make}, MakeRegression, "params.make")
    x, y = datasets.make_regression(**msgspec.structs.asdict(make))
    return x, y, ()


DATASETS: dict[str, Callable[[DataParams], Loaded]] = {
    "breast_cancer": _bundled(datasets.load_breast_cancer),
    "diabetes": _bundled(datasets.load_diabetes),
    "digits": _bundled(datasets.load_digits),
    "synthetic_classification": _made_classification,
    "synthetic_regression": _made_regression,
    "wine": _bundled(datasets.load_wine),
}


def load(params: DataParams) -> Split:
    """Return the data, split; raises :class:`UsageError` for an unknown data set or one that cannot be split so."""
    # Only what the data depend on: every model of a run then finds them where the first one left them.
    return _load(msgspec.json.encode({name: getattr(params, name) for name in DataParams.__struct_fields__}))


@lru_cache(maxsize=_KEPT)
def _load(key: bytes) -> Split:
    params = msgspec.json.decode(key, type=DataParams)
    loader = DATASETS.get(params.dataset)
    if loader is None:
        raise UsageError(
            f"unknown data set {params.dataset!r}; there are {', '.join(DATASETS)}",
            field="params.dataset",
            given=params.dataset,
            allowed=", ".join(DATASETS),
        )
    x, y, classes = loader(params)
    x = np.ascontiguousarray(x, dtype=np.float64)
    y = np.asarray(y, dtype=np.int64 if classes else np.float64)
    try:
        parts = train_test_split(
            x, y, test_size=params.test_share, random_state=params.split_seed, stratify=y if classes else None
        )
    except ValueError as error:
        raise UsageError(
            f"params.test_share: {params.dataset} cannot be split so: {error}",
            field="params.test_share",
            given=str(params.test_share),
        ) from error
    for part in parts:
        part.setflags(write=False)  # shared by all models of this worker
    x_train, x_test, y_train, y_test = parts
    return Split(classes, x_train, x_test, y_train, y_test)


def prepare(task: str, params: DataParams) -> DataPrepared:
    """Return what the run needs to know of its data: sizes, truth and a hash. Features stay where they are."""
    began = time.perf_counter_ns()
    data = load(params)
    # Class numbers are small: two bytes each keep the event out of the object store.
    truth = np.int16 if data.classes else np.float64
    return DataPrepared(
        task=task,
        dataset=params.dataset,
        problem=data.problem,
        n_train=len(data.y_train),
        n_test=len(data.y_test),
        n_features=data.x_train.shape[1],
        classes=data.classes,
        y_train=Array.of(data.y_train.astype(truth)),
        y_test=Array.of(data.y_test.astype(truth)),
        sha256=fingerprint(data.x_train, data.x_test, data.y_train, data.y_test),
        split_seed=params.split_seed,
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


def fingerprint(*arrays: NDArray[Any]) -> str:
    """Return the sha256 (hex) over the arrays' bytes, little endian and in C order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
