"""Sends tokens back by drivers, and looks for clear values in every byte that comes from the server.

A relay within this process stands between the drivers and the database, and keeps what passes it.
"""

import asyncio
import json
import socket
import sys
import threading

import asyncpg
import psycopg

CLEAR = [b"canary", b"canary".hex().encode()]


class Tap:
    """Listens on a port of its own and keeps what servers say."""

    def __init__(self, port):
        self.target = port
        self.heard = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.target))
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, sink, keep):
        try:
            while data := source.recv(65536):
                if keep:
                    self.heard += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def leaks(self):
        return any(clear in self.heard.lower() for clear in CLEAR)


def login(tap):
    return dict(host="127.0.0.1", port=tap.port, user="postgres", dbname="postgres", sslmode="disable", gssencmode="disable")


def tokens(tap):
    with psycopg.connect(**login(tap)) as db:
        return dict(db.execute("select id, email from customers order by id").fetchall())


FINDS = [
    ("by constant", "select id from customers where email = {a}", None),
    ("by parameter", "select id from customers where email = %s", ["a"]),
    ("by cast parameter", "select id from customers where email = %s::varchar", ["a"]),
    ("in a list", "select id from customers where email in (%s, %s) order by id", ["a", "b"]),
    ("in an array", "select id from customers where email = any(%s) order by id", [["a", "b"]]),
    ("in a written array", "select id from customers where email = any('{{{bare},{other}}}') order by id", None),
    ("in a row", "select id from customers where (note, email) = ('one', %s)", ["a"]),
    ("in a written row", "select id from customers where (id, email) in ((1, {a}), (2, {a}))", None),
    ("in a row by range", "select id from customers where (id, email) <= (0, %s)", ["a"]),
    ("through a view", "select id from contacts where contact = %s", ["a"]),
    ("through a common table", "with t as (select * from contacts) select id from t where contact = %s", ["a"]),
    ("in a join", "select c.id from orders o join customers c on c.id = o.customer and c.email = %s", ["a"]),
    ("the others", "select id from customers where email <> %s order by id", ["a"]),
    ("by count", "select count(*) filter (where email = %s)::int from customers", ["a"]),
    ("in a domain of another table", "select customer from orders where contact = %s", ["a"]),
    ("of another scope", "select id from customers where card = %s", ["a"]),
    ("of an unmasked column", "select id from customers where note = %s", ["a"]),
    ("by pattern", "select id from customers where email like %s", ["a"]),
    ("by range", "select id from customers where email >= %s and email <= %s", ["a", "a"]),
    ("in two places", "select id from customers where email = %(x)s or note = %(x)s", None),
    ("as an output", "select 1 from customers where %s::text = 'ana.canary@example.org'", ["a"]),
]


def find(db, known, name, sql, parameters, **how):
    def value(key):
        return [known[k] for k in key] if isinstance(key, list) else known[key]

    if name == "in two places":
        parameters = dict(x=known["a"])
    elif parameters is None:
        sql = sql.format(a="'" + known["a"] + "'", bare=known["a"], other=known["b"])
    else:
        parameters = [value(key) for key in parameters]
    try:
        return [row[0] for row in db.execute(sql, parameters, **how).fetchall()]
    except psycopg.Error as error:
        return error.sqlstate


def by_psycopg(tap, known, found):
    for binary in (False, True):
        with psycopg.connect(**login(tap), autocommit=True) as db:
            for name, sql, parameters in FINDS:
                cursor = db.cursor(binary=binary)
                for prepare in (False, True, True):
                    rows = find(cursor, known, name, sql, parameters, prepare=prepare)
                    found.setdefault(name, []).append(rows)
    with psycopg.connect(**login(tap), cursor_factory=psycopg.ClientCursor, autocommit=True) as db:
        for name, sql, parameters in FINDS:
            if name != "in an array":
                found[name].append(find(db, known, name, sql, parameters))
    with psycopg.connect(**login(tap), autocommit=True) as db:
        one = "select id from customers where email = %s"
        with db.pipeline():
            cursors = [db.execute(one, [known[key]], prepare=True) for key in "abab"]
            found["pipeline"] = [cursor.fetchall() for cursor in cursors]
        db.execute("prepare p (text) as select id from customers where email = $1")
        found["execute"] = db.execute(f"execute p('{known['a']}')").fetchall()
        db.execute(f"prepare q as select id from customers where email = '{known['b']}'")
        found["prepared"] = db.execute("execute q").fetchall()
        with db.transaction():
            db.execute(f"declare c cursor for select id from customers where email = '{known['b']}'")
            found["cursor"] = db.execute("fetch all from c").fetchall()
        with db.cursor().copy(f"copy (select id from customers where email = '{known['b']}') to stdout") as copy:
            found["copy"] = list(copy.rows())
        db.execute("create temp table kept (token text)")
        db.execute("insert into kept values (%s)", [known["a"]])
        found["kept"] = db.execute("select token = %s from kept", [known["a"]]).fetchall()
        changed = "update customers set note = 'seen' where email = %s returning id, note"
        found["update"] = db.execute(changed, [known["b"]]).fetchall()


async def by_asyncpg(tap, known, found):
    db = await asyncpg.connect(host="127.0.0.1", port=tap.port, user="postgres", database="postgres", ssl=False)
    for name, sql, parameters in FINDS:
        if parameters is None:
            continue
        for number in range(1, sql.count("%s") + 1):
            sql = sql.replace("%s", f"${number}", 1)
        values = [[known[k] for k in key] if isinstance(key, list) else known[key] for key in parameters]
        for _ in range(2):
            found[name].append([row[0] for row in await db.fetch(sql, *values)])
    await db.close()


def back(tap, known, found):
    """What was shown is written back, and so is what only looks like it."""

    def tried(name, run):
        with psycopg.connect(**login(tap), autocommit=True) as db:
            try:
                run(db)
                found[name] = "done"
            except psycopg.Error as error:
                detail = json.loads(error.diag.message_detail or "{}").get("code")
                found[name] = [error.sqlstate, detail, bool(error.diag.message_hint)]
            # The connection is as good as before.
            assert db.execute("select 1").fetchone() == (1,)

    token, card = known["a"], known["card"]
    write = "update customers set email = %s where id = 1"
    for binary in (False, True):
        tried(f"token {binary}", lambda db: db.cursor(binary=binary).execute(write, [token]))
        tried(f"stars {binary}", lambda db: db.cursor(binary=binary).execute("update customers set card = %s", [card]))
        tried(f"value {binary}", lambda db: db.cursor(binary=binary).execute("update customers set note = %s where id = 2", ["***"]))
    tried("constant", lambda db: db.execute(f"update customers set email = '{token}'"))
    tried("insert", lambda db: db.execute("insert into customers (id, email) values (7, %s)", [token]))
    tried("conflict", lambda db: db.execute(
        "insert into customers (id, note) values (1, 'x') on conflict (id) do update set email = %s", [token]))
    tried("merge", lambda db: db.execute(
        "merge into customers c using (select 1 as i) s on c.id = s.i when matched then update set email = %s", [token]))
    tried("pipeline", lambda db: pipeline(db, write, token))
    tried("execute", lambda db: (
        db.execute("prepare w (text) as update customers set email = $1 where id = 1"),
        db.execute(f"execute w('{token}')")))
    tried("copy", lambda db: copy(db, token))
    tried("copy of others", lambda db: copy(db, "new@example.org"))
    tried("own value", lambda db: db.execute("update customers set email = %s where id = 3", ["carl@example.org"]))
    tried("token elsewhere", lambda db: db.execute("update customers set note = %s where id = 2", [token]))


def pipeline(db, write, token):
    with db.pipeline():
        db.execute("select 1")
        db.execute(write, [token])


def copy(db, email):
    with db.cursor().copy("copy customers (id, email, note) from stdin") as rows:
        for number in range(2000):
            rows.write_row((1000 + number, f"u{number}@example.org", "***"))
        rows.write_row((9999, email, ""))


def attack(tap, known, found):
    """Every way to see the statement, or what is compared, as the server has it."""
    a, b = known["a"], known["b"]
    where = f"from customers where email = '{a}'"
    said = []

    def run(sql, parameters=None, **how):
        try:
            rows = db.execute(sql, parameters, **how)
            said.append([sql, "rows", len(rows.fetchall()) if rows.description else 0])
        except psycopg.Error as error:
            said.append([sql, error.sqlstate])

    with psycopg.connect(**login(tap), autocommit=True) as db:
        for setting in (
            "client_min_messages = debug5", "log_statement = 'all'", "log_duration = on",
            "log_min_duration_statement = 0", "debug_print_parse = on", "debug_print_rewritten = on",
            "debug_print_plan = on", "log_parameter_max_length_on_error = -1", "log_statement_stats = on",
            "log_min_error_statement = error", "log_error_verbosity = verbose",
        ):
            run("set " + setting)
        run("load 'auto_explain'")
        for setting in ("auto_explain.log_min_duration = 0", "auto_explain.log_analyze = on", "auto_explain.log_verbose = on"):
            run("set " + setting)
        run(f"select id {where}")
        run("select id from customers where email = %s", [a])
        run("select id from customers where email = %s", [a], prepare=True)
        run("select id from customers where email = any(%s)", [[a, b]])
        run(f"select current_query() {where}")
        run(f"select id, (select current_query()) {where}")
        run(f"select id {where}; select current_query()")
        run(f"select id {where}; select query from pg_stat_activity where pid = pg_backend_pid()")
        run(f"select query {where.replace('from', 'from pg_stat_activity,')} and pid = pg_backend_pid()")
        run("select query from pg_stat_activity")
        run("select pg_stat_get_activity(pg_backend_pid())")
        run(f"prepare p as select id {where}")
        run("prepare byname as select id from customers where email = $1")
        run("execute p")
        run("select * from pg_prepared_statements")
        run("select * from pg_prepared_statement()")
        run("select row_to_json(s) from pg_prepared_statements s")
        run("explain execute p")
        run("explain (analyze, verbose, format json) execute p")
        run("explain execute p", prepare=True)
        run(f"explain select id {where}")
        run("explain (verbose) select id from customers where email = %s", [a])
        run(f"explain execute byname('{a}')")
        run(f"execute byname('{a}')")
        run("create temp table plan as execute p")
        run("begin")
        run(f"declare c cursor with hold for select id {where}")
        run("select * from pg_cursors")
        run("fetch all from c")
        run("commit")
        run("select * from pg_cursors")
        run("select * from pg_cursor()")
        run(f"create view seen as select id {where}")
        run("select pg_get_viewdef('seen'::regclass)")
        run(f"create materialized view held as select id {where}")
        run("select definition from pg_matviews")
        run(f"create index partial on customers (id) where email = '{a}'")
        run("select pg_get_indexdef('partial'::regclass)")
        run(f"select citty {where}")
        run(f"select id {where} and id = 'x'")
        run(f"select id {where} and 1/(id - id) = 1")
        run("select id from customers where email = %s and 1/(id - id) = 1", [a])
        run("select id from customers where email = %s and id = (%s::text)::int", [a, "x"])
        run("select id from customers where email = %s and id = (%s::text)::int", [a, a])
        run("select %s::text from customers where email = %s", [a, a])
        run(f"update customers set note = '{a}' {where.replace('from customers', '')} returning note")
        run(f"update watched set label = 'x' where email = '{a}'")
        # Its rows lead to those of the watched table.
        run(f"delete from owners where email = '{a}'")
        run("delete from owners where email = %s", [a])
        run("update watched set label = 'y' where email = %s", [a])
        run("select * from watch_log")
        run("do $$ begin raise notice '%', (select current_query()); end $$")
        run(f"do $$ begin raise notice '%', (select count(*) {where}); end $$")
        run("set application_name = 'x'; show application_name")
        run("select * from pg_stat_statements")
        # The names of a prepared text come to mean a table of guesses.
        run("create schema guesses")
        run("create table guesses.customers (id text, email text)")
        run("alter table guesses.customers rename id to shown")
        # What users wrote has run, so that nobody knows the search path.
        run("set search_path = public")
        run("prepare r as select 1 from customers where email = '%s'" % a)
        run("set search_path = guesses, public")
        run("execute r")
        run("set search_path = public")
        run("execute r")
        watch(tap, db, run, a)
    found["said"] = said


def watch(tap, db, run, token):
    """Statements of another session, by either protocol, and of this one while it runs, as the server shows them."""
    with psycopg.connect(**login(tap), autocommit=True) as other:
        where = f"where pid = {other.info.backend_pid}"
        for what, parameters in ((f"select id from customers where email = '{token}'", None), ("select id from customers where email = %s", [token]),
                                 (f"select id from customers where email = '{token}' and %s", [True])):
            other.execute(what, parameters)
            run(f"select query, application_name from pg_stat_activity {where}")
            run(f"select row_to_json(a), a from pg_stat_activity a {where}")
            run(f"select pg_stat_get_backend_activity(n) from pg_stat_get_backend_idset() n where pg_stat_get_backend_pid(n) = {other.info.backend_pid}")
    run(f"select query, a from pg_stat_activity a where pid = pg_backend_pid() and exists (select from customers where email = '{token}')")
    run("select query, a from pg_stat_activity a where pid = pg_backend_pid() and exists (select from customers where email = %s)", [token])


def main():
    tap = Tap(int(sys.argv[1]))
    ids = tokens(tap)
    known = dict(a=ids[1], b=ids[2])
    with psycopg.connect(**login(tap)) as db:
        known["card"] = db.execute("select card from customers where id = 1").fetchone()[0]
    found = {}
    what = sys.argv[2]
    if what == "find":
        by_psycopg(tap, known, found)
        asyncio.run(by_asyncpg(tap, known, found))
    elif what == "back":
        back(tap, known, found)
    else:
        attack(tap, known, found)
    heard = len(tap.heard)
    at = next((tap.heard.lower().find(clear) for clear in CLEAR if clear in tap.heard.lower()), -1)
    around = tap.heard[max(at - 300, 0):at + 100].decode("utf-8", "replace") if at >= 0 else ""
    print(json.dumps(dict(found=found, known=known, heard=heard, withheld=tap.heard.count(b"text withheld"), leaks=tap.leaks(), around=around)))


main()
