"""The tasks of the suite that metrics does: what a service's handler calls."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from swarm_common.errors import UsageError
from swarm_common.events.measuring import MeasuredData
from swarm_common.events.metrics import CaseMeasured, CurveFitted, Exercised
from swarm_common.hosts import this_host
from swarm_metrics.primitives.apart import Exercise, Order, exercised_apart, measured_apart

P = TypeVar("P", bound=msgspec.Struct)


def params_of(given: Mapping[str, Any], kind: type[P]) -> P:
    """Return the parameters of a task; raises :class:`UsageError` for what is not one of them."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        allowed = ", ".join(kind.__struct_fields__)
        raise UsageError(
            f"params: {error}; the task takes {allowed}", field="params", allowed=allowed
        ) from None


async def measure(task: str, given: Mapping[str, Any], seed: int) -> CaseMeasured:
    """Measure a case in a process of its own; raises as :func:`~swarm_metrics.primitives.apart.measured_apart` does."""
    order = params_of(given, Order)
    began, host = time.perf_counter_ns(), this_host()
    found = await measured_apart(order, seed)
    return CaseMeasured(
        task=task,
        scenario=order.scenario,
        variant=order.variant,
        size=order.size,
        operation=found.operation,
        growth=found.growth,
        checked=found.measurement.checked,
        samples=found.measurement.samples,
        timings=found.measurement.timings,
        host=host,
        load_end=this_host().load,
        clock=found.measurement.clock,
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


async def exercise(task: str, given: Mapping[str, Any], seed: int) -> Exercised:
    """Do the work of cases and check it; raises as :func:`measure` does."""
    order = params_of(given, Exercise)
    began = time.perf_counter_ns()
    found = await exercised_apart(order, seed)
    return Exercised(task=task, checked=found.checked, elapsed_s=(time.perf_counter_ns() - began) / 1e9)


def _cost(measured: MeasuredData) -> tuple[float, ...]:
    """Return what work cost: of the processor where that was measured, for what others do with it is not the work's."""
    cpu = next((one.values for one in measured.samples if one.clock == "process_time_ns"), None)
    return measured.samples[0].values if cpu is None else cpu


def fit_curve(task: str, measured: Sequence[MeasuredData], seed: int) -> CurveFitted:
    """Fit how the time of an operation grows over sizes of one scenario and variant.

    Raises:
        UsageError: There is nothing to fit, or it is of several scenarios, variants or promises.
    """
    from swarm_statistics import curves  # noqa: PLC0415 - loads numpy

    began = time.perf_counter_ns()
    kinds = {(one.scenario, one.variant, one.growth) for one in measured}
    if len(kinds) != 1:
        raise UsageError(
            f"a curve is of one scenario and variant; the task has {sorted(kinds)}",
            field="needs",
            allowed="one",
        )
    ((scenario, variant, growth),) = kinds
    found = curves.fit({one.size: _cost(one) for one in measured}, seed=seed, name=task)
    return CurveFitted(
        task=task,
        scenario=scenario,
        variant=variant,
        growth=growth,
        sizes=tuple(sorted(one.size for one in measured)),
        times_us=() if found is None else found.times,
        exponent=None if found is None else found.exponent,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        model="" if found is None else found.model,
        errors={} if found is None else found.errors,
        verdict="too few sizes" if found is None else curves.verdict(found, growth),
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )
