"""Plans a run, schedules its tasks, retries and finishes it."""
