"""TPC-H from DuckDB's own generator: writes rows, as one CSV a table, and the 22 queries into a folder."""

import pathlib
import sys

import duckdb
import duckdb_extension_tpch as extension

SCALE = 0.01
TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]

folder = pathlib.Path(sys.argv[1])
file = next(pathlib.Path(extension.__file__).parent.rglob("tpch.duckdb_extension"))
database = duckdb.connect(config={"allow_unsigned_extensions": "true", "autoinstall_known_extensions": "false"})
database.execute(f"load '{file}'")
database.execute(f"call dbgen(sf = {SCALE})")
for table in TABLES:
    database.execute(f"copy {table} to '{folder}/{table}.csv' (format csv, header)")
queries = database.execute("select query_nr, query from tpch_queries() order by query_nr").fetchall()
with open(folder / "queries.sql", "w") as out:
    for number, query in queries:
        out.write(f"\\echo == {number}\n{query.strip().rstrip(';')};\n")
