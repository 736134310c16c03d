"""psql: what it prints, given by -c or on standard input."""

import re
import signal
import subprocess
import tempfile
import time

import common

BASE = f"{common.DSN}?sslrootcert={common.ROOT}"


def psql(*arguments, given=None, dsn=BASE):
    command = ["psql", "-X", "-A", *arguments, dsn]
    ran = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
    return [ran.returncode, ran.stdout, ran.stderr]


def mode(name):
    return psql("-c", "\\conninfo", "-c", "select 41 + 1", dsn=f"{BASE}&sslmode={name}")


def simple():
    script = f"{common.ROWS};\nselect 1 / 0;\nselect 1 from missing;\nselct 1;\n\\d parts\n\\d+ customers\n\\dt\n\\df lo_get\n\\l\n"
    return [psql("-c", common.ROWS), psql("-c", "select 1; select 2"), psql(given=script), psql("-x", "-c", common.ROWS)]


def prepared():
    executes = "".join(f"execute part({n % 4});" for n in range(10))
    script = "select id, label from parts where id = $1 \\gdesc\nprepare part(int) as select id, label from parts where id = $1;"
    return psql(given=f"{script}{executes}deallocate part;execute part(1);")


def transaction():
    count = "select count(*) from parts where id >= 100;"
    return psql(
        given=f"""
        begin; insert into parts (id) values (100); savepoint s; insert into parts (id) values (101); {count}
        rollback to s; {count} select 1 / 0; {count} rollback to s; commit; {count} delete from parts where id >= 100; {count}
        \\set AUTOCOMMIT off
        \\set ON_ERROR_ROLLBACK on
        insert into parts (id) values (100); insert into parts (id) values (100); {count} rollback; {count}
        """
    )


def copy():
    with tempfile.TemporaryDirectory() as folder:
        script = f"""
        begin;
        copy parts (id, label) from stdin;
100\tone
101\t\\N
\\.
        \\copy (select id, label from parts order by id) to '{folder}/file' (format csv, header)
        \\copy parts (id, label) from program 'echo 102,two' (format csv)
        copy parts to stdout;
        copy parts (id) from stdin;
x
\\.
        rollback;
        """
        return psql(given=script) + [open(f"{folder}/file").read()]


def cursor():
    declared = "begin; declare named scroll cursor for select id, word from many order by id;"
    fetched = "fetch next from named; fetch forward 2 from named; fetch absolute 400 from named; fetch backward 1 from named; end;"
    return [psql("-v", "FETCH_COUNT=70", "-c", "select * from many"), psql(given=declared + fetched)]


def large_object():
    with tempfile.TemporaryDirectory() as folder:
        for name, size in (("in", 100000), ("empty", 0)):
            with open(f"{folder}/{name}", "wb") as file:
                file.write(b"\0object" * size)
        script = f"""
        \\lo_import {folder}/in 'a comment'
        \\lo_export :LASTOID {folder}/out
        select length(lo_get(:LASTOID)), lo_get(:LASTOID, 2, 5);
        \\lo_unlink :LASTOID
        \\lo_export 1 {folder}/none
        """
        got = psql("-q", given=script)
        with open(f"{folder}/in", "rb") as sent, open(f"{folder}/out", "rb") as back:
            return [text.replace(folder, "") if isinstance(text, str) else text for text in got] + [sent.read() == back.read()]


def unnumbered(text):
    return re.sub(r"PID \d+", "PID", text)


def notify():
    own = psql(given="listen news;\nnotify news, 'of its own';\n")
    listener = subprocess.Popen(
        ["psql", "-X", "-A", BASE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    listener.stdin.write("listen news;\n\\echo listening\n")
    listener.stdin.flush()
    while listener.stdout.readline() != "listening\n":
        pass
    psql("-c", "select pg_notify('news', 'of another')")
    # It looks for what has come behind every statement.
    other, _ = listener.communicate("select 1;\n", timeout=30)
    return {"own": [unnumbered(own[1]), own[2]], "other": unnumbered(other)}


def cancel():
    command = ["psql", "-X", "-A", "-c", "select 1", "-c", "select pg_sleep(60)", "-c", "select 2", BASE]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.stdout.readline()
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    printed, errors = running.communicate(timeout=30)
    return [running.returncode, printed, errors]


def password():
    return psql("-c", "select 1", dsn=BASE.replace("clear-secret", "wrong"))


def restart():
    running = subprocess.Popen(
        ["psql", "-X", "-A", BASE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    running.stdin.write("select 1;\n\\echo asked\n")
    running.stdin.flush()
    while running.stdout.readline() != "asked\n":
        pass
    common.until_restarted()
    printed, errors = running.communicate("select 2;\nselect 3;\n", timeout=30)
    return [running.returncode, printed, errors]


def rows(text):
    """Cells, without names of columns and the number of rows."""
    return [line.split("\x1f") for line in text.split("\x1e")[1:-1]]


def read(sql):
    code, printed, errors = psql("-F", "\x1f", "-R", "\x1e", "-P", "null=<NULL>", "-c", sql)
    return [code, errors] if code else [[common.shown(None if cell == "<NULL>" else cell) for cell in row] for row in rows(printed)]


def types():
    got = {}
    for kind in ("scalars", "arrays"):
        names = ", ".join(column for table, column in common.columns("open") if table == kind)
        got[kind] = read(f"select {names} from redacted.{kind} order by id")
        given = f"update written_{kind} w set ({names}) = (select {names} from redacted.{kind} r where r.id = 1) returning *"
        got[f"{kind} written"] = read(given)
    return got


def masked():
    got = {"customers": read("select email, city from customers order by id")}
    for schema in common.SCHEMAS:
        for kind in ("scalars", "arrays"):
            pairs = [(column, column.replace("secret", "open")) for table, column in common.columns("secret") if table == kind]
            found = read(f"select {', '.join(name for pair in pairs for name in pair)} from {schema}.{kind} order by id")
            for number, (column, _) in enumerate(pairs):
                got[f"{schema}.{kind}.{column}"] = [row[2 * number:2 * number + 2] for row in found]
    return got


version = subprocess.run(["psql", "--version"], capture_output=True, text=True).stdout.split()
features = {f"sslmode {name}": lambda name=name: mode(name) for name in common.MODES}
for work in (simple, prepared, transaction, copy, cursor, large_object, notify, cancel, password, restart, types, masked):
    features[work.__name__] = work
common.run(f"psql {version[2]}", features)
