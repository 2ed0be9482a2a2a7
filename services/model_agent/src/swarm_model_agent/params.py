"""What tasks can ask for, checked before a worker hears of it; so nothing here imports scikit-learn."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from swarm_common.errors import UsageError

Count = Annotated[int, Meta(ge=1)]
#: What scikit-learn takes as ``random_state``.
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]

#: Where under the directory of data sets the files of users lie, each under its sha256.
FILES = "files"


class DataParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which data, and how they are split."""

    dataset: str
    test_share: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    split_seed: Seed = 42
    order: Literal["shuffled", "time"] = "shuffled"
    """``time`` keeps the rows as they come: the first are trained on, the last are held out."""
    test_fold: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=2)]] | None = None
    """Hold out this fold of that many, in place of ``test_share`` of the rows: ``(0, 3)`` is the first of three."""
    make: dict[str, Any] = {}
    """For made data: see :class:`MakeClassification`, :class:`MakeRegression` and :class:`MakeDrift`."""
    file: str = ""
    """For data set ``file``: name and content, ``data.csv@sha256:<hex>``."""
    target: str = ""
    """For data set ``file``: the column to be predicted."""
    problem: Literal["", "classification", "regression"] = ""
    """For data set ``file``: what to predict; empty leaves it to the kind of column."""


class Stream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a member follows a stream of held-out rows: predict a block, learn its truth, go on."""

    block: Count = 100
    """Rows a block; predictions of a block use the truth of earlier blocks alone."""
    refit: Count = 1
    """Blocks from one fit to the next."""
    window: Annotated[int, Meta(ge=0)] = 0
    """Most rows a fit sees, the latest; 0 means all there have been."""


class TrainParams(DataParams, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which model, and what to train it with."""

    model: str
    """Its name in the run."""
    model_type: str = ""
    hyperparameters: dict[str, Any] = {}
    spec: dict[str, Any] = {}
    """A whole pipeline (:class:`swarm_common.pipelines.Spec`) in place of type and hyperparameters."""
    folds: Annotated[int, Meta(ge=0)] = 0
    """For out-of-fold predictions; 0 means none."""
    scale: bool = True
    """Whether features are standardised for the types of model that want it."""
    device: Literal["cpu", "cuda", "gpu"] = "cpu"
    """Where it is trained, for the types of model that can choose."""
    stream: Stream | None = None
    """Follow the held-out rows as a stream in place of one fit."""

    def __post_init__(self) -> None:
        if bool(self.model_type) == bool(self.spec):
            msg = "give either model_type or spec"
            raise ValueError(msg)


class PartParams(TrainParams, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of training a model: a fold, or the fit on all rows, or some trees of that."""

    fold: Annotated[int, Meta(ge=0)] | None = None
    """Which of the folds; ``None`` for the fit on all rows."""
    trees: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=1)]] | None = None
    """From the first of these trees up to the second, of a forest's fit on all rows; ``None`` for all of them."""


class SearchParams(DataParams, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every search over pipelines says."""

    arm: str = ""
    """Which of the searches of the run."""
    candidate: str
    """The pipeline's name in the run."""
    folds: Annotated[int, Meta(ge=2)] = 3


class EvaluateParams(SearchParams, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A pipeline to be cross-validated on training rows."""

    spec: dict[str, Any]
    """A :class:`swarm_common.pipelines.Spec`."""
    rows: Count | None = None
    """Most training rows to use: the first of a seeded, stratified order; ``None`` for all of them."""
    out_of_fold: bool = False
    """Whether the predictions are wanted, too."""


class HalvingParams(SearchParams, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A search by successive halving."""

    budget: Annotated[int, Meta(ge=2)]
    """How many evaluations on all training rows it may cost."""
    extra_models: tuple[str, ...] = ()


class LeakParams(SearchParams, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A pipeline to be checked for leaks."""

    spec: dict[str, Any]
    giveaway: Annotated[float, Meta(gt=0, le=1)] = 0.99
    """A single feature that scores this much gives the target away."""


class AssembleParams(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Parts of training to put together."""

    model: str


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


class MakeDrift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream whose rule changes: see :func:`swarm_model_agent.datasets.make_drift`."""

    n_samples: Count = 4000
    n_features: Annotated[int, Meta(ge=2)] = 10
    concepts: Count = 4
    """How many rules follow each other, in equal shares of the rows after the first one's double share."""
    turn: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """How far a rule turns from the one before: 0 not at all, 1 into its opposite."""
    flip_y: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Share of rows whose class is the wrong one."""
    random_state: Seed
    """The split's seed where it is not given."""


class PatternParams(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Which pattern of thinking is learned, and how much there is to it."""

    pattern: Literal["convergent", "divergent", "lateral", "systems", "critical", "abstract"]
    repeat: Annotated[int, Meta(ge=0)] = 0
    """Gives the random numbers, with the run's seed and the pattern."""
    size: Annotated[int, Meta(ge=1, le=100)] = 4
    """Multiplies what one iteration learns from."""
    iterations: Annotated[int, Meta(ge=3, le=10_000)] = 40
    questions: Annotated[int, Meta(ge=20, le=5000)] = 200
    timings: Annotated[int, Meta(ge=2, le=10_000)] = 200
    """Values of recognition and inference each."""
    shuffled: bool = False
    """Take away what there is to be learned, as a control."""


#: What each kind of task that a worker does can ask for.
JOB_PARAMS: dict[str, type[msgspec.Struct]] = {
    "check_leaks": LeakParams,
    "evaluate": EvaluateParams,
    "halving_search": HalvingParams,
    "learn_pattern": PatternParams,
    "prepare": DataParams,
    "prepare_file": DataParams,
    "train": TrainParams,
    "train_part": PartParams,
}

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
