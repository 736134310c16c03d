"""What the Python programs have in common: where they connect, and how they write down what they saw."""

import datetime
import decimal
import json
import os
import sys
import threading
from urllib.parse import urlsplit

sys.dont_write_bytecode = True

DSN = os.environ.get("DSN", "")
ROOT = os.environ.get("ROOT", "")
TYPES = int(os.environ.get("TYPES", "0"))
SCHEMAS = os.environ.get("SCHEMAS", "").split(",")
PARTS = urlsplit(DSN)
LOGIN = {
    "host": PARTS.hostname, "port": PARTS.port, "user": PARTS.username, "password": PARTS.password, "database": PARTS.path[1:],
}
ROWS = "select id, label, size, made from parts order by id"
MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


def columns(prefix):
    """Names of a column of every type, and of one of its arrays, with the table that has it."""
    return [(table, f"{prefix}_{number}") for table in ("scalars", "arrays") for number in range(TYPES)]


def shown(cell):
    """The type and the value of a cell, so that equal ones read the same."""
    if cell is None:
        return None
    if isinstance(cell, memoryview):
        return ["memoryview", bytes(cell).hex()]
    if isinstance(cell, list):
        return ["list", [shown(element) for element in cell]]
    # Some show their address.
    return [type(cell).__name__, repr(getattr(cell, "points", cell))]


def table(rows):
    return [[shown(cell) for cell in row] for row in rows]


def failure(error):
    """What a program can tell an error by."""
    text = str(error).strip()
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state is None and error.args and isinstance(error.args[0], dict):
        state, text = error.args[0].get("C"), error.args[0].get("M")
    return {"class": type(error).__name__, "sqlstate": state, "message": text}


def attempt(work):
    try:
        return work()
    except Exception as error:
        return failure(error)


def interrupted(run, cancel):
    """Runs what takes long, and cancels it, as often as that takes; what came of it."""
    got = []
    thread = threading.Thread(target=lambda: got.append(attempt(run)))
    thread.start()
    while True:
        thread.join(0.5)
        if not thread.is_alive():
            return got[0]
        cancel()


def until_restarted():
    """Has the server restarted."""
    print("ready", flush=True)
    sys.stdin.readline()


def run(version, features):
    """Tries the feature that the command line names, or lists all."""
    wanted = sys.argv[1]
    if wanted == "features":
        print(json.dumps({"version": version, "features": list(features)}))
        return
    print(json.dumps(features[wanted](), ensure_ascii=False))


class DbApi:
    """Features by the DB-API, for drivers whose parameters are `%s`; a driver says what it does otherwise."""

    def connect(self, **more):
        raise NotImplementedError

    def features(self):
        found = {name: getattr(self, name) for name in (
            "simple", "parameters", "prepared", "transaction", "copy", "cursor", "large_object", "notify", "cancel", "password",
            "restart", "types", "masked", "binary", "pipeline",
        ) if getattr(self, name, None)}
        return {**{f"sslmode {mode}": lambda mode=mode: self.mode(mode) for mode in self.modes}, **found}

    def mode(self, mode):
        with_mode = self.connect(**self.modes[mode])
        cursor = with_mode.cursor()
        cursor.execute("select 41 + 1")
        return [self.encrypted(with_mode), cursor.fetchall()]

    def encrypted(self, db):
        return None

    def one(self, db, sql, *parameters):
        cursor = db.cursor()
        cursor.execute(sql, *parameters)
        return table(cursor.fetchall()) if cursor.description else cursor.rowcount

    def simple(self):
        db = self.connect()
        cursor = db.cursor()
        cursor.execute(ROWS)
        described = [[column[0], shown(column[1])] for column in cursor.description]
        got = {"described": described, "rows": table(cursor.fetchall()), "count": cursor.rowcount}
        got["none"] = self.one(db, "select id from parts where false")
        for name, sql in (("divided", "select 1 / 0"), ("missing", "select 1 from missing"), ("misspelt", "selct 1")):
            got[name] = attempt(lambda: self.one(db, sql))
            db.rollback()
        got["changed"] = self.one(db, "update parts set label = label")
        got["made"] = self.one(db, "create temp table own (n int)")
        got["returned"] = self.one(db, "insert into own select generate_series(1, 3) returning n")
        got["shown"] = self.one(db, "show datestyle")
        db.rollback()
        return got

    def parameters(self):
        db = self.connect()
        made = datetime.datetime(2003, 4, 5, 6, 7, 8, tzinfo=datetime.timezone.utc)
        got = {"found": self.one(db, "select id, label from parts where id = %s and label = %s", (1, "bolt"))}
        got["list"] = self.one(db, "select id from parts where id = any(%s) order by id", ([1, 3],))
        row = (100, "pärt '\\ %", decimal.Decimal("3.75"), made)
        got["inserted"] = self.one(db, "insert into parts values (%s, %s, %s, %s) returning *", row)
        got["null"] = self.one(db, "insert into parts values (%s, %s, null, null) returning label", (101, None))
        cursor = db.cursor()
        cursor.executemany("insert into parts (id, label) values (%s, %s)", [(200 + n, f"part {n}") for n in range(20)])
        got["many"] = self.one(db, "select count(*), max(label) from parts")
        got["twice"] = attempt(lambda: self.one(db, "insert into parts (id) values (%s)", (1,)))
        db.rollback()
        got["unread"] = attempt(lambda: self.one(db, "select %s::int", ("x",)))
        db.rollback()
        return got

    def prepared(self):
        db = self.connect()
        self.one(db, "prepare part(int) as select id, label from parts where id = $1")
        got = [self.one(db, f"execute part({n % 4})") for n in range(10)]
        self.one(db, "deallocate part")
        return got + [attempt(lambda: self.one(db, "execute part(1)"))]

    def transaction(self):
        db, other = self.connect(), self.connect()
        count = "select count(*) from parts where id >= 100"
        got = []

        def both():
            got.append([self.one(db, count), self.one(other, count)])
            other.rollback()

        self.one(db, "insert into parts (id) values (100)")
        both()
        self.one(db, "savepoint s")
        self.one(db, "insert into parts (id) values (101)")
        both()
        self.one(db, "rollback to savepoint s")
        both()
        got.append(attempt(lambda: self.one(db, "select 1 / 0")))
        got.append(attempt(lambda: self.one(db, count)))
        self.one(db, "rollback to savepoint s")
        db.commit()
        both()
        self.one(db, "delete from parts where id >= 100")
        db.rollback()
        both()
        self.one(db, "delete from parts where id >= 100")
        db.commit()
        both()
        return got

    def large_object(self):
        db = self.connect()
        number = self.one(db, "select lo_from_bytea(0, 'a large object'::bytea)")[0][0][1]
        got = [self.one(db, f"select lo_get({number}), lo_get({number}, 2, 5)")]
        got.append(self.one(db, f"select lo_put({number}, 2, 'LARGE'::bytea)"))
        got.append(self.one(db, f"select lo_get({number})"))
        got.append(self.one(db, f"select lo_unlink({number})"))
        got.append(attempt(lambda: self.one(db, "select lo_get(1)")))
        return got

    def password(self):
        return attempt(lambda: self.connect(password="wrong"))

    def restart(self):
        db = self.connect()
        got = [self.one(db, "select 1")]
        db.commit()
        until_restarted()
        got.append(attempt(lambda: self.one(db, "select 2")))
        got.append(self.one(self.connect(), "select 3"))
        return got

    def types(self):
        """Reads a value of every type, writes it, and reads what was written as text."""
        db = self.connect()
        got = {}
        for kind, column in columns("open"):
            cells = attempt(lambda: self.cells(db, f"select {column} from redacted.{kind} where id = 1"))
            db.rollback()
            name = f"{kind}.{column}"
            if isinstance(cells, dict):
                got[name] = cells
                continue
            sql = f"update written_{kind} set {column} = %s returning {column}::text"
            got[name] = [shown(cells[0][0]), attempt(lambda: self.one(db, sql, (cells[0][0],)))]
            db.rollback()
        return got

    def cells(self, db, sql):
        cursor = db.cursor()
        cursor.execute(sql)
        return cursor.fetchall()

    def masked(self):
        db = self.connect()
        got = {"customers": self.one(db, "select email, city from customers order by id")}
        for schema in SCHEMAS:
            for kind, column in columns("secret"):
                open_column = column.replace("secret", "open")
                sql = f"select {column}, {open_column} from {schema}.{kind} order by id"
                got[f"{schema}.{kind}.{column}"] = attempt(lambda: table(self.cells(db, sql)))
                db.rollback()
        return got
