"""Types of model that other distributions bring: entry points of the group ``swarmbench.models``.

An entry point's name is the name of the type; what it points at is a scikit-learn estimator class, an instance of one
(a prototype that is cloned), or a :class:`ModelType`. Only metadata are read until a type is used: one that is broken
fails there, with the distribution's name, and disturbs no other.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor

from swarm_common.errors import UsageError

GROUP = "swarmbench.models"
_METHODS = ("fit", "predict", "get_params")


class ModelType(msgspec.Struct, frozen=True):
    """What stands behind a name, for each kind of problem it can solve.

    ``classifier`` and ``regressor`` are a class, an instance that is cloned, or ``module:Class``, imported when used.
    """

    classifier: Any = None
    regressor: Any = None
    wants_scaling: bool = False
    """Whether it is sensitive to the scale of features, so that a ``StandardScaler`` goes first."""
    calibrated: bool = False
    """Whether the classifier has no probabilities of its own.

    Then it stands in ``CalibratedClassifierCV(..., ensemble=False)`` (Platt 1999, five folds), which scikit-learn 1.9
    recommends in place of ``SVC(probability=True)``.
    """
    extra: str = ""
    """The extra of swarm-model-agent that it needs, which is also the module's name; empty for none."""
    defaults: Mapping[str, Any] = {}
    """Hyperparameters that are set unless others are given: quiet, one thread, the same result each time."""
    further: tuple[str, ...] = ()
    """Hyperparameters it takes beside those that ``get_params`` names."""
    same: tuple[tuple[str, ...], ...] = ()
    """Names for one and the same hyperparameter: one that is given takes the place of a default of the others."""
    device: str = ""
    """The hyperparameter that says where it trains; empty: on the CPU, always."""
    devices: Mapping[str, str] = {}
    """What that hyperparameter is called with for ``cuda`` and ``gpu``, where it is another word."""

    def solves(self, problem: str) -> bool:
        """Say whether there is an estimator for the problem."""
        return (self.classifier if problem == "classification" else self.regressor) is not None

    def installed(self) -> bool:
        """Say whether the library it needs is there; imports nothing."""
        return not self.extra or importlib.util.find_spec(self.extra) is not None

    def prototype(self, name: str, problem: str) -> Any:
        """Return the class or the instance for a problem; raises :class:`UsageError` where its library is missing."""
        kind = self.classifier if problem == "classification" else self.regressor
        if not isinstance(kind, str):
            return kind
        if not self.installed():
            command = f"pip install 'swarm-model-agent[{self.extra}]'"
            raise UsageError(
                f"{name} needs {self.extra}, which is not installed; `{command}` brings it",
                field="params.model_type",
                given=name,
            )
        module, _, attribute = kind.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:  # whatever a library that is half there raises
            raise UsageError(
                f"{name} needs {self.extra or module}, which cannot be imported ({type(error).__name__}: {error})",
                field="params.model_type",
                given=name,
            ) from error


@cache
def claimed() -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points of the group by name, as the installed distributions' metadata have them."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    # The same distribution may be on the path twice, as an editable install and a copy of it are.
    return {name: tuple({(p.value, whose(p)): p for p in found[name]}.values()) for name in sorted(found)}


def whose(point: EntryPoint) -> str:
    """Return name and version of the distribution that brings an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed distribution"


def load(name: str) -> ModelType:
    """Return the type of model that a distribution brings under this name, checked.

    Raises :class:`UsageError`, with the distribution's name, for one that cannot be imported, is no estimator or has a
    name that two have taken.
    """
    points = claimed()[name]
    if len(points) > 1:
        both = " and ".join(whose(point) for point in points)
        raise _broken(name, f"two distributions bring it: {both}; uninstall one")
    (point,) = points
    brought = f"brought by {whose(point)} as {point.value}"
    try:
        found = point.load()
    except Exception as error:  # whatever somebody's module raises
        raise _broken(
            name, f"{brought}, cannot be imported: {type(error).__name__}: {error}; mend or uninstall it"
        ) from error
    try:
        return _checked(found)
    except UsageError as error:
        raise _broken(name, f"{brought}, {error}") from error


def _checked(found: Any) -> ModelType:
    if isinstance(found, ModelType):
        if found.classifier is None and found.regressor is None:
            raise UsageError("is a ModelType with neither a classifier nor a regressor")
        for kind in (found.classifier, found.regressor):
            if kind is not None and not isinstance(kind, str):
                _instance(kind)
        if found.classifier is None or isinstance(found.classifier, str) or found.calibrated:
            return found
        calibrated = not hasattr(_instance(found.classifier), "predict_proba")
        return msgspec.structs.replace(found, calibrated=calibrated)
    one = _instance(found)
    try:
        classifies, regresses = is_classifier(one), is_regressor(one)
    except Exception:  # noqa: BLE001 - what has no tags of scikit-learn's may raise anything here
        classifies, regresses = hasattr(one, "predict_proba"), False
    if classifies:
        return ModelType(found, None, calibrated=not hasattr(one, "predict_proba"))
    if regresses:
        return ModelType(None, found)
    raise UsageError(
        "does not say whether it is a classifier or a regressor; let it inherit ClassifierMixin or RegressorMixin, or "
        "register a ModelType"
    )


def _instance(found: Any) -> BaseEstimator:
    """Return an estimator to look at; raises :class:`UsageError` for what is none."""
    missing = [method for method in _METHODS if not callable(getattr(found, method, None))]
    if missing:
        raise UsageError(f"is no scikit-learn estimator: {found!r} has no {', '.join(missing)}")
    try:
        return found() if isinstance(found, type) else clone(found)
    except Exception as error:
        what = "made without arguments; register an instance" if isinstance(found, type) else "cloned"
        raise UsageError(f"cannot be {what} ({type(error).__name__}: {error})") from error


def _broken(name: str, why: str) -> UsageError:
    return UsageError(f"type of model {name!r}, {why}", field="params.model_type", given=name)
