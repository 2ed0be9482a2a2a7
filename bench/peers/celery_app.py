"""The peer of bench/noop.py: Celery on Redis with an empty task, acknowledged late, results kept in Redis.

Run by the peer's own Python, which has Celery and nothing of ours. As a script it sends tasks and waits for all
results: it reads how many from each line of its input, and prints the seconds.
"""

from __future__ import annotations

import os
import sys
import time

from celery import Celery, group

app = Celery("celery_app", broker=os.environ["PEER_REDIS"], backend=os.environ["PEER_REDIS"])
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=int(os.environ.get("PEER_PREFETCH", "64")),
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_send_task_events=False,
    task_send_sent_event=False,
    broker_connection_retry_on_startup=True,
    result_expires=600,
)


@app.task
def noop(index: int) -> dict[str, int]:
    return {"index": index}


def send_and_wait(count: int) -> float:
    """Return the seconds until every result is at hand."""
    began = time.perf_counter()
    results = group(noop.s(index) for index in range(count)).apply_async()
    answers = results.get(timeout=120)
    seconds = time.perf_counter() - began
    results.forget()
    if [answer["index"] for answer in answers] != list(range(count)):
        raise SystemExit("the peer lost results")
    return seconds


if __name__ == "__main__":
    for line in sys.stdin:
        print(send_and_wait(int(line)), flush=True)
