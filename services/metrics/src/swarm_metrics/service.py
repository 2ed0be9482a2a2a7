"""Metrics: scores, comparisons, and the view of all runs.

Wiring only; formulas are in :mod:`~swarm_metrics.scores`, :mod:`~swarm_metrics.calibration` and
:mod:`~swarm_metrics.comparing`.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from typing import TYPE_CHECKING, Any

import msgspec
from nats.aio.msg import Msg

from swarm_common import live
from swarm_common.errors import NotFound, UsageError
from swarm_common.events import Array, Event
from swarm_common.events.agent import DataPrepared, Predicted
from swarm_common.events.consensus import Reached
from swarm_common.events.measuring import MeasuredData
from swarm_common.events.metrics import (
    CaseMeasured,
    Collected,
    Compared,
    CurveFitted,
    Exercised,
    MemoryProfiled,
    OverheadMeasured,
    Scored,
)
from swarm_common.runtime.context import Context
from swarm_common.runtime.service import Service, Work
from swarm_metrics import asking, queries, summaries
from swarm_metrics.live import Latest
from swarm_metrics.view import Query, View, about

if TYPE_CHECKING:
    from swarm_metrics.dashboard.server import Dashboard

service = Service("metrics", "metrics", description="Scores, statistics, and the view of all runs.")
_view: View | None = None
_dashboard: Dashboard | None = None
_context: Context | None = None


@service.on_start
async def open_view(context: Context) -> None:
    """Open the view, read on from where it stands, and score something small beside: that loads numpy."""
    global _view, _context  # noqa: PLW0603 - they need the log, which is there only now
    _context = context
    _view = View(context)
    await _view.start()
    context.spawn(asyncio.to_thread(_rehearse), "warm-up")


@service.on_start
async def open_dashboard(context: Context) -> None:
    """Serve the dashboard where a port is set for it; without one, no web server is even loaded."""
    global _dashboard  # noqa: PLW0603 - it needs the settings, which are there only now
    if context.settings.dashboard_port == 0:
        return
    from swarm_metrics.dashboard.app import application  # noqa: PLC0415 - slow imports, only where they are used
    from swarm_metrics.dashboard.server import Dashboard  # noqa: PLC0415

    latest = Latest()

    async def hear(message: Msg) -> None:
        if (sample := live.decode(message.data)) is not None:
            latest.take(sample, time.monotonic())

    async def scrape(accept: str) -> tuple[bytes, str]:
        return await _scrape(context, latest, accept)

    await context.broker.nc.subscribe(live.EVERYBODY, cb=hear)
    app = application(_current().ask, connected=lambda: context.broker.nc.is_connected, scrape=scrape)
    _dashboard = Dashboard(app, context.settings.dashboard_host, context.settings.dashboard_port)
    context.spawn(_dashboard.run(), "dashboard")


async def _scrape(context: Context, latest: Latest, accept: str) -> tuple[bytes, str]:
    """Return what Prometheus is told now."""
    from swarm_metrics import prometheus  # noqa: PLC0415 - slow import, only where somebody scrapes

    (stored, behind), (streams, consumers) = await asyncio.gather(
        _current().ask(prometheus.stored, {}), prometheus.of_broker(context.broker)
    )
    facts = prometheus.Facts(
        stored=stored,
        behind=behind,
        streams=streams,
        consumers=consumers,
        live=tuple(latest.now(time.monotonic())),
    )
    return await asyncio.to_thread(prometheus.exposition, facts, accept)


@service.on_stop
async def close_view(_context: Context) -> None:
    """Answer what has been asked, write what has arrived, and close."""
    if _dashboard is not None:
        await _dashboard.stop()
    if _view is not None:
        await _view.close()


def _rehearse() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded: these matrices are small
    from swarm_metrics import scores  # noqa: PLC0415 - slow import

    truth = Array("<i2", (2,), struct.pack("<2h", 0, 1)).numpy()
    sure = Array("<f8", (2, 2), struct.pack("<4d", 0.9, 0.1, 0.1, 0.9)).numpy()
    scores.score(truth, [sure], [()], seed=0, name="")


@service.task("score", lane="io", pure=True)
async def score(work: Work) -> Scored:
    """Hold the combined prediction, and each model's, against the truth."""
    prepared = await work.inputs_of(DataPrepared)
    if len(prepared) != 1:
        raise UsageError(f"the task needs one agent.data_prepared; it has {len(prepared)}", field="needs")
    predicted = await work.inputs_of(Predicted)
    reached = await work.inputs_of(Reached)
    if len(reached) != 1:
        raise UsageError(f"the task needs one consensus.reached; it has {len(reached)}", field="needs")
    return await asyncio.to_thread(_score, work, prepared[0], reached[0], predicted)


def _score(
    work: Work,
    prepared: tuple[Event, DataPrepared],
    reached: tuple[Event, Reached],
    predicted: list[tuple[Event, Predicted]],
) -> Scored:
    from swarm_common.resampling import stream_of  # noqa: PLC0415 - slow imports
    from swarm_metrics import calibration, comparing, scores  # noqa: PLC0415

    began = time.perf_counter_ns()
    source, data = prepared
    truth = data.y_test.numpy()
    prediction = reached[1].prediction.numpy()
    predictions = [prediction, *(member.held_out.numpy() for _, member in predicted)]
    sources = [(source.id, reached[0].id), *((source.id, event.id) for event, _ in predicted)]
    combined, *members = scores.score(truth, predictions, sources, seed=work.task.seed, name=work.task.task)
    best, reason = comparing.best_single(reached[1].losses, [member.model for _, member in predicted])
    baseline = next((member for _, member in predicted if member.model == best), None)
    return Scored(
        task=work.task.task,
        metrics=combined,
        members={member.model: found for (_, member), found in zip(predicted, members, strict=True)},
        confusion=scores.confusion_of(truth, prediction) if data.classes else (),
        calibration=calibration.calibration(truth, prediction) if data.classes else (),
        best_single=best,
        best_single_reason=reason,
        versus_best=None
        if baseline is None
        else comparing.compare_rows(
            truth,
            prediction,
            baseline.held_out.numpy(),
            name=best,
            stream=stream_of(work.task.seed, f"{work.task.task}/versus_best"),
        ),
        elapsed_s=(time.perf_counter_ns() - began) / 1e9,
    )


@service.task("compare", lane="io", pure=True)
async def compare(work: Work) -> Compared:
    """Hold the scores of several splits against a baseline's on the same splits.

    ``params.metric`` is compared; ``params.baseline`` is ``best_single`` (the model that each split's scoring names) or
    a list of those of the task's needs that score the other side, paired in order with the rest. The correction for
    overlapping splits needs ``params.train_rows`` and ``params.test_rows``, or each split's ``agent.data_prepared``.
    """
    scored = [data for _, data in await work.inputs_of(Scored)]
    prepared = [data for _, data in await work.inputs_of(DataPrepared)]
    return await asyncio.to_thread(_compare, work, scored, prepared)


def _compare(work: Work, scored: list[Scored], prepared: list[DataPrepared]) -> Compared:
    from swarm_metrics import splits  # noqa: PLC0415 - slow import

    began = time.perf_counter_ns()
    found = splits.compare(work.task.task, work.task.params, scored, prepared)
    return msgspec.structs.replace(found, elapsed_s=(time.perf_counter_ns() - began) / 1e9)


@service.task("measure", lane="cpu", pure=False)
async def measure(work: Work) -> CaseMeasured:
    """Time a case of the primitives at a size, in a process of its own."""
    from swarm_metrics.primitives import measuring  # noqa: PLC0415 - only where it is used

    return await measuring.measure(work.task.task, work.task.params, work.task.seed)


@service.task("exercise", lane="cpu", pure=True)
async def exercise(work: Work) -> Exercised:
    """Do the work of cases and check it, without timing it by itself."""
    from swarm_metrics.primitives import measuring  # noqa: PLC0415

    return await measuring.exercise(work.task.task, work.task.params, work.task.seed)


@service.task("time_log", lane="io", pure=True)
async def time_log(work: Work) -> CaseMeasured:
    """Read from the log how long parts of the run took, end to end."""
    from swarm_metrics.primitives import logged, measuring  # noqa: PLC0415

    params = measuring.params_of(work.task.params, logged.LogParams)
    return logged.time_log(work.task.task, params, await work.run_events())


@service.task("fit_curve", lane="io", pure=True)
async def fit_curve(work: Work) -> CurveFitted:
    """Fit how time grows with size over measured sizes."""
    from swarm_metrics.primitives import measuring  # noqa: PLC0415

    measured = [data for _, data in await work.inputs_of(MeasuredData)]
    return await asyncio.to_thread(measuring.fit_curve, work.task.task, measured, work.task.seed)


@service.task("measure_overhead", lane="cpu", pure=False)
async def measure_overhead(work: Work) -> OverheadMeasured:
    """Do empty tasks with and without what measures them, in a process of its own."""
    from swarm_metrics.costs import measuring as costs  # noqa: PLC0415
    from swarm_metrics.primitives import measuring  # noqa: PLC0415

    params = measuring.params_of(work.task.params, costs.OverheadParams)
    return await costs.measure_overhead(work.task.task, params, work.task.seed)


@service.task("collect", lane="io", pure=False)
async def collect(work: Work) -> Collected:
    """Hear from every service what it has used, and since an earlier such task where that is an input."""
    from swarm_metrics.costs import usage  # noqa: PLC0415

    if _context is None:
        raise NotFound("metrics has not started: there is nobody to hear")
    before = next((data for _, data in await work.inputs_of(Collected)), None)
    return await usage.collect(_context.broker.nc, _context.settings.sample_s, work.task.task, before)


@service.task("profile_memory", lane="cpu", pure=False)
async def profile_memory(work: Work) -> MemoryProfiled:
    """Keep a view over sessions in processes of its own; see what that costs, and whether memory grows with work."""
    from swarm_metrics.costs import measuring as costs  # noqa: PLC0415
    from swarm_metrics.primitives import measuring  # noqa: PLC0415

    return await costs.profile_memory(
        work.task.task, measuring.params_of(work.task.params, costs.MemoryParams)
    )


@service.query("runs")
async def runs(_context: Context, given: dict[str, Any]) -> Any:
    """Return runs, the latest first."""
    return await _asked(queries.runs, given)


@service.query("run")
async def run(_context: Context, given: dict[str, Any]) -> Any:
    """Return one run with its tasks and metrics."""
    return await _asked(queries.run, given)


@service.query("sessions")
async def sessions(_context: Context, given: dict[str, Any]) -> Any:
    """Return sessions, and how many runs they have."""
    return await _asked(queries.sessions, given)


@service.query("metrics")
async def metrics(_context: Context, given: dict[str, Any]) -> Any:
    """Return metrics over runs, the latest run first."""
    return await _asked(queries.metrics, given)


@service.query("history")
async def history(_context: Context, given: dict[str, Any]) -> Any:
    """Return one metric's values over runs, the oldest first."""
    return await _asked(queries.history, given)


@service.query("samples")
async def samples(_context: Context, given: dict[str, Any]) -> Any:
    """Return single measurements."""
    return await _asked(queries.samples, given)


@service.query("summary")
async def summary(_context: Context, given: dict[str, Any]) -> Any:
    """Return what many measurements come to."""
    return await _asked(summaries.summary, given)


@service.query("view")
async def view(_context: Context, given: dict[str, Any]) -> Any:
    """Return how the view stands."""
    return await _asked(about, given) | {"rebuilding": _current().rebuilding}


@service.query("rebuild")
async def rebuild(_context: Context, given: dict[str, Any]) -> Any:
    """Begin to make the view anew from the log, beside the one that answers."""
    asking.only(given)
    return await _current().rebuild()


async def _asked(query: Query, given: dict[str, Any]) -> dict[str, Any]:
    answer, behind = await _current().ask(query, given)
    return {**answer, "behind": behind}


def _current() -> View:
    if _view is None:
        raise NotFound("metrics has not started: there is no view")
    return _view
