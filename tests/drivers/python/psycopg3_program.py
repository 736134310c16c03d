"""psycopg 3: libpq, the extended protocol, text and binary, pipelines."""

import common
import psycopg
from psycopg import pq


class Program(common.DbApi):
    modes = {mode: {"sslmode": mode} for mode in common.MODES}

    def connect(self, **more):
        login = {**common.LOGIN, "sslrootcert": common.ROOT, **more}
        return psycopg.connect(dbname=login.pop("database"), **login)

    def encrypted(self, db):
        return db.pgconn.ssl_in_use

    def binary(self):
        db = self.connect()
        cursor = db.cursor(binary=True)
        got = [common.table(cursor.execute(common.ROWS).fetchall())]
        got.append(common.table(cursor.execute("select %b::int8, %b::text, %b::bytea", (7, "ä", b"\0\1")).fetchall()))
        for kind, column in common.columns("open"):
            sql = f"select {column} from redacted.{kind} order by id"
            got.append(common.attempt(lambda: common.table(cursor.execute(sql).fetchall())))
            db.rollback()
        return got

    def prepared(self):
        db = self.connect()
        sql = "select id, label from parts where id = %s"
        got = [common.table(db.execute(sql, (n % 4,), prepare=True).fetchall()) for n in range(10)]
        # A definition changes what a prepared statement gives.
        db.execute("create temp table own as select 1 as n")
        for change in ("select 1", "alter table own add m int"):
            db.execute(change)
            got.append(common.attempt(lambda: common.table(db.execute("select * from own", prepare=True).fetchall())))
        db.rollback()
        return got + [len(common.table(db.execute("select name from pg_prepared_statements").fetchall()))]

    def pipeline(self):
        db = self.connect()
        with db.pipeline():
            cursors = [db.execute("select %s::int, label from parts where id = 1", (n,)) for n in range(50)]
        got = [common.table(cursor.fetchall()) for cursor in cursors]
        db.rollback()

        def failing():
            with db.pipeline():
                db.execute("insert into parts (id) values (100)")
                db.execute("select 1 / 0")
                db.execute("insert into parts (id) values (101)")

        got.append(common.attempt(failing))
        db.rollback()
        return got + [self.one(db, "select count(*) from parts")]

    def copy(self):
        db = self.connect()
        cursor = db.cursor()
        with cursor.copy("copy parts (id, label) from stdin") as copy:
            copy.write_row((100, "one"))
            copy.write_row((101, None))
        got = [cursor.rowcount]
        with cursor.copy("copy parts (id, label) from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((102, "binary"))
        for sql in ("copy parts to stdout", "copy (select id, label from parts) to stdout (format csv, header)"):
            with cursor.copy(sql) as copy:
                got.append(b"".join(copy).decode())
        with cursor.copy("copy parts (id, label) to stdout (format binary)") as copy:
            copy.set_types(["int4", "text"])
            got.append(common.table(copy.rows()))

        def wrong():
            with cursor.copy("copy parts (id, label) from stdin") as copy:
                copy.write("x\ty\n")

        got.append(common.attempt(wrong))
        db.rollback()
        return got

    def cursor(self):
        db = self.connect()
        got = []
        for binary in (False, True):
            cursor = db.cursor("named", binary=binary, scrollable=True)
            cursor.itersize = 70
            cursor.execute("select id, word from many order by id")
            got += [cursor.fetchone(), len(cursor.fetchmany(99)), cursor.fetchone()]
            cursor.scroll(-50)
            got += [cursor.fetchone(), sum(row[0] for row in cursor)]
            cursor.close()
        got.append([row[0] for row in db.cursor().stream("select id from many where id < %s order by id", (9,))])
        return got

    def notify(self):
        db, other = self.connect(autocommit=True), self.connect(autocommit=True)
        db.execute("listen news")
        db.execute("notify news, 'of its own'")
        got = {"own": [[note.channel, note.payload] for note in db.notifies(timeout=10, stop_after=1)]}
        other.execute("select pg_notify('news', 'of another')")
        got["other"] = [[note.channel, note.payload] for note in db.notifies(timeout=10, stop_after=1)]
        return got

    def cancel(self):
        db = self.connect()
        got = []
        for cancel in (db.cancel, db.cancel_safe):
            got.append(common.interrupted(lambda: self.one(db, "select pg_sleep(60)"), cancel))
            db.rollback()
        return got + [self.one(db, "select 1")]


common.run(f"psycopg {psycopg.__version__}, libpq {pq.version()}", Program().features())
