"""Scores a folder of logs into Parquet on a Ray cluster: `score_folder.py` says what is read and written.

    python ray_score.py LOGS TABLES [--model NAME] [--adapt 16K] [--false-alarms 1%] [--workers N]

It joins the cluster that RAY_ADDRESS names or that runs on this machine, or else starts one here. Every worker is an actor
with a model of its own and one core; every file is a task. A worker that ends within a file is replaced, and the file read
again from its beginning. LOGS and TABLES are folders that every node sees under the same path.
"""

from __future__ import annotations

import sys
from typing import Any, Iterator

import ray
import ray.data
import score_folder


class Scorer:
    """An actor: a model, and files that come one by one."""

    def __init__(self, job: score_folder.Job) -> None:
        self.job = job

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        summaries = [self.job.score(str(file)) for file in batch["file"]]
        return {name: [row[name] for row in summaries] for name in summaries[0]}


def on_ray(job: score_folder.Job, files: list[str], workers: int | None) -> Iterator[dict[str, Any]]:
    """The summaries of all files, as workers have them."""
    ray.init(runtime_env={"py_modules": [score_folder.__file__]}, log_to_driver=False, logging_level="warning")
    workers = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(files))
    # A block is a file, and a worker has one at a time: nobody waits behind a large one while others have nothing to do.
    tasks = ray.data.from_items([{"file": file} for file in files], override_num_blocks=len(files))
    pool = ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1)
    scored = tasks.map_batches(Scorer, fn_constructor_args=(job,), batch_size=1, compute=pool, num_cpus=1)
    return scored.iter_rows()


if __name__ == "__main__":
    sys.exit(score_folder.main(__doc__, on_ray))
