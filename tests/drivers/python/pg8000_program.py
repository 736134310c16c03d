"""pg8000: the protocol in Python, prepared statements without names."""

import io
import ssl

import common
import pg8000.dbapi
import pg8000.native


def context(verify, names):
    made = ssl.create_default_context(cafile=common.ROOT)
    made.check_hostname, made.verify_mode = names, ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    return made


class Program(common.DbApi):
    modes = {
        "disable": {"ssl_context": False},
        "prefer": {"ssl_context": None},
        "require": {"ssl_context": True},
        "verify-ca": {"ssl_context": context(True, False)},
        "verify-full": {"ssl_context": context(True, True)},
    }

    def connect(self, **more):
        return pg8000.dbapi.connect(**{**common.LOGIN, **more})

    def encrypted(self, db):
        return isinstance(db._usock, ssl.SSLSocket)

    def prepared(self):
        db = pg8000.native.Connection(**common.LOGIN)
        part = db.prepare("select id, label from parts where id = :id")
        got = [common.table(part.run(id=n % 4)) for n in range(10)]
        part.close()
        return got

    def copy(self):
        db = self.connect()
        cursor = db.cursor()
        cursor.execute("copy parts (id, label) from stdin", stream=io.BytesIO(b"100\tone\n101\t\\N\n"))
        got = [cursor.rowcount]
        for sql in ("copy parts to stdout", "copy (select id, label from parts) to stdout (format csv, header)"):
            out = io.BytesIO()
            cursor.execute(sql, stream=out)
            got.append(out.getvalue().decode())
        wrong = io.BytesIO(b"x\ty\n")
        got.append(common.attempt(lambda: cursor.execute("copy parts (id, label) from stdin", stream=wrong)))
        db.rollback()
        return got

    def cursor(self):
        db = self.connect()
        self.one(db, "declare named scroll cursor for select id, word from many order by id")
        got = [self.one(db, f"fetch {how} from named") for how in ("next", "forward 2", "absolute 400", "backward 1")]
        return got + [self.one(db, "close named")]

    def notify(self):
        db, other = self.connect(), self.connect()
        db.autocommit = other.autocommit = True
        self.one(db, "listen news")
        self.one(db, "notify news, 'of its own'")
        self.one(db, "select 1")
        got = {"own": [list(note[1:]) for note in db.notifications]}
        db.notifications.clear()
        self.one(other, "select pg_notify('news', 'of another')")
        while not db.notifications:
            self.one(db, "select 1")
        got["other"] = [list(note[1:]) for note in db.notifications]
        return got


common.run(f"pg8000 {pg8000.__version__}", Program().features())
