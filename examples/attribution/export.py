"""Write all events of attribution.py, gaps among them, to a Parquet file.

Run ``python export.py calls.db calls.parquet``. It needs pyarrow.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

import pyarrow
from pyarrow import parquet


def export(database: str, target: str) -> None:
    """Copy the rows."""
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("select * from events order by rowid")
        names = [column[0] for column in found.description]
        rows = found.fetchall()
    schema = pyarrow.schema([(name, pyarrow.float64() if name == "gap" else pyarrow.string()) for name in names])
    parquet.write_table(pyarrow.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema), target)
    print(len(rows), "events")


if __name__ == "__main__":
    export(*sys.argv[1:])
