"""Ordinary Python programs: SQLAlchemy reflection, and Django's inspectdb, migrate and users. Prints what they got."""

import json
import sys

task, port, database = sys.argv[1:4]


def reflect():
    from sqlalchemy import MetaData, create_engine, inspect
    from sqlalchemy.schema import CreateIndex, CreateTable
    from sqlalchemy.types import NullType

    engine = create_engine(f"postgresql+psycopg://postgres:clear-secret@127.0.0.1:{port}/{database}")
    metadata = MetaData()
    metadata.reflect(engine, schema="shop", views=True)
    for table in sorted(metadata.tables.values(), key=str):
        if not any(isinstance(column.type, NullType) for column in table.columns):
            print(CreateTable(table).compile(engine))
        print(sorted(str(CreateIndex(index).compile(engine)) for index in table.indexes))
    inspector = inspect(engine)
    for call in ("get_schema_names", "default_schema_name"):
        value = getattr(inspector, call)
        print(call, value() if callable(value) else value)
    for call in ("get_table_names", "get_view_names", "get_materialized_view_names", "get_temp_table_names",
                 "get_sequence_names", "get_enums", "get_domains", "get_foreign_table_names"):
        arguments = {} if call == "get_temp_table_names" else {"schema": "shop"}
        print(call, json.dumps(getattr(inspector, call)(**arguments), default=str, sort_keys=True))
    for call in ("get_multi_columns", "get_multi_pk_constraint", "get_multi_foreign_keys", "get_multi_indexes",
                 "get_multi_unique_constraints", "get_multi_check_constraints", "get_multi_table_comment",
                 "get_multi_table_options"):
        found = getattr(inspector, call)(schema="shop")
        print(call, sorted((str(table), json.dumps(value, default=str, sort_keys=True)) for table, value in found.items()))
    print(inspector.get_view_definition("buyers", schema="shop"))


def with_django():
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        SECRET_KEY="of a test",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": port, "NAME": database,
            "USER": "postgres", "PASSWORD": "clear-secret",
            "OPTIONS": {"options": "-c search_path=shop,public"} if task == "inspectdb" else {},
        }},
    )
    django.setup()
    if task == "inspectdb":
        call_command("inspectdb", "--include-views", "--include-partitions")
        return
    call_command("migrate", verbosity=1)
    call_command("migrate", "auth", "0008", verbosity=1)
    call_command("migrate", verbosity=1)
    call_command("showmigrations")
    call_command("sqlmigrate", "auth", "0001")
    users()


def users():
    from django.contrib.auth.models import Group, Permission, User
    from django.core.management import call_command

    call_command("createsuperuser", interactive=False, username="ana", email="ana.canary@example.org")
    User.objects.create_user("rui", "rui.canary@example.org", "canary-password", first_name="Rui")
    group = Group.objects.create(name="readers")
    group.permissions.set(Permission.objects.filter(codename__startswith="view"))
    group.user_set.add(User.objects.get(username="rui"))
    user = User.objects.get(username="rui")
    print("login", user.id, user.username, user.is_active, sorted(user.get_all_permissions()))
    print("count", User.objects.filter(is_superuser=True).count(), User.objects.filter(email="rui.canary@example.org").exists())
    user.last_login = user.date_joined
    user.save(update_fields=["last_login"])
    print("masked", user.email, user.first_name, user.password)
    User.objects.get(username="ana").delete()
    print("left", list(User.objects.values_list("id", "username")))


reflect() if task == "reflect" else with_django()
