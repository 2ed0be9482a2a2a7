"""Data sets: scikit-learn's own, made ones and the user's, and their split.

What a set of :class:`~swarm_model_agent.params.DataParams` means is made once a machine, under the hash of those
parameters: the first worker that needs it writes it into a directory beside the workers, all others map those files
into memory and share their pages. Training rows and held-out rows lie in different files and are opened by different
functions, so whoever searches or trains has no way to the rows that judge it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from swarm_common.datafiles import DataFile
from swarm_common.errors import SwarmError, UsageError
from swarm_common.events import Array
from swarm_common.events.agent import DataPrepared
from swarm_model_agent.params import FILES, DataParams, MakeClassification, MakeDrift, MakeRegression, read

Floats = NDArray[np.float64]
#: Data sets that a worker keeps open.
_OPEN = 8
#: Data sets that the directory keeps: the latest used.
_KEPT = 64

#: Directory beside the workers; ``None`` keeps everything in this process.
_store: Path | None = None
_sealed = False


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A data set before its split: features ``(rows, features)`` as float64 with NaN where missing, and the truth."""

    x: Floats
    y: NDArray[Any]
    """Class numbers, or values."""
    classes: tuple[str, ...] = ()
    """Empty for regression."""
    columns: tuple[str, ...] = ()
    """Names of the features; empty where they have none."""
    categorical: tuple[int, ...] = ()
    """Features whose numbers stand for words: codes, in the order of the words."""
    notes: tuple[str, ...] = ()
    """What was done to the data on the way in: a constant column left out, say."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a data set beside its numbers."""

    classes: tuple[str, ...]
    columns: tuple[str, ...]
    categorical: tuple[int, ...]
    notes: tuple[str, ...]


class Training(msgspec.Struct, frozen=True):
    """The training rows: features ``(rows, features)`` and truth ``(rows,)``, class numbers as int64 or float64."""

    about: About
    x: Floats
    y: NDArray[Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; empty for regression."""
        return self.about.classes

    @property
    def problem(self) -> str:
        """``classification`` or ``regression``."""
        return "classification" if self.about.classes else "regression"


class HeldOut(msgspec.Struct, frozen=True):
    """The rows kept apart: features and truth as in :class:`Training`."""

    x: Floats
    y: NDArray[Any]


def keep_in(store: str) -> None:
    """Keep data sets in this directory from now on; empty keeps them in this process."""
    global _store  # noqa: PLW0603 - a worker process belongs to one service for all its life
    path = Path(store) if store else None
    if path != _store:
        _store = path
        _opened.cache_clear()


def load_training(params: DataParams) -> Training:
    """Return the training rows; raises :class:`UsageError` for data that are not there or cannot be split so."""
    about, x, y, _, _ = _opened(_recipe(params))
    return Training(about, x, y)


def load_held_out(params: DataParams) -> HeldOut:
    """Return the rows kept apart; errors as above. Nothing that chooses or searches may call this (:func:`sealed`)."""
    if _sealed:
        raise UsageError(
            "held-out rows are sealed while pipelines are searched; whatever asks for them here would leak them",
            field="params.spec",
        )
    _, _, _, x, y = _opened(_recipe(params))
    return HeldOut(x, y)


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """Keep held-out rows shut in this process for as long as this lasts, whoever asks for them."""
    global _sealed  # noqa: PLW0603 - a worker does one thing at a time
    before, _sealed = _sealed, True
    try:
        yield
    finally:
        _sealed = before


def path_of(file: DataFile) -> Path:
    """Return where a user's file lies beside this worker: the service puts it there before it hands over a task."""
    path = None if _store is None else _store / FILES / file.sha256
    if path is None or not path.is_file():
        raise SwarmError(f"{file} does not lie beside this worker")
    return path


def _recipe(params: DataParams) -> bytes:
    # Only what the data depend on: every model of a run then finds them where the first one left them.
    return msgspec.json.encode({name: getattr(params, name) for name in DataParams.__struct_fields__})


Opened = tuple[About, Floats, NDArray[Any], Floats, NDArray[Any]]
_FILES = ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy")


@lru_cache(maxsize=_OPEN)
def _opened(recipe: bytes) -> Opened:
    if _store is None:
        opened = _split(msgspec.json.decode(recipe, type=DataParams))
        for array in opened[1:]:
            array.setflags(write=False)  # shared by all models of this worker
        return opened
    folder = _store / hashlib.sha256(recipe).hexdigest()
    with _locked(folder):
        if not folder.exists():
            _write(folder, _split(msgspec.json.decode(recipe, type=DataParams)))
            _prune(_store)
    os.utime(folder)
    about = msgspec.json.decode((folder / "about.json").read_bytes(), type=About)
    x_train, y_train, x_test, y_test = (np.asarray(np.load(folder / name, mmap_mode="r")) for name in _FILES)
    return about, x_train, y_train, x_test, y_test


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one worker at a time make a data set; the kernel lets go of the lock of one that ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(folder: Path, opened: Opened) -> None:
    """Write a data set under another name first, so that half of one is never taken for one."""
    about, *arrays = opened
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix="making-"))
    (scratch / "about.json").write_bytes(msgspec.json.encode(about))
    for name, array in zip(_FILES, arrays, strict=True):
        np.save(scratch / name, np.ascontiguousarray(array), allow_pickle=False)
    scratch.rename(folder)


def _prune(store: Path) -> None:
    """Remove the data sets that were not used for longest; whoever has one open keeps its pages."""
    found = sorted(
        (entry for entry in store.iterdir() if entry.is_dir() and entry.name != FILES),
        key=lambda entry: -entry.stat().st_mtime,
    )
    for entry in found[_KEPT:]:
        shutil.rmtree(entry, ignore_errors=True)
        entry.with_suffix(".lock").unlink(missing_ok=True)


def _split(params: DataParams) -> Opened:
    loader = DATASETS.get(params.dataset)
    if loader is None:
        raise UsageError(
            f"unknown data set {params.dataset!r}; there are {', '.join(DATASETS)}",
            field="params.dataset",
            given=params.dataset,
            allowed=", ".join(DATASETS),
        )
    if params.dataset != "file":
        for name in ("file", "target", "problem"):
            if getattr(params, name):
                raise UsageError(
                    f"params.{name} is for data set 'file'; this is {params.dataset}", field=f"params.{name}"
                )
    table = loader(params)
    x = np.ascontiguousarray(table.x, dtype=np.float64)
    y = np.asarray(table.y, dtype=np.int64 if table.classes else np.float64)
    try:
        train, test = _parted(params, y, classes=bool(table.classes))
    except ValueError as error:
        raise UsageError(
            f"params.test_share: {params.dataset} cannot be split so: {error}",
            field="params.test_fold" if params.test_fold else "params.test_share",
            given=str(params.test_fold or params.test_share),
        ) from error
    about = About(
        classes=table.classes, columns=table.columns, categorical=table.categorical, notes=table.notes
    )
    return about, x[train], y[train], x[test], y[test]


def _parted(params: DataParams, y: NDArray[Any], *, classes: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the numbers of the training rows and of the held-out ones, as scikit-learn draws them."""
    rows = np.arange(len(y))
    if params.order == "time":
        train, test = train_test_split(rows, test_size=params.test_share, shuffle=False)
        return train, test
    if params.test_fold is None:
        train, test = train_test_split(
            rows,
            test_size=params.test_share,
            random_state=params.split_seed,
            stratify=y if classes else None,
        )
        return train, test
    fold, folds = params.test_fold
    if fold >= folds:
        msg = f"of {folds} folds there are 0 to {folds - 1}"
        raise ValueError(msg)
    kind = StratifiedKFold if classes else KFold
    drawn = list(kind(folds, shuffle=True, random_state=params.split_seed).split(rows, y))
    train, test = drawn[fold]
    return train, test


def _bundled(load: Callable[..., Any]) -> Callable[[DataParams], Table]:
    def loaded(params: DataParams) -> Table:
        if params.make:
            raise UsageError(
                f"params.make is for made data; {params.dataset} is a fixed data set", field="params.make"
            )
        bunch = load()
        return Table(
            x=bunch.data,
            y=bunch.target,
            classes=tuple(str(name) for name in getattr(bunch, "target_names", ())),
            columns=tuple(str(name) for name in bunch.feature_names),
        )

    return loaded


def _made_classification(params: DataParams) -> Table:
    make = read({"random_state": params.split_seed, **params.make}, MakeClassification, "params.make")
    try:
        x, y = datasets.make_classification(**msgspec.structs.asdict(make))
    except ValueError as error:
        raise UsageError(f"params.make: {error}", field="params.make", given=str(params.make)) from error
    return Table(x=x, y=y, classes=tuple(str(number) for number in range(make.n_classes)))


def _made_regression(params: DataParams) -> Table:
    make = read({"random_state": params.split_seed, **params.make}, MakeRegression, "params.make")
    x, y = datasets.make_regression(**msgspec.structs.asdict(make))
    return Table(x=x, y=y)


def make_drift(params: DataParams) -> Table:
    """Return a stream in time order whose rule changes: classes on the two sides of a hyperplane that turns.

    Features are standard normal. Rows are shared among ``concepts``, two shares for the first; each concept has its own
    normal vector, that of the one before turned by ``turn`` × 180° towards a drawn direction, so the same features then
    mean other classes (the rotating hyperplane of Hulten, Spencer and Domingos, KDD 2001, with abrupt turns).
    """
    make = read({"random_state": params.split_seed, **params.make}, MakeDrift, "params.make")
    rng = np.random.default_rng(make.random_state)
    x = rng.standard_normal((make.n_samples, make.n_features))
    normal = _unit(rng.standard_normal(make.n_features))
    share = np.minimum(np.arange(make.n_samples) * (make.concepts + 1) // make.n_samples, make.concepts)
    y = np.empty(make.n_samples, dtype=np.int64)
    for concept in range(make.concepts):
        if concept:
            across = rng.standard_normal(make.n_features)
            across = _unit(across - across @ normal * normal)
            normal = np.cos(np.pi * make.turn) * normal + np.sin(np.pi * make.turn) * across
        rows = np.maximum(share - 1, 0) == concept
        y[rows] = x[rows] @ normal > 0
    wrong = rng.random(make.n_samples) < make.flip_y
    y[wrong] = 1 - y[wrong]
    return Table(x=x, y=y, classes=("below", "above"))


def _from_file(params: DataParams) -> Table:
    from swarm_model_agent.files import load_file  # noqa: PLC0415 - loads polars, which nothing else needs

    return load_file(params)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))


DATASETS: dict[str, Callable[[DataParams], Table]] = {
    "breast_cancer": _bundled(datasets.load_breast_cancer),
    "diabetes": _bundled(datasets.load_diabetes),
    "digits": _bundled(datasets.load_digits),
    "file": _from_file,
    "synthetic_classification": _made_classification,
    "synthetic_drift": make_drift,
    "synthetic_regression": _made_regression,
    "wine": _bundled(datasets.load_wine),
}


def prepare(task: str, params: DataParams) -> DataPrepared:
    """Return what the run needs to know of its data: sizes, truth and a hash. Features stay where they are."""
    began = time.perf_counter_ns()
    training, held_out = load_training(params), load_held_out(params)
    # Class numbers are small: two bytes each keep the event out of the object store.
    truth = np.int16 if training.classes else np.float64
    return DataPrepared(
        task=task,
        dataset=params.dataset,
        problem=training.problem,
        n_train=len(training.y),
        n_test=len(held_out.y),
        n_features=training.x.shape[1],
        classes=training.classes,
        y_train=Array.of(training.y.astype(truth)),
        y_test=Array.of(held_out.y.astype(truth)),
        sha256=fingerprint(training.x, held_out.x, training.y, held_out.y),
        split_seed=params.split_seed,
        categorical=training.about.categorical,
        notes=training.about.notes,
        missing=int(np.isnan(training.x).sum()),
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


def fingerprint(*arrays: NDArray[Any]) -> str:
    """Return the sha256 (hex) over the arrays' bytes, little endian and in C order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
