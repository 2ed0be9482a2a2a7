"""The latest live metrics of every instance, as they come in; what has not been heard of for a while is dropped."""

from __future__ import annotations

from swarm_common.live import LiveMetrics

#: An instance that misses so many of its own intervals is gone, or hangs: either way nothing of it is known now.
MISSED = 5
#: More instances than this are not kept: one more takes the place of the one that was heard of first.
MOST = 256


class Latest:
    """Keeps one sample an instance. Times are seconds of a monotonic clock of the caller's."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, str], tuple[float, LiveMetrics]] = {}

    def take(self, sample: LiveMetrics, now: float) -> None:
        """Keep a sample in the place of the instance's last one."""
        self._heard.pop((sample.service, sample.instance), None)
        self._heard[sample.service, sample.instance] = now, sample
        while len(self._heard) > MOST:
            del self._heard[next(iter(self._heard))]

    def now(self, now: float) -> list[LiveMetrics]:
        """Return what is known now, by service and instance."""
        self._heard = {
            key: (at, sample)
            for key, (at, sample) in self._heard.items()
            if now - at <= MISSED * max(sample.interval_s, 0.1)
        }
        return [self._heard[key][1] for key in sorted(self._heard)]
