"""DuckDB and deltalake for the benches: one JSON question a line, one JSON answer a line."""

import json
import os
import sys
import time

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

# Times without a zone are UTC, here as in the hub.
os.environ["TZ"] = "UTC"
time.tzset()

connection = duckdb.connect()
connection.execute("SET threads = 2")
connection.execute("SET TimeZone = 'UTC'")


def table(ask):
    """The live files of a Delta table, their bytes and rows."""
    delta = DeltaTable(ask["path"])
    adds = pa.table(delta.get_add_actions(flatten=True)).to_pydict()
    return {
        "version": delta.version(),
        "files": delta.file_uris(),
        "bytes": sum(adds["size_bytes"]),
        "rows": sum(adds["num_records"]),
    }


def view(ask):
    """Makes the files a table for what is asked next."""
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in ask["files"])
    connection.execute(
        f"CREATE OR REPLACE VIEW observations AS SELECT * FROM read_parquet([{names}])"
    )
    return {"duckdb": duckdb.__version__}


def query(ask):
    """Runs SQL; its seconds until the whole result is an Arrow table."""
    began = time.perf_counter()
    result = connection.sql(ask["sql"]).to_arrow_table()
    return {"seconds": time.perf_counter() - began, "rows": result.num_rows}


def compare(ask):
    """Whether the Arrow stream in a file says the same as the SQL here."""
    ours = pa.ipc.open_stream(pa.memory_map(ask["arrow"])).read_all()
    theirs = connection.sql(ask["sql"]).to_arrow_table()
    if ours.num_rows != theirs.num_rows or ours.num_columns != theirs.num_columns:
        shape = f"{ours.num_rows} x {ours.num_columns}, {theirs.num_rows} x {theirs.num_columns}"
        return {"same": False, "why": shape}

    def cell(value):
        return value if not hasattr(value, "timestamp") else value.timestamp()

    def rows(arrow):
        return sorted(
            tuple(cell(v) for v in row) for row in zip(*(c.to_pylist() for c in arrow.columns))
        )

    for left, right in zip(rows(ours), rows(theirs)):
        for a, b in zip(left, right):
            if a != b and not (
                isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-9 * max(abs(a), abs(b))
            ):
                return {"same": False, "why": f"{left} and {right}"}
    return {"same": True, "rows": ours.num_rows}


DOORS = {"table": table, "view": view, "query": query, "compare": compare}

for line in sys.stdin:
    try:
        ask = json.loads(line)
        answer = DOORS[ask["do"]](ask)
    except Exception as error:  # whatever it was, it is the answer
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
