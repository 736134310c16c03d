"""Runs as an unmodified agent that uses TLS. Prints one JSON object of what each driver got."""

import asyncio
import json
import ssl
import sys

import asyncpg
import psycopg
import sqlalchemy

host, port, password = "127.0.0.1", int(sys.argv[1]), "clear-secret"
QUERY = "select id, city, email from customers where id = "
got = {}


def put(driver, row, more):
    got[driver] = {"email": row[2], "rest": [row[0], row[1], more]}


def with_psycopg(name, **options):
    db = psycopg.connect(host=host, port=port, user="postgres", password=password, dbname="postgres", **options)
    with db:
        row = db.execute(QUERY + "%s", (1,)).fetchone()
        with db.pipeline():
            first = db.execute("select label from parts")
            second = db.execute("select repeat('x', 100000)")
            labels = [first.fetchone()[0], len(second.fetchone()[0])]
        with db.cursor().copy("copy parts to stdout") as copy:
            labels.append(b"".join(copy).decode())
        put(name, row, [labels, db.pgconn.ssl_in_use])


async def with_asyncpg():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, mode in (("asyncpg require", "require"), ("asyncpg context", context)):
        db = await asyncpg.connect(
            host=host, port=port, user="postgres", password=password, database="postgres", ssl=mode
        )
        row = await db.fetchrow(QUERY + "$1", 1)
        try:
            await db.execute("select pg_sleep(20)", timeout=0.3)
            cancelled = False
        except asyncio.TimeoutError:
            cancelled = await db.fetchval("select 41 + 1") == 42
        put(name, list(row), cancelled)
        await db.close()


def with_sqlalchemy():
    url = f"postgresql+psycopg://postgres:{password}@{host}:{port}/postgres?sslmode=require"
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as db:
        row = db.execute(sqlalchemy.text(QUERY + ":id"), {"id": 1}).fetchone()
        put("sqlalchemy", list(row), sqlalchemy.inspect(db).get_table_names())


with_psycopg("psycopg require", sslmode="require")
with_psycopg("psycopg 3.2", sslmode="require", max_protocol_version="3.2")
with_psycopg("psycopg prefer", sslmode="prefer", gssencmode="prefer")
asyncio.run(with_asyncpg())
with_sqlalchemy()
print(json.dumps(got))
