"""Reads every column of `<mask>.scalars` and `<mask>.arrays` by several clients. Prints what they made of it.

Drivers connect by a relay inside this process that keeps what the server sent, as it came.
"""

import asyncio
import json
import socket
import struct
import sys
import threading

import asyncpg
import psycopg
from psycopg.types import TypeInfo, composite, enum, hstore, multirange
from psycopg.types import range as ranges

sys.dont_write_bytecode = True
import wire

port, kept_file, masks = int(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
LOGIN = {"host": "127.0.0.1", "user": "postgres", "password": "clear-secret"}


class Relay:
    """Copies both ways between a driver and the database, and keeps what goes to the driver."""

    def __init__(self):
        self.kept = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            driver, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for pair in ((driver, server, None), (server, driver, self.kept)):
                threading.Thread(target=self.copy, args=pair, daemon=True).start()

    @staticmethod
    def copy(source, sink, kept):
        try:
            while data := source.recv(65536):
                if kept is not None:
                    kept += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side is gone, which the other one notices by itself.
            pass


def message(error):
    return f"{type(error).__name__}: {error}"


def shown(cell):
    """A cell so that equal ones read the same: asyncpg's paths and polygons show their address."""
    if isinstance(cell, list):
        return [shown(element) for element in cell]
    return repr(getattr(cell, "points", cell))


def raw(relay, queries, form):
    """Rows as they stand on the wire; the extended protocol describes the statement or the portal in turn."""
    stream = wire.connect(relay.port)
    wire.until(stream, b"Z")
    for number, (name, query) in enumerate(queries.items()):
        query = query.encode() + b"\0"
        if form == "simple":
            stream.sendall(wire.message(b"Q", query))
        else:
            formats = struct.pack("!hhh", 0, 1, form == "binary")
            describe = [b"S\0", b"P\0", b""][number % 3]
            stream.sendall(
                wire.message(b"P", b"\0" + query + struct.pack("!h", 0))
                + wire.message(b"B", b"\0\0" + struct.pack("!h", 0) + formats)
                + (wire.message(b"D", describe) if describe else b"")
                + wire.message(b"E", b"\0" + struct.pack("!i", 0))
                + wire.message(b"S")
            )
        answers = wire.until(stream, b"Z")
        errors = [body for kind, body in answers if kind == b"E"]
        yield name, errors[0].decode() if errors else [wire.cells(body) for kind, body in answers if kind == b"D"]
    stream.close()


def with_psycopg(relay, queries, binary):
    with psycopg.connect(port=relay.port, dbname="postgres", autocommit=True, **LOGIN) as db:
        # Labels of the enum are no cells, so they come past the relay.
        with psycopg.connect(port=port, dbname="postgres", **LOGIN) as straight:
            hstore.register_hstore(TypeInfo.fetch(straight, "hstore"), db)
            composite.register_composite(composite.CompositeInfo.fetch(straight, "pair"), db)
            enum.register_enum(enum.EnumInfo.fetch(straight, "mood"), db)
            ranges.register_range(ranges.RangeInfo.fetch(straight, "floatrange"), db)
            multirange.register_multirange(multirange.MultirangeInfo.fetch(straight, "floatmultirange"), db)
        cursor = db.cursor(binary=binary)
        for name, query in queries.items():
            try:
                # A parameter makes it use the extended protocol.
                rows = cursor.execute(query.replace(" order", " where %s order"), (True,)).fetchall()
                yield name, [[shown(cell) for cell in row] for row in rows]
            except Exception as error:
                yield name, message(error)


def with_asyncpg(relay, queries):
    async def run():
        db = await asyncpg.connect(port=relay.port, database="postgres", ssl=False, **LOGIN)
        results = []
        for name, query in queries.items():
            try:
                results.append((name, [[shown(cell) for cell in row] for row in await db.fetch(query)]))
            except Exception as error:
                results.append((name, message(error)))
        await db.close()
        return results

    return asyncio.run(run())


CLIENTS = {
    "simple": lambda relay, queries: raw(relay, queries, "simple"),
    "text": lambda relay, queries: raw(relay, queries, "text"),
    "binary": lambda relay, queries: raw(relay, queries, "binary"),
    "psycopg text": lambda relay, queries: with_psycopg(relay, queries, False),
    "psycopg binary": lambda relay, queries: with_psycopg(relay, queries, True),
    "asyncpg": with_asyncpg,
}

relay = Relay()
with psycopg.connect(port=relay.port, dbname="postgres", **LOGIN) as db:
    columns = db.execute(
        "select c.relname, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " where relnamespace = %s::regnamespace and attname like 'secret%%' order by c.relname, a.attnum",
        (masks[0],),
    ).fetchall()
got = {}
for mask in masks:
    queries = {
        f"{table}.{secret}": f"select {secret}, {secret.replace('secret', 'open')} from {mask}.{table} order by id"
        for table, secret in columns
    }
    got[mask] = {client: dict(read(relay, queries)) for client, read in CLIENTS.items()}
with open(kept_file, "wb") as file:
    file.write(relay.kept)
print(json.dumps(got))
