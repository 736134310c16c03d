"""SQLAlchemy over psycopg 3: its pool, its types, its reflection and its sessions."""

import datetime
import decimal

import common
import sqlalchemy
from common import shown, table
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Numeric, String, Table, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import DeclarativeBase, Session, relationship


def engine(dsn=None, **more):
    dsn = dsn or f"{common.DSN}?sslrootcert={common.ROOT}"
    return sqlalchemy.create_engine(dsn.replace("postgresql:", "postgresql+psycopg:"), **more)


def failure(error):
    """The driver's own inside SQLAlchemy's."""
    told = common.failure(error)
    if isinstance(error, LookupError):
        # Its words list the labels of an enumeration, which are no cells.
        told["message"] = None
    return {**told, "driver": common.failure(error.orig)} if getattr(error, "orig", None) else told


def tried(work):
    try:
        return work()
    except Exception as error:
        return failure(error)


def rows(db, sql, **values):
    return table(db.execute(text(sql) if isinstance(sql, str) else sql, values))


def mode(name):
    with engine(f"{common.DSN}?sslmode={name}&sslrootcert={common.ROOT}").connect() as db:
        return [db.connection.dbapi_connection.pgconn.ssl_in_use, rows(db, "select 41 + 1")]


def simple():
    got = {}
    with engine().connect() as db:
        got["rows"] = rows(db, common.ROWS)
        got["none"] = rows(db, "select id from parts where false")
        got["changed"] = db.execute(text("update parts set label = label")).rowcount
        for sql in ("select 1 / 0", "select 1 from missing", "selct 1"):
            got[sql] = tried(lambda: rows(db, sql))
            db.rollback()
        look = sqlalchemy.inspect(db)
        got["tables"] = look.get_table_names()
        got["parts"] = [{name: str(value) for name, value in column.items()} for column in look.get_columns("parts")]
        got["keys"] = look.get_pk_constraint("customers")
    return got


def parameters():
    metadata = MetaData()
    with engine().connect() as db:
        parts = Table("parts", metadata, autoload_with=db)
        made = datetime.datetime(2003, 4, 5, 6, 7, 8, tzinfo=datetime.timezone.utc)
        row = {"id": 100, "label": "pärt '\\ %", "size": decimal.Decimal("3.75"), "made": made}
        got = [table(db.execute(insert(parts).returning(parts), row))]
        got.append(table(db.execute(select(parts).where(parts.c.id.in_([1, 100]), parts.c.label.ilike("b%")))))
        # It sends rows a thousand at a time.
        many = [{"id": 200 + n, "label": f"part {n}"} for n in range(1500)]
        got.append(len(db.execute(insert(parts).returning(parts.c.id), many).all()))
        got.append(db.execute(update(parts).where(parts.c.id > 200).values(size=parts.c.id * 2)).rowcount)
        again = upsert(parts).values(id=1, label="bolt").on_conflict_do_update(index_elements=["id"], set_={"label": "screw"})
        got.append(table(db.execute(again.returning(parts.c.label))))
        db.rollback()
        got.append(tried(lambda: db.execute(insert(parts), {"id": 1})))
        db.rollback()
        got.append(tried(lambda: rows(db, "select cast(:n as int)", n="x")))
    return got


def prepared():
    got = []
    with engine(connect_args={"prepare_threshold": 1}).connect() as db:
        for n in range(10):
            got.append(rows(db, "select id, label from parts where id = :id", id=n % 4))
    return got


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owners"
    id = Column(Integer, primary_key=True)
    name = Column(String(20), nullable=False)
    more = Column(JSONB)
    tags = Column(ARRAY(String))
    things = relationship("Thing", back_populates="owner", cascade="all, delete-orphan")


class Thing(Base):
    __tablename__ = "things"
    id = Column(Integer, primary_key=True)
    weight = Column(Numeric(8, 2))
    owner_id = Column(ForeignKey("owners.id"))
    owner = relationship("Owner", back_populates="things")


def transaction():
    made = engine()
    got = []
    Base.metadata.create_all(made)
    with Session(made) as session:
        owner = Owner(name="first", more={"size": 3}, tags=["a", "b"], things=[Thing(weight=decimal.Decimal("1.5")), Thing()])
        session.add(owner)
        session.commit()
        with session.begin_nested() as inner:
            session.add(Owner(name="second"))
            session.flush()
            inner.rollback()
        got.append(tried(lambda: failing(session)))
        got.append([(owner.id, owner.name, owner.more, owner.tags, len(owner.things)) for owner in session.scalars(select(Owner))])
        session.delete(session.get(Owner, owner.id))
        session.rollback()
        got.append(session.scalar(select(func.count()).select_from(Thing)))
        session.delete(session.get(Owner, owner.id))
        session.commit()
        got.append(session.scalar(select(func.count()).select_from(Thing)))
    with made.connect().execution_options(isolation_level="SERIALIZABLE") as db:
        got.append(rows(db, "show transaction_isolation"))
    Base.metadata.drop_all(made)
    return got


def failing(session):
    with session.begin_nested():
        session.add(Thing(owner_id=1000))
        session.flush()


def cursor():
    got = []
    with engine().connect() as db:
        result = db.execution_options(stream_results=True, max_row_buffer=70).execute(text("select id, word from many order by id"))
        got += [table([result.fetchone()]), len(result.fetchmany(99)), sum(row.id for row in result)]
        parts = db.execution_options(yield_per=100).execute(text("select id from many order by id"))
        got.append([len(part) for part in parts.partitions()])
    return got


def large_object():
    with engine().connect() as db:
        number = db.scalar(text("select lo_from_bytea(0, :bytes)"), {"bytes": b"a large object"})
        got = [rows(db, "select lo_get(:number), lo_get(:number, 2, 5)", number=number)]
        got.append(rows(db, "select lo_unlink(:number)", number=number))
        got.append(tried(lambda: rows(db, "select lo_get(1)")))
    return got


def password():
    return tried(lambda: engine(common.DSN.replace("clear-secret", "wrong")).connect())


def restart():
    got = []
    for pre_ping in (False, True):
        made = engine(pool_pre_ping=pre_ping)
        with made.connect() as db:
            got.append(rows(db, "select 1"))
        common.until_restarted()
        for _ in range(2):
            got.append(tried(lambda: rows(made.connect(), "select 2")))
    return got


def reflected(db, name, schema):
    return Table(name, MetaData(), schema=schema, autoload_with=db)


def types():
    got = {}
    with engine().connect() as db:
        for kind in ("scalars", "arrays"):
            # It warns of types that it does not know, and shows them as the driver does.
            source, written = reflected(db, kind, "redacted"), reflected(db, f"written_{kind}", None)
            for _, column in (both for both in common.columns("open") if both[0] == kind):
                cells = tried(lambda: db.execute(select(source.c[column]).where(source.c.id == 1)).all())
                got[f"{kind}.{column}"] = got_back = [cells]
                if isinstance(cells, list):
                    got_back[0] = shown(cells[0][0])
                    change = update(written).values({column: cells[0][0]}).returning(sqlalchemy.cast(written.c[column], sqlalchemy.Text))
                    got_back.append(tried(lambda: table(db.execute(change))))
                db.rollback()
    return got


def masked():
    with engine().connect() as db:
        got = {"customers": rows(db, "select email, city from customers order by id")}
        for schema in common.SCHEMAS:
            sources = {kind: reflected(db, kind, schema) for kind in ("scalars", "arrays")}
            for kind, column in common.columns("secret"):
                source = sources[kind]
                found = select(source.c[column], source.c[column.replace("secret", "open")]).order_by(source.c.id)
                got[f"{schema}.{kind}.{column}"] = tried(lambda: table(db.execute(found)))
                db.rollback()
    return got


features = {f"sslmode {name}": lambda name=name: mode(name) for name in common.MODES}
for work in (simple, parameters, prepared, transaction, cursor, large_object, password, restart, types, masked):
    features[work.__name__] = work
common.run(f"SQLAlchemy {sqlalchemy.__version__} over psycopg {engine().dialect.dbapi.__version__}", features)
