"""An unmodified agent whose database fails it. Tells of each step how it ended, as one line of JSON.

Steps come on standard input, one a line: `connect`, or a statement.
"""

import json
import sys
import time

import psycopg

host, port, password = sys.argv[1], int(sys.argv[2]), "clear-secret"


def connect():
    return psycopg.connect(
        host=host, port=port, user="postgres", password=password, dbname="postgres", connect_timeout=3, autocommit=True
    )


connection = None
for line in sys.stdin:
    step, started = line.strip(), time.monotonic()
    told = {}
    try:
        if step == "connect":
            connection = connect()
        else:
            told["rows"] = [list(row) for row in connection.execute(step).fetchall()]
    except psycopg.Error as error:
        told["error"] = [type(error).__name__, error.sqlstate]
    told["closed"] = connection is None or connection.closed
    told["seconds"] = time.monotonic() - started
    print(json.dumps(told), flush=True)
