"""Scores a folder of logs into Parquet with Spark: `score_folder.py` says what is read and written.

    spark-submit --master URL spark_score.py LOGS TABLES [--model NAME] [--adapt 16K] [--false-alarms 1%] [--workers N]

Every file is a task of its own, with one core; the model is broadcast, so that each Python worker has one. A task whose
worker ends is tried again, from the file's beginning (with `--master "local[2]"` it is not; "local[2,4]" tries four times).
LOGS and TABLES are folders that every node sees under the same path.
"""

from __future__ import annotations

import sys
from typing import Any, Iterable, Iterator

import pyarrow as pa
import score_folder
from pyspark.sql import SparkSession

SUMMARY = "file string, lines long, bytes long, flags long, begin double, end double, cpu double, error string"


def on_spark(job: score_folder.Job, files: list[str], workers: int | None) -> list[dict[str, Any]]:
    """The summaries of all files."""
    builder = SparkSession.builder.appName("mambabyte").config("spark.task.cpus", 1)
    if workers:
        # The first two of a standalone cluster, the third of YARN and Kubernetes.
        builder.config("spark.executor.cores", 1).config("spark.cores.max", workers).config("spark.executor.instances", workers)
    spark = builder.getOrCreate()
    try:
        spark.sparkContext.addPyFile(score_folder.__file__)
        shared = spark.sparkContext.broadcast(job)

        def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for file in batch.column("file").to_pylist():
                    yield pa.RecordBatch.from_pylist([shared.value.score(file)])

        # A partition is a file.
        tasks = spark.sparkContext.parallelize([(file,) for file in files], len(files))
        return [row.asDict() for row in spark.createDataFrame(tasks, "file string").mapInArrow(score, SUMMARY).collect()]
    finally:
        spark.stop()


if __name__ == "__main__":
    sys.exit(score_folder.main(__doc__, on_spark))
