"""Before a run asks an endpoint that may cost money: what it will ask for, and whether the user agrees to that.

The rule itself lives in model-agent, which alone knows the endpoint: a turn at a paid one is refused without consent or
a budget, wherever its request came from. Here people learn before the run what it will come to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from swarm_cli import output
from swarm_common.client import Client
from swarm_common.datafiles import is_reference
from swarm_common.errors import BrokerUnavailable, UsageError
from swarm_common.events.benchmark import Requested

#: Leading a large plan through takes a moment.
_ESTIMATE_S = 60.0
_MILLION = 1e6
#: The parameter by which a scenario says that it may ask a paid endpoint.
CONSENT = "consent"


async def agreed(
    swarm: Client, request: Requested, suites: Sequence[Mapping[str, Any]], *, yes: bool
) -> Requested:
    """Return the request as the user agrees to it; prints the estimate where an endpoint may cost money.

    Raises:
        UsageError: It may cost money, and there is neither ``--yes`` nor a budget.
    """
    declared = _declared(suites, request.suite, request.scenario)
    if CONSENT not in declared:
        if yes:
            raise UsageError("--yes: this scenario asks no endpoint that could cost money", field="yes")
        return request
    params = {name: param["default"] for name, param in declared.items()} | dict(request.params)
    if yes:
        request = msgspec.structs.replace(request, params={**request.params, CONSENT: True})
    if params["recording"]:
        return request
    told = await _estimate(swarm, request, params)
    if told is None:
        return request
    output.note(told)
    budget = [name for name in ("budget_usd", "budget_tokens") if params[name] is not None]
    if not (yes or params[CONSENT] or budget):
        raise UsageError(
            "the run was not started: say --yes that it may ask whatever that costs, or set what it may "
            "spend at most, with -p budget_usd=1.50 or -p budget_tokens=100000; a budget that is spent stops the run "
            "and keeps what was done",
            field="params.budget_usd",
        )
    return request


async def _estimate(swarm: Client, request: Requested, params: Mapping[str, Any]) -> str | None:
    """Return what a run comes to, in words; ``None`` where its endpoint costs nothing, or nobody is there to say."""
    pose: dict[str, Any] = {"split": params["split"], "count": params["items"], "seed": request.seed}
    if params["tasks"]:
        if not is_reference(
            params["tasks"]
        ):  # asked of by the coordinator, too, which says what is wrong with it
            return None
        pose["file"] = params["tasks"]
    else:
        pose["family"] = params["family"]
    asked = {"executor": params["executor"], "model": params["model"], "pose": pose}
    try:
        found = await swarm.query("model_agent", "outline", asked, timeout_s=_ESTIMATE_S)
        if not found["paid"]:
            return None
        plan = {"scenario": request.scenario, "params": params, "seed": request.seed}
        plan |= {"items": found["items"], "guide": found["guide"]}
        made = await swarm.query("coordinator", "estimate", plan, timeout_s=_ESTIMATE_S)
    except BrokerUnavailable:
        return None
    return words(found, made)


def words(endpoint: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Return an estimate in one sentence."""
    read, written = made["read"], made["written"]
    if endpoint["price"] is not None:
        price = endpoint["price"]
        usd = (read * price[0] + written * price[1]) / _MILLION
        money = f"about {usd:,.2f} USD at {price[0]:g} USD a million read and {price[1]:g} a million written"
    elif endpoint["counted"]:
        money = "at what the endpoint says that it cost"
    else:
        money = "at a price that is not known here (SWARM_LLM_PRICE=3,15 says it, before the stack starts)"
    return (
        f"{endpoint['paid']} may cost money: at most {made['calls']:,} calls, about {read:,} tokens read and "
        f"{written:,} written, {money}. Assumed: {made['assumed']}."
    )


def _declared(suites: Sequence[Mapping[str, Any]], suite: str, scenario: str) -> dict[str, Mapping[str, Any]]:
    """Return the parameters that a scenario declares, by name; none for a scenario that there is not."""
    for found in suites:
        if found["name"] == suite:
            for index, one in enumerate(found["scenarios"]):
                if one["name"] == scenario or (not scenario and index == 0):
                    return {param["name"]: param for param in one.get("params", ())}
    return {}
