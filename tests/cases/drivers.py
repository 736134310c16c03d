"""Runs as an unmodified agent: ordinary DSN, ordinary driver. Prints one JSON object of what it got."""

import asyncio
import json
import sys

import asyncpg
import psycopg

host, port, password = "127.0.0.1", int(sys.argv[1]), "clear-secret"
QUERY = "select id, city, email, ssn, born, paid from customers where id = "
got = {}


def plain(row):
    return [value if isinstance(value, (int, str)) else str(value) for value in row]


def with_psycopg():
    with psycopg.connect(host=host, port=port, user="postgres", password=password, dbname="postgres") as db:
        for name, binary in (("text", False), ("binary", True)):
            cursor = db.cursor(binary=binary)
            # From the sixth execution on psycopg uses a prepared statement.
            rows = {json.dumps(plain(cursor.execute(QUERY + "%s", (1,)).fetchone())) for _ in range(8)}
            got[f"psycopg {name}"] = sorted(rows)
        with db.pipeline():
            first = db.execute("select email from customers where id = 1")
            second = db.execute("select label from parts where id = 1")
            got["pipeline"] = [first.fetchone()[0], second.fetchone()[0]]
        with db.cursor(name="named") as cursor:
            got["cursor"] = [row[0] for row in cursor.execute("select email from customers")]
        with db.cursor().copy("copy parts from stdin") as copy:
            copy.write_row((2, "nut"))
        got["copied"] = db.execute("select id, label from parts order by id").fetchall()
        db.commit()
        with db.cursor().copy("copy customers to stdout") as copy:
            got["copied out"] = b"".join(copy).decode()
        for name, sql in (("refused", "select pg_read_file('x')"), ("scrubbed", "select ssn::int from customers")):
            try:
                db.execute(sql)
            except psycopg.Error as error:
                got[name] = [error.sqlstate, str(error)]
            db.rollback()
        got["after"] = db.execute("select id + 1 from parts where id = 1").fetchone()[0]


async def with_asyncpg():
    db = await asyncpg.connect(host=host, port=port, user="postgres", password=password, database="postgres", ssl=False)
    got["asyncpg"] = plain(await db.fetchrow(QUERY + "$1", 1))
    try:
        await db.execute("select pg_sleep(20)", timeout=0.3)
    except asyncio.TimeoutError:
        got["cancelled"] = await db.fetchval("select 41 + 1")
    async with db.transaction():
        got["asyncpg cursor"] = [row["email"] async for row in db.cursor("select email from customers")]
    await db.close()


with_psycopg()
asyncio.run(with_asyncpg())
print(json.dumps(got))
