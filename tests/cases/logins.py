"""Runs as an unmodified agent. Prints one JSON object of how each way to log in ended.

Arguments: port, user, password (`-` for none).
"""

import asyncio
import json
import os
import sys

import asyncpg
import psycopg

port, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
os.environ["PGPASSFILE"] = "/nowhere"
secret = {} if password == "-" else {"password": password}
QUERY = "select current_user || ' ' || city from customers"
got = {}


def with_psycopg(name, **options):
    try:
        with psycopg.connect(
            host="127.0.0.1", port=port, user=user, dbname="postgres", **secret, **options
        ) as db:
            got[name] = db.execute(QUERY).fetchone()[0]
    except psycopg.Error as error:
        got[name] = str(error)


async def with_asyncpg(name, ssl):
    try:
        db = await asyncpg.connect(
            host="127.0.0.1", port=port, user=user, database="postgres", ssl=ssl, **secret
        )
        got[name] = await db.fetchval(QUERY)
        await db.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        got[name] = f"{getattr(error, 'sqlstate', '')} {error}"


for mode in ("disable", "require"):
    with_psycopg(f"psycopg {mode}", sslmode=mode)
    with_psycopg(f"psycopg {mode} scram", sslmode=mode, require_auth="scram-sha-256")
    asyncio.run(with_asyncpg(f"asyncpg {mode}", mode))
with_psycopg("psycopg bound", sslmode="require", channel_binding="require")
with_psycopg("psycopg none", sslmode="require", require_auth="none")
print(json.dumps(got))
