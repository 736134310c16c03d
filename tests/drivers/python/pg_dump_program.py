"""pg_dump and pg_restore: what is dumped, and what is there once it is restored."""

import re
import subprocess
import tempfile

import common

BASE = f"{common.DSN}?sslrootcert={common.ROOT}"


def run(*command, given=None):
    ran = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120)
    # A dump has a key by chance, so that nothing in it can end it early.
    return [ran.returncode, re.sub(r"restrict \w+", "restrict KEY", ran.stdout), ran.stderr]


def dump(*arguments, dsn=BASE):
    return run("pg_dump", *arguments, dsn)


def restored(*arguments, dumped=("-F", "custom")):
    """What a dump of a database is into which a dump was restored."""
    with tempfile.TemporaryDirectory() as folder:
        got = [dump(*dumped, "-f", f"{folder}/dump", *arguments)]
        other = BASE.replace("/postgres?", "/restored?")
        got.append(run("psql", "-X", "-q", "-c", "drop database if exists restored", "-c", "create database restored", BASE))
        if dumped == ("-F", "plain"):
            got.append(run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", f"{folder}/dump", other))
        else:
            got.append(run("pg_restore", "--exit-on-error", "-j", "2", "-d", other, f"{folder}/dump"))
        got.append(dump(dsn=other))
        got.append(run("psql", "-X", "-q", "-c", "drop database restored", BASE))
    return [[text.replace(folder, "") if isinstance(text, str) else text for text in part] for part in got]


def mode(name):
    return dump("-t", "parts", dsn=f"{BASE}&sslmode={name}")


def simple():
    return [dump("--schema-only"), dump("--schema-only", "--clean", "--if-exists", "-n", "public", "--no-owner")]


def copy():
    kinds = [("-F", "custom"), ("-F", "plain"), ("-F", "directory", "-j", "2"), ("-F", "plain", "--rows-per-insert=100")]
    got = [restored("-t", "parts", "-t", "many", dumped=kind) for kind in kinds[:3]]
    return got + [dump(*kinds[3], "-t", "parts", "-t", "many")]


def cursor():
    # Rows for INSERT come by a cursor.
    return dump("--inserts", "-t", "many")


def large_object():
    made = [run("psql", "-X", "-A", "-t", "-c", f"select lo_from_bytea({oid}, '\\x0001{oid}')", BASE) for oid in (77001, 77002)]
    got = [made, dump("--blobs", "-t", "parts"), restored("--blobs", "-t", "parts")]
    return got + [run("psql", "-X", "-A", "-t", "-c", f"select lo_unlink({oid})", BASE) for oid in (77001, 77002)]


def transaction():
    return dump("--serializable-deferrable", "-t", "parts")


def password():
    return dump(dsn=BASE.replace("clear-secret", "wrong"))


def types():
    return dump("-t", "written_scalars", "-t", "written_arrays", "--data-only")


def masked():
    chosen = [word for schema in common.SCHEMAS for word in ("-t", f"{schema}.*")]
    code, printed, errors = dump("--data-only", "-t", "customers", *chosen)
    if code:
        return {"failed": errors}
    got = {}
    for name, names, lines in re.findall(r"^COPY (\S+) \(([^)]*)\) FROM stdin;\n(.*?)^\\\.$", printed, re.M | re.S):
        named = [dict(zip(names.split(", "), line.split("\t"))) for line in lines.splitlines()]
        cell = lambda text: common.shown(None if text == "\\N" else text)
        if name == "public.customers":
            got["customers"] = [[cell(row["email"]), cell(row["city"])] for row in named]
            continue
        for column in (column for column in named[0] if column.startswith("secret_")):
            got[f"{name}.{column}"] = [[cell(row[column]), cell(row[column.replace("secret", "open")])] for row in named]
    return got


version = subprocess.run(["pg_dump", "--version"], capture_output=True, text=True).stdout.split()
features = {f"sslmode {name}": lambda name=name: mode(name) for name in common.MODES}
for work in (simple, copy, cursor, large_object, transaction, password, types, masked):
    features[work.__name__] = work
common.run(f"pg_dump and pg_restore {version[2]}", features)
