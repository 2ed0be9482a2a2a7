"""What an arm cost and bought, in sentences that claim no more than the intervals do."""

from __future__ import annotations

from swarm_coordinator.suites.coordination.measures import Measured


def verdict(one: Measured, alone: Measured) -> str:
    """Return what an arm bought over one agent alone, and at which price."""
    head = f"{one.name}: {one.quality:.2f} [{one.low:.2f}, {one.high:.2f}] on {one.n} questions"
    return f"{head}; {bought(one)}; {cost(one, alone)}."


def bought(one: Measured) -> str:
    """Return the gain over one agent alone, and over one with the same tokens where there is one."""
    told = [_gain(one.gain, one.gain_low, one.gain_high, one.n, "one agent alone")]
    if one.budget_gain is not None:
        told.append(
            _gain(one.budget_gain, one.budget_low, one.budget_high, one.n, "one agent with the same tokens")
        )
    return ", ".join(told)


def _gain(gain: float | None, low: float | None, high: float | None, n: int, than: str) -> str:
    if gain is None or low is None or high is None:
        return f"not held against {than}"
    figures = f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]"
    if low > 0:
        return f"better than {than} by {figures}"
    if high < 0:
        return f"worse than {than} by {figures}"
    return f"no difference to {than} that {n} questions can show ({figures})"


def cost(one: Measured, alone: Measured) -> str:
    """Return what it cost: tokens and time in multiples of one agent's, messages, coordination."""
    told = []
    if alone.tokens:
        told.append(f"{one.tokens / alone.tokens:.1f} times the tokens")
    if alone.makespan_s > 0:
        told.append(f"{one.makespan_s / alone.makespan_s:.1f} times the time")
    told.append(f"{one.messages} messages")
    if one.overhead is not None:
        told.append(f"{one.overhead:.0%} of the time without a model call")
    if one.silent:
        told.append(f"{one.silent} turns in which a model gave no answer")
    return "it cost " + ", ".join(told)
