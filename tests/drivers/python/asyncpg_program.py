"""asyncpg: the protocol in Cython, binary, prepared statements that it keeps."""

import asyncio
import datetime
import decimal
import io
import ssl

import asyncpg
import common
from common import failure, shown, table


async def attempt(work):
    try:
        return await work
    except Exception as error:
        return failure(error)


def connect(**more):
    return asyncpg.connect(**{**common.LOGIN, **more})


async def mode(name):
    # Authorities are given to libpq's names by the connection string.
    db = await asyncpg.connect(f"{common.DSN}?sslmode={name}&sslrootcert={common.ROOT}")
    encrypted = isinstance(db._transport.get_extra_info("ssl_object"), ssl.SSLObject)
    return [encrypted, table(await db.fetch("select 41 + 1"))]


async def simple():
    db = await connect()
    got = {"script": await db.execute("update parts set label = label; create temp table own (n int)")}
    got["rows"] = table(await db.fetch(common.ROWS))
    got["none"] = table(await db.fetch("select id from parts where false"))
    for name, sql in (("divided", "select 1 / 0"), ("missing", "select 1 from missing"), ("misspelt", "selct 1")):
        got[name] = [await attempt(db.execute(sql)), await attempt(db.fetch(sql))]
    got["returned"] = table(await db.fetch("insert into own select generate_series(1, 3) returning n"))
    got["version"] = list(db.get_server_version())
    return got


async def parameters():
    db = await connect()
    made = datetime.datetime(2003, 4, 5, 6, 7, 8, tzinfo=datetime.timezone.utc)
    got = {"found": table(await db.fetch("select id, label from parts where id = $1 and label = $2", 1, "bolt"))}
    got["list"] = table(await db.fetch("select id from parts where id = any($1) order by id", [1, 3]))
    got["inserted"] = table(
        await db.fetch("insert into parts values ($1, $2, $3, $4) returning *", 100, "pärt '\\", decimal.Decimal("3.75"), made)
    )
    got["null"] = table(await db.fetch("insert into parts values ($1, $2) returning label", 101, None))
    got["twice"] = await attempt(db.fetch("insert into parts (id) values ($1)", 1))
    got["unread"] = await attempt(db.fetch("select $1::int", "x"))
    got["deleted"] = await db.execute("delete from parts where id >= $1", 100)
    return got


async def prepared():
    db = await connect()
    part = await db.prepare("select id, label from parts where id = $1")
    got = [[str(a) for a in part.get_attributes()], [str(p) for p in part.get_parameters()]]
    got += [table(await part.fetch(n % 4)) for n in range(10)]
    await db.execute("create temp table own as select 1 as n")
    got.append(table(await db.fetch("select * from own")))
    await db.execute("alter table own add m int")
    got.append(await attempt(db.fetch("select * from own")))
    got[-1] = table(got[-1]) if isinstance(got[-1], list) else got[-1]
    return got


async def pipeline():
    db = await connect()
    got = [await db.executemany("insert into parts (id, label) values ($1, $2)", [(100 + n, f"part {n}") for n in range(50)])]
    got.append(await attempt(db.executemany("insert into parts (id) values ($1)", [(200,), (1,), (201,)])))
    got.append(table(await db.fetch("select count(*), max(id) from parts")))
    await db.execute("delete from parts where id >= 100")
    return got


async def transaction():
    db, other = await connect(), await connect()
    count = "select count(*) from parts where id >= 100"
    got = []

    async def both():
        got.append([await db.fetchval(count), await other.fetchval(count)])

    for isolation in ("read_committed", "serializable"):
        outer = db.transaction(isolation=isolation)
        await outer.start()
        await db.execute("insert into parts (id) values (100)")
        await both()
        inner = db.transaction()
        await inner.start()
        await db.execute("insert into parts (id) values (101)")
        await both()
        got.append([await attempt(db.execute("select 1 / 0")), await attempt(db.execute("select 1"))])
        await inner.rollback()
        await both()
        await outer.commit()
        await both()
        await db.execute("delete from parts where id >= 100")
    got.append(await attempt(read_only(db)))
    return got


async def read_only(db):
    async with db.transaction(readonly=True):
        await db.execute("delete from parts")


async def copy():
    db = await connect()
    got = [await db.copy_to_table("parts", source=io.BytesIO(b"100\tone\n101\t\\N\n"), columns=["id", "label"])]
    got.append(await db.copy_records_to_table("parts", records=[(102, "binary")], columns=["id", "label"]))
    for format in ("text", "csv", "binary"):
        out = io.BytesIO()
        await db.copy_from_query("select id, label from parts where id > $1 order by id", 1, output=out, format=format)
        got.append(out.getvalue().hex())
    out = io.BytesIO()
    got += [await db.copy_from_table("parts", output=out), out.getvalue().decode()]
    got.append(await attempt(db.copy_to_table("parts", source=io.BytesIO(b"x\ty\n"), columns=["id", "label"])))
    await db.execute("delete from parts where id >= 100")
    return got


async def cursor():
    db = await connect()
    async with db.transaction():
        rows = [row["id"] async for row in db.cursor("select id, word from many where id > $1 order by id", 10, prefetch=70)]
        opened = await db.cursor("select id, word from many order by id")
        got = [sum(rows), table(await opened.fetch(3)), await opened.forward(100), shown(await opened.fetchrow())]
    return got


async def large_object():
    db = await connect()
    number = await db.fetchval("select lo_from_bytea(0, $1)", b"a large object")
    got = [table(await db.fetch("select lo_get($1), lo_get($1, 2, 5)", number))]
    got.append(await db.execute("select lo_put($1, 2, $2)", number, b"LARGE"))
    got.append(table(await db.fetch("select lo_get($1)", number)))
    got.append(await db.fetchval("select lo_unlink($1)", number))
    return got + [await attempt(db.fetch("select lo_get(1)"))]


async def notify():
    db, other = await connect(), await connect()
    notes = asyncio.Queue()
    await db.add_listener("news", lambda _db, _pid, channel, payload: notes.put_nowait([channel, payload]))
    await db.execute("notify news, 'of its own'")
    got = {"own": [await notes.get()]}
    await other.execute("select pg_notify('news', $1)", "of another")
    got["other"] = [await notes.get()]
    return got


async def cancel():
    db = await connect()
    got = [await attempt(db.execute("select pg_sleep(60)", timeout=0.5)), await db.fetchval("select 1")]
    task = asyncio.ensure_future(db.execute("select pg_sleep(60)"))
    await asyncio.sleep(0.5)
    task.cancel()
    got.append(isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError))
    return got + [await db.fetchval("select 2")]


async def password():
    return await attempt(connect(password="wrong"))


async def restart():
    db = await connect()
    got = [await db.fetchval("select 1")]
    await asyncio.to_thread(common.until_restarted)
    got.append(await attempt(db.fetchval("select 2")))
    return got + [await (await connect()).fetchval("select 3")]


async def types():
    db = await connect()
    got = {}
    for kind, column in common.columns("open"):
        cell = await attempt(db.fetch(f"select {column} from redacted.{kind} where id = 1"))
        if isinstance(cell, dict):
            got[f"{kind}.{column}"] = cell
            continue
        cell = cell[0][0]
        back = await attempt(db.fetch(f"update written_{kind} set {column} = $1 returning {column}::text", cell))
        got[f"{kind}.{column}"] = [shown(cell), table(back) if isinstance(back, list) else back]
    return got


async def masked():
    db = await connect()
    got = {"customers": table(await db.fetch("select email, city from customers order by id"))}
    for schema in common.SCHEMAS:
        for kind, column in common.columns("secret"):
            sql = f"select {column}, {column.replace('secret', 'open')} from {schema}.{kind} order by id"
            rows = await attempt(db.fetch(sql))
            got[f"{schema}.{kind}.{column}"] = table(rows) if isinstance(rows, list) else rows
    return got


TRIED = (
    simple, parameters, prepared, pipeline, transaction, copy, cursor, large_object, notify, cancel, password, restart, types, masked,
)
features = {f"sslmode {name}": lambda name=name: asyncio.run(mode(name)) for name in common.MODES}
features |= {work.__name__: lambda work=work: asyncio.run(work()) for work in TRIED}
# It has no other form.
features["binary"] = lambda: asyncio.run(simple())
common.run(f"asyncpg {asyncpg.__version__}", features)
