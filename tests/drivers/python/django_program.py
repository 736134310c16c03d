"""Django over psycopg 3: its models, its migrations of them and its transactions."""

import datetime
import decimal

import common
import django
import psycopg
from common import shown, table
from django.conf import settings
from django.db import connection, models, transaction

settings.configure(
    INSTALLED_APPS=[],
    USE_TZ=True,
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "HOST": common.PARTS.hostname, "PORT": common.PARTS.port,
        "NAME": common.PARTS.path[1:], "USER": common.PARTS.username, "PASSWORD": common.PARTS.password,
        "OPTIONS": {"sslrootcert": common.ROOT},
    }},
)
django.setup()


class Part(models.Model):
    id = models.IntegerField(primary_key=True)
    label = models.TextField(null=True)
    size = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    made = models.DateTimeField(null=True)

    class Meta:
        app_label, db_table, managed = "drivers", "parts", False


class Owner(models.Model):
    name = models.CharField(max_length=20, unique=True)
    more = models.JSONField(default=dict)
    joined = models.DateTimeField()

    class Meta:
        app_label = "drivers"


class Thing(models.Model):
    owner = models.ForeignKey(Owner, on_delete=models.CASCADE)
    weight = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        app_label = "drivers"


def tried(work):
    try:
        return work()
    except Exception as error:
        told = common.failure(error)
        return {**told, "driver": common.failure(error.__cause__)} if error.__cause__ else told


def rows(sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return table(cursor.fetchall()) if cursor.description else cursor.rowcount


def mode(name):
    connection.settings_dict["OPTIONS"]["sslmode"] = name
    return [rows("select 41 + 1"), connection.connection.pgconn.ssl_in_use]


def simple():
    got = {"rows": rows(common.ROWS), "changed": rows("update parts set label = label")}
    for sql in ("select 1 / 0", "select 1 from missing", "selct 1"):
        got[sql] = tried(lambda: rows(sql))
    got["tables"] = sorted(connection.introspection.table_names())
    with connection.cursor() as cursor:
        got["parts"] = [str(column) for column in connection.introspection.get_table_description(cursor, "parts")]
        got["constraints"] = sorted(map(str, connection.introspection.get_constraints(cursor, "customers").items()))
    return got


def parameters():
    made = datetime.datetime(2003, 4, 5, 6, 7, 8, tzinfo=datetime.timezone.utc)
    part = Part.objects.create(id=100, label="pärt '\\ %", size=decimal.Decimal("3.75"), made=made)
    part.refresh_from_db()
    got = [table([(part.label, part.size, part.made)])]
    Part.objects.bulk_create([Part(id=200 + n, label=f"part {n}") for n in range(300)], batch_size=100)
    got.append(Part.objects.filter(id__gte=200, label__startswith="part").count())
    got.append(list(Part.objects.filter(id__in=[1, 3], made__year=2001).values_list("id", "label")))
    got.append(Part.objects.filter(id__gte=200).update(size=models.F("id") * 2))
    got.append(table([Part.objects.aggregate(models.Sum("size"), models.Max("label")).values()]))
    got.append(Part.objects.update_or_create(id=100, defaults={"label": "again"})[1])
    got.append(tried(lambda: Part(id=1).save(force_insert=True)))
    got.append(tried(lambda: rows("select %s::int", ["x"])))
    got.append(Part.objects.filter(id__gte=100).delete())
    return got


def prepared():
    connection.settings_dict["OPTIONS"].update(prepare_threshold=1, server_side_binding=True)
    return [list(Part.objects.filter(id=n % 4).values_list("id", "label")) for n in range(10)]


def in_transactions():
    with connection.schema_editor() as editor:
        editor.create_model(Owner)
        editor.create_model(Thing)
    got = []
    joined = datetime.datetime(2003, 4, 5, tzinfo=datetime.timezone.utc)
    with transaction.atomic():
        owner = Owner.objects.create(name="first", more={"size": [3]}, joined=joined)
        got.append(tried(lambda: twice(joined)))
        owner.thing_set.create(weight="1.5")
    got.append(tried(lambda: rolled_back(owner)))
    with transaction.atomic():
        got.append(list(Owner.objects.select_for_update().filter(more__size__contains=3).values_list("id", "name")))
    got.append([(thing.owner.name, str(thing.weight)) for thing in Thing.objects.select_related("owner")])
    got += [Thing.objects.all().delete(), Owner.objects.all().delete()]
    with connection.schema_editor() as editor:
        field = models.CharField(max_length=5, default="x")
        field.set_attributes_from_name("kind")
        editor.add_field(Owner, field)
    got.append(rows("select count(*) from drivers_thing"))
    with connection.schema_editor() as editor:
        editor.delete_model(Thing)
        editor.delete_model(Owner)
    return got


def twice(joined):
    with transaction.atomic():
        Owner.objects.create(name="first", joined=joined)


def rolled_back(owner):
    with transaction.atomic():
        owner.thing_set.create(weight="9")
        raise ValueError("on purpose")


def cursor():
    numbers = [part for part in Part.objects.values_list("id", flat=True).order_by("id").iterator(chunk_size=2)]
    with transaction.atomic(), connection.chunked_cursor() as opened:
        opened.execute("select id, word from many order by id")
        return [numbers, table([opened.fetchone()]), len(opened.fetchmany(99)), sum(row[0] for row in opened.fetchall())]


def large_object():
    number = rows("select lo_from_bytea(0, %s)", [b"a large object"])[0][0][1]
    got = [rows(f"select lo_get({number}), lo_get({number}, 2, 5)"), rows(f"select lo_unlink({number})")]
    return got + [tried(lambda: rows("select lo_get(1)"))]


def password():
    connection.settings_dict["PASSWORD"] = "wrong"
    return tried(lambda: rows("select 1"))


def restart():
    got = [rows("select 1")]
    common.until_restarted()
    got.append(tried(lambda: rows("select 2")))
    connection.close()
    return got + [rows("select 3")]


def types():
    got = {}
    for kind, column in common.columns("open"):
        with connection.cursor() as opened:
            cell = tried(lambda: opened.execute(f"select {column} from redacted.{kind} where id = 1") and opened.fetchone())
        if isinstance(cell, dict):
            got[f"{kind}.{column}"] = cell
            continue
        sql = f"update written_{kind} set {column} = %s returning {column}::text"
        got[f"{kind}.{column}"] = [shown(cell[0]), tried(lambda: rows(sql, [cell[0]]))]
    return got


def masked():
    got = {"customers": rows("select email, city from customers order by id")}
    for schema in common.SCHEMAS:
        for kind, column in common.columns("secret"):
            sql = f"select {column}, {column.replace('secret', 'open')} from {schema}.{kind} order by id"
            got[f"{schema}.{kind}.{column}"] = tried(lambda: rows(sql))
    return got


features = {f"sslmode {name}": lambda name=name: mode(name) for name in common.MODES}
for work in (simple, parameters, prepared, cursor, large_object, password, restart, types, masked):
    features[work.__name__] = work
features["transaction"] = in_transactions
common.run(f"Django {django.__version__} over psycopg {psycopg.__version__}", features)
