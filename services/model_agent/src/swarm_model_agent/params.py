"""What tasks can ask for, checked before a worker hears of it; so nothing here imports scikit-learn."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from swarm_common.errors import UsageError

Count = Annotated[int, Meta(ge=1)]
#: What scikit-learn takes as ``random_state``.
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class DataParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which data, and how they are split."""

    dataset: str
    test_share: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    split_seed: Seed = 42
    make: dict[str, Any] = {}
    """For made data: see :class:`MakeClassification` and :class:`MakeRegression`."""


class TrainParams(DataParams, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model, and what to train it with."""

    model: str
    """Its name in the run."""
    model_type: str
    hyperparameters: dict[str, Any] = {}
    folds: Annotated[int, Meta(ge=0)] = 0
    """For out-of-fold predictions; 0 means none."""
    scale: bool = True
    """Whether features are standardised for the types of model that want it."""


class MakeClassification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of ``sklearn.datasets.make_classification``, with its defaults."""

    n_samples: Count = 100
    n_features: Count = 20
    n_informative: Count = 2
    n_redundant: Annotated[int, Meta(ge=0)] = 2
    n_classes: Annotated[int, Meta(ge=2)] = 2
    n_clusters_per_class: Count = 2
    class_sep: float = 1.0
    flip_y: Annotated[float, Meta(ge=0, le=1)] = 0.01
    random_state: Seed
    """The split's seed where it is not given."""


class MakeRegression(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of ``sklearn.datasets.make_regression``, with its defaults."""

    n_samples: Count = 100
    n_features: Count = 100
    n_informative: Count = 10
    noise: Annotated[float, Meta(ge=0)] = 0.0
    random_state: Seed
    """The split's seed where it is not given."""


P = TypeVar("P", bound=msgspec.Struct)
_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_NAMED = re.compile(r"field `(?P<name>[^`]+)`")


def read(given: object, kind: type[P], field: str = "params") -> P:
    """Return ``given`` as a ``kind``; raises :class:`UsageError` that names the field which does not fit."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        match = _AT.match(str(error))
        what, path = (match["what"], match["path"]) if match else (str(error), None)
        named = _NAMED.search(what)
        where = ".".join(part for part in (field, path, named["name"] if named else None) if part)
        allowed = ", ".join(kind.__struct_fields__) if named else what.removeprefix("Expected ")
        value = given.get(where.rpartition(".")[2]) if isinstance(given, dict) else given
        message = f"{where}: {what}; fields are {allowed}" if named else f"{where} is {value!r}: {what}"
        raise UsageError(
            message, field=where, given="" if value is None else str(value), allowed=allowed
        ) from None
