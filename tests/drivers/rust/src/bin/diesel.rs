//! diesel: libpq, prepared statements that it keeps, in binary.

use std::fmt::Debug;

use anyhow::{Context, Result, bail};
use diesel::{
    PgConnection,
    connection::{DefaultLoadingMode, SimpleConnection},
    deserialize::FromSqlRow,
    dsl::sql,
    pg::{CopyFormat, Pg, PgRowByRowLoadingMode},
    prelude::*,
    query_builder::QueryId,
    query_dsl::methods::LoadQuery,
    result::{DatabaseErrorKind, Error},
    sql_types::{
        Array, Bool, Bytea, Date, Double, Float, Integer, Jsonb, Nullable, Numeric, SingleValue, SmallInt,
        SqlType, Text, Time, Timestamp, Timestamptz, TypeMetadata, Uuid,
    },
};
use mask_drivers::{columns, dsn, masked_columns, told, until_restarted, variable, version, wanted};
use serde_json::{Map, Value, json};

const FEATURES: [&str; 17] = [
    "sslmode disable",
    "sslmode allow",
    "sslmode prefer",
    "sslmode require",
    "sslmode verify-ca",
    "sslmode verify-full",
    "simple",
    "parameters",
    "binary",
    "prepared",
    "transaction",
    "copy",
    "cursor",
    "password",
    "restart",
    "types",
    "masked",
];

diesel::table! {
    parts (id) {
        id -> Integer,
        label -> Nullable<Text>,
        size -> Nullable<Numeric>,
        made -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    many (id) {
        id -> Integer,
        word -> Nullable<Text>,
    }
}

type Part = (i32, Option<String>, Option<bigdecimal::BigDecimal>, Option<chrono::DateTime<chrono::Utc>>);

fn connect() -> Result<PgConnection> {
    Ok(PgConnection::establish(&dsn(&format!("sslrootcert={}", variable("ROOT"))))?)
}

fn failure(error: &Error) -> Value {
    match error {
        Error::DatabaseError(kind, told) => json!({
            "class": format!("{kind:?}"), "sqlstate": null, "message": told.message(),
            "more": [told.details(), told.hint(), told.table_name(), told.constraint_name()],
        }),
        other => json!({ "class": "other", "sqlstate": null, "message": other.to_string() }),
    }
}

fn all(db: &mut PgConnection) -> Value {
    told(parts::table.order(parts::id).load::<Part>(db).map(|rows| json!(format!("{rows:?}"))), failure)
}

fn count(db: &mut PgConnection) -> Value {
    told(parts::table.filter(parts::id.ge(100)).count().get_result::<i64>(db), failure)
}

fn mode(name: &str) -> Result<Value> {
    let mut db = PgConnection::establish(&dsn(&format!("sslmode={name}&sslrootcert={}", variable("ROOT"))))?;
    Ok(json!(diesel::select(sql::<Integer>("41 + 1")).get_result::<i32>(&mut db)?))
}

fn simple() -> Result<Value> {
    let mut db = connect()?;
    let mut got = vec![all(&mut db)];
    for sql in
        ["select 1; update parts set label = label", "select 1 / 0", "select 1 from missing", "selct 1"]
    {
        got.push(told(db.batch_execute(sql).map(|()| Value::Null), failure));
    }
    Ok(got.into())
}

fn parameters() -> Result<Value> {
    let mut db = connect()?;
    let made: chrono::DateTime<chrono::Utc> = "2003-04-05T06:07:08Z".parse()?;
    let row = (parts::id.eq(100), parts::label.eq("pärt '\\"), parts::made.eq(made));
    let made = diesel::insert_into(parts::table).values(row).get_result::<Part>(&mut db)?;
    let many: Vec<_> =
        (200..300).map(|id| (parts::id.eq(id), parts::label.eq(format!("part {id}")))).collect();
    let mut got = vec![
        json!(format!("{made:?}")),
        json!(diesel::insert_into(parts::table).values(many).execute(&mut db)?),
    ];
    let found = parts::table
        .filter(parts::id.eq_any([1, 100]).and(parts::label.like("%t%")))
        .load::<Part>(&mut db)?;
    got.push(json!(format!("{found:?}")));
    let upserted = diesel::insert_into(parts::table).values((parts::id.eq(100), parts::label.eq("again")));
    let upserted = upserted.on_conflict(parts::id).do_update().set(parts::label.eq(None::<String>));
    got.push(json!(upserted.execute(&mut db)?));
    got.push(told(diesel::insert_into(parts::table).values(parts::id.eq(1)).execute(&mut db), failure));
    let unread = diesel::sql_query("select $1::text::int").bind::<Text, _>("x").execute(&mut db);
    got.push(told(unread, failure));
    got.push(json!(diesel::delete(parts::table.filter(parts::id.ge(100))).execute(&mut db)?));
    Ok(got.into())
}

fn prepared() -> Result<Value> {
    let mut db = connect()?;
    let mut got = Vec::new();
    for number in 0..10 {
        let found = parts::table.filter(parts::id.eq(number % 4)).load::<Part>(&mut db)?;
        got.push(json!(format!("{found:?}")));
    }
    Ok(got.into())
}

fn transaction() -> Result<Value> {
    let (mut db, mut other) = (connect()?, connect()?);
    let insert = |db: &mut PgConnection, id: i32| {
        diesel::insert_into(parts::table).values(parts::id.eq(id)).execute(db)
    };
    let mut got = Vec::new();
    db.build_transaction().serializable().run(|db| {
        insert(db, 100)?;
        let inner = db.transaction(|db| {
            insert(db, 101)?;
            got.push(json!([count(db), count(&mut other)]));
            db.batch_execute("select 1 / 0")
        });
        got.push(told(inner.map(|()| Value::Null), failure));
        got.push(count(db));
        Ok::<_, Error>(())
    })?;
    got.push(json!([count(&mut db), count(&mut other)]));
    let rolled_back = db.transaction(|db| {
        diesel::delete(parts::table.filter(parts::id.ge(100))).execute(db)?;
        Err::<(), _>(Error::RollbackTransaction)
    });
    got.push(told(rolled_back.map(|()| Value::Null), failure));
    let read_only = db.build_transaction().read_only().run(|db| insert(db, 102));
    got.push(told(read_only, failure));
    got.push(json!([
        count(&mut db),
        diesel::delete(parts::table.filter(parts::id.ge(100))).execute(&mut db)?
    ]));
    Ok(got.into())
}

fn copy() -> Result<Value> {
    let mut db = connect()?;
    let mut got = Vec::new();
    for rows in ["100,one\n101,\n", "x,y\n"] {
        let copy = diesel::copy_from(parts::table).from_raw_data((parts::id, parts::label), |out| {
            out.write_all(rows.as_bytes()).map_err(|error| Error::DeserializationError(Box::new(error)))
        });
        got.push(told(copy.with_format(CopyFormat::Csv).execute(&mut db), failure));
    }
    let mut out = String::new();
    let mut copied = diesel::copy_to(parts::table).with_format(CopyFormat::Csv).load_raw(&mut db)?;
    std::io::Read::read_to_string(&mut copied, &mut out)?;
    drop(copied);
    got.push(json!(out));
    got.push(json!(diesel::delete(parts::table.filter(parts::id.ge(100))).execute(&mut db)?));
    Ok(got.into())
}

fn cursor() -> Result<Value> {
    let mut db = connect()?;
    let mut sums = Vec::new();
    let rows = many::table.load_iter::<(i32, Option<String>), PgRowByRowLoadingMode>(&mut db)?;
    sums.push(rows.map(|row| row.map(|row| row.0)).sum::<QueryResult<i32>>()?);
    let rows = many::table.load_iter::<(i32, Option<String>), DefaultLoadingMode>(&mut db)?;
    sums.push(rows.map(|row| row.map(|row| row.0)).sum::<QueryResult<i32>>()?);
    Ok(json!(sums))
}

fn password() -> Result<Value> {
    let error =
        PgConnection::establish(&dsn("").replace("clear-secret", "wrong")).err().context("it was let in")?;
    Ok(json!(error.to_string()))
}

fn restart() -> Result<Value> {
    let mut db = connect()?;
    let first = all(&mut db);
    until_restarted();
    let second = all(&mut db);
    let is_closed = matches!(
        db.batch_execute("select 1"),
        Err(Error::DatabaseError(DatabaseErrorKind::ClosedConnection, _))
    );
    Ok(json!([first, second, is_closed, all(&mut connect()?)]))
}

/// Cells of two columns, read as a type.
fn read<S, T>(db: &mut PgConnection, query: &str, name: &str) -> Value
where
    S: SqlType<IsNull = diesel::sql_types::is_nullable::NotNull> + SingleValue + QueryId + 'static,
    Nullable<S>: SqlType + SingleValue + QueryId,
    Pg: diesel::sql_types::HasSqlType<S> + TypeMetadata,
    (Option<T>, Option<T>): FromSqlRow<(Nullable<S>, Nullable<S>), Pg>,
    T: Debug,
    diesel::expression::SqlLiteral<(Nullable<S>, Nullable<S>)>:
        for<'a> LoadQuery<'a, PgConnection, (Option<T>, Option<T>)>,
{
    let shown = |cell: &Option<T>| cell.as_ref().map(|cell| json!([name, format!("{cell:?}")]));
    let rows = sql::<(Nullable<S>, Nullable<S>)>(query).load::<(Option<T>, Option<T>)>(db);
    told(
        rows.map(|rows| {
            rows.iter().map(|(left, right)| json!([shown(left), shown(right)])).collect::<Value>()
        }),
        failure,
    )
}

/// The same, where the name of the type says which; as bytes where the driver has no type for it.
fn read_as(db: &mut PgConnection, query: &str, name: &str) -> Value {
    macro_rules! kinds {
        ($($kind:literal $inner:literal $sql:ty, $rust:ty;)*) => {
            match name {
                $($kind => read::<$sql, $rust>(db, query, name),
                $inner => read::<Array<Nullable<$sql>>, Vec<Option<$rust>>>(db, query, name),)*
                _ => read::<Bytea, Vec<u8>>(db, query, name),
            }
        };
    }
    kinds! {
        "bool" "_bool" Bool, bool;
        "bytea" "_bytea" Bytea, Vec<u8>;
        "date" "_date" Date, chrono::NaiveDate;
        "float4" "_float4" Float, f32;
        "float8" "_float8" Double, f64;
        "int2" "_int2" SmallInt, i16;
        "int4" "_int4" Integer, i32;
        "jsonb" "_jsonb" Jsonb, Value;
        "numeric" "_numeric" Numeric, bigdecimal::BigDecimal;
        "text" "_text" Text, String;
        "time" "_time" Time, chrono::NaiveTime;
        "timestamp" "_timestamp" Timestamp, chrono::NaiveDateTime;
        "timestamptz" "_timestamptz" Timestamptz, chrono::DateTime<chrono::Utc>;
        "uuid" "_uuid" Uuid, uuid::Uuid;
        "varchar" "_varchar" Text, String;
    }
}

/// The name of the type of a table's column.
fn kind(db: &mut PgConnection, table: &str, column: &str) -> Result<String> {
    let query = format!(
        "select typname::text from pg_attribute a join pg_type t on t.oid = a.atttypid where attrelid = '{table}'::regclass and attname = '{column}'"
    );
    Ok(sql::<Text>(&query).get_result(db)?)
}

fn types() -> Result<Value> {
    let mut db = connect()?;
    let mut got = Map::new();
    for (table, column) in columns("open") {
        let name = kind(&mut db, &format!("redacted.{table}"), &column)?;
        let query = format!("select {column}, {column} from redacted.{table} order by id");
        got.insert(format!("{table}.{column}"), read_as(&mut db, &query, &name));
    }
    Ok(got.into())
}

fn masked() -> Result<Value> {
    let mut db = connect()?;
    let mut got = Map::new();
    got.insert(
        "customers".to_owned(),
        read::<Text, String>(&mut db, "select email, city from customers order by id", "text"),
    );
    for (key, query) in masked_columns() {
        let (table, column) = key.rsplit_once('.').context("a column of a table")?;
        let name = kind(&mut db, table, column)?;
        got.insert(key.clone(), read_as(&mut db, &query, &name));
    }
    Ok(got.into())
}

fn main() -> Result<()> {
    let Some(wanted) = wanted(&version("diesel"), &FEATURES) else { return Ok(()) };
    let got = match wanted.as_str() {
        "simple" => simple()?,
        "parameters" => parameters()?,
        // It has no other form.
        "types" | "binary" => types()?,
        "prepared" => prepared()?,
        "transaction" => transaction()?,
        "copy" => copy()?,
        "cursor" => cursor()?,
        "password" => password()?,
        "restart" => restart()?,
        "masked" => masked()?,
        other => match other.strip_prefix("sslmode ") {
            Some(name) => mode(name)?,
            None => bail!("no feature {other}"),
        },
    };
    println!("{got}");
    Ok(())
}
