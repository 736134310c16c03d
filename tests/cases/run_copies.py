"""Runs COPY by psycopg: `run_copies.py PORT out FILE` reads key and statement, prints key and what came in hexadecimal, or
the text of an error; `run_copies.py PORT in FILE` reads key, statements to make a table, COPY into it and the data."""

import json
import sys

import psycopg

port, way, file = sys.argv[1:]
login = {"host": "127.0.0.1", "user": "postgres", "password": "clear-secret", "dbname": "postgres"}


def out(cursor, sql):
    with cursor.copy(sql) as copy:
        return b"".join(copy).hex()


def into(cursor, made, sql, data, types):
    cursor.execute("begin")
    try:
        cursor.execute(made)
        with cursor.copy(sql) as copy:
            copy.write(bytes.fromhex(data))
        if types:
            with cursor.copy("copy made to stdout (format binary)") as copy:
                copy.set_types(types)
                list(copy.rows())
    finally:
        cursor.execute("rollback")


results = {}
with open(file) as lines, psycopg.connect(port=port, autocommit=True, **login) as db:
    for key, *asked in json.load(lines):
        try:
            cursor = db.cursor()
            results[key] = out(cursor, *asked) if way == "out" else into(cursor, *asked)
        except psycopg.Error as error:
            results[key] = {"error": str(error)}
print(json.dumps(results))
