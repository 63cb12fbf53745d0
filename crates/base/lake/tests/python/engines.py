"""Reads the table of observations with three engines and prints what each saw."""

import sys
from datetime import date
from pathlib import Path

import deltalake
import duckdb
import polars
import pyarrow.compute as compute

folder = sys.argv[1]


def show(engine, rows, datastreams, total, earliest, latest, of_a_day):
    print(engine, rows, datastreams, f"{total:g}", earliest, latest)
    print(f"{engine} on 2026-11-23: {of_a_day}")


table = deltalake.DeltaTable(folder)
arrow = table.to_pyarrow_table()
times = arrow["phenomenon_time"].cast("int64")
day = table.to_pyarrow_table(partitions=[("day", "=", "2026-11-23")])
show(
    "deltalake",
    arrow.num_rows,
    len(compute.unique(arrow["datastream"])),
    compute.sum(arrow["value"]).as_py(),
    compute.min(times).as_py(),
    compute.max(times).as_py(),
    day.num_rows,
)

frame = polars.scan_delta(folder)
seen = frame.select(
    polars.len().alias("rows"),
    polars.col("datastream").n_unique(),
    polars.col("value").sum(),
    polars.col("phenomenon_time").min().dt.epoch("us").alias("earliest"),
    polars.col("phenomenon_time").max().dt.epoch("us").alias("latest"),
).collect()
of_a_day = frame.filter(polars.col("day") == date(2026, 11, 23)).collect()
show("polars", *seen.row(0), of_a_day.height)

import duckdb_extension_delta

extension = next(Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension"))
connection = duckdb.connect()
connection.execute(f"LOAD '{extension}'")
seen = connection.execute(
    "SELECT count(*), count(DISTINCT datastream), sum(value),"
    " epoch_us(min(phenomenon_time)), epoch_us(max(phenomenon_time))"
    f" FROM delta_scan('{folder}')"
).fetchone()
of_a_day = connection.execute(
    f"SELECT count(*) FROM delta_scan('{folder}') WHERE day = DATE '2026-11-23'"
).fetchone()[0]
show("duckdb", *seen, of_a_day)
