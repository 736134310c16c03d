"""psycopg2: libpq, the simple protocol only."""

import io
import select

import common
import psycopg2


class Program(common.DbApi):
    modes = {mode: {"sslmode": mode} for mode in common.MODES}

    def connect(self, **more):
        return psycopg2.connect(**{**common.LOGIN, "sslrootcert": common.ROOT, **more})

    def encrypted(self, db):
        return db.info.ssl_in_use

    def copy(self):
        db = self.connect()
        cursor = db.cursor()
        cursor.copy_from(io.StringIO("100\tone\n101\t\\N\n"), "parts", columns=("id", "label"))
        cursor.copy_expert("copy parts (id, label) from stdin (format csv)", io.StringIO('102,"a, b"\n'))
        got = [cursor.rowcount]
        for sql in ("copy parts to stdout", "copy (select id, label from parts) to stdout (format csv, header)"):
            out = io.StringIO()
            cursor.copy_expert(sql, out)
            got.append(out.getvalue())
        wrong = io.StringIO("x\ty\n")
        got.append(common.attempt(lambda: cursor.copy_expert("copy parts (id, label) from stdin", wrong)))
        db.rollback()
        return got

    def cursor(self):
        db = self.connect()
        cursor = db.cursor("named", scrollable=True)
        cursor.itersize = 70
        cursor.execute("select id, word from many order by id")
        got = [cursor.fetchone(), len(cursor.fetchmany(99)), cursor.fetchone()]
        cursor.scroll(-50)
        got += [cursor.fetchone(), sum(row[0] for row in cursor)]
        return got

    def large_object(self):
        db = self.connect()
        large = db.lobject(0, "wb", 0)
        got = [large.write(b"a large object" * 1000), large.close()]
        large = db.lobject(large.oid, "rb")
        got += [large.seek(7), large.read(10).hex(), large.tell(), len(large.read())]
        large.unlink()
        got.append(common.attempt(lambda: db.lobject(large.oid, "rb")))
        if isinstance(got[-1], dict):
            got[-1]["message"] = got[-1]["message"].replace(str(large.oid), "OID")
        db.rollback()
        return got + super().large_object()

    def notify(self):
        db, other = self.connect(), self.connect()
        db.autocommit = other.autocommit = True
        self.one(db, "listen news")
        self.one(db, "notify news, 'of its own'")
        got = {"own": [[note.channel, note.payload] for note in db.notifies]}
        db.notifies.clear()
        self.one(other, "select pg_notify('news', 'of another')")
        while not db.notifies:
            select.select([db], [], [], 10)
            db.poll()
        got["other"] = [[note.channel, note.payload] for note in db.notifies]
        return got

    def cancel(self):
        db = self.connect()
        ended = common.interrupted(lambda: self.one(db, "select pg_sleep(60)"), db.cancel)
        db.rollback()
        return [ended, self.one(db, "select 1")]


common.run(f"psycopg2 {psycopg2.__version__.split()[0]}", Program().features())
