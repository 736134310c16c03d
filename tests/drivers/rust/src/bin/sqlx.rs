//! sqlx: prepared statements that it keeps, in binary, and scripts in text.

use std::fmt::Debug;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use mask_drivers::{
    ROWS, columns, dsn, hex, masked_columns, told, until_restarted, variable, version, wanted,
};
use serde_json::{Map, Value, json};
use sqlx::{
    Column, Connection, Decode, Error, Executor, PgConnection, Postgres, Row, Type, TypeInfo, ValueRef,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgListener, PgPoolOptions, PgRow, PgTypeInfo, PgValueFormat, PgValueRef},
    types::{
        BigDecimal, Uuid,
        chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc},
    },
};

const FEATURES: [&str; 19] = [
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
    "large_object",
    "notify",
    "password",
    "restart",
    "types",
    "masked",
];

/// A value of any type as it is on the wire.
struct Raw(Vec<u8>, PgTypeInfo);

impl Type<Postgres> for Raw {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("bytea")
    }

    fn compatible(_: &PgTypeInfo) -> bool {
        true
    }
}

impl<'r> Decode<'r, Postgres> for Raw {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let kind = value.type_info().into_owned();
        Ok(Self(value.as_bytes()?.to_vec(), kind))
    }
}

impl sqlx::Encode<'_, Postgres> for Raw {
    fn encode_by_ref(&self, out: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.1.clone())
    }
}

async fn connect() -> Result<PgConnection> {
    Ok(PgConnection::connect(&dsn(&format!("sslrootcert={}", variable("ROOT")))).await?)
}

fn failure(error: &Error) -> Value {
    match error {
        Error::Database(told) => {
            json!({ "class": "Database", "sqlstate": told.code(), "message": told.message() })
        }
        other => {
            let words = other.to_string();
            json!({ "class": words.split(':').next(), "sqlstate": null, "message": words })
        }
    }
}

fn decoded<'r, T: Decode<'r, Postgres> + Type<Postgres> + Debug>(
    row: &'r PgRow,
    at: usize,
    name: &str,
) -> Option<Value> {
    if !T::compatible(row.column(at).type_info()) {
        return None;
    }
    let value =
        row.try_get::<Option<T>, _>(at).map(|value| value.map(|value| json!([name, format!("{value:?}")])));
    Some(told(value.map(|value| value.unwrap_or_default()), failure))
}

/// The type and the value of a cell; as it is on the wire, where the driver has no type for it.
fn cell(row: &PgRow, at: usize) -> Value {
    let name = row.column(at).type_info().name().to_owned();
    macro_rules! tried {
        ($($rust:ty),*) => {$(
            if let Some(value) = decoded::<$rust>(row, at, &name).or_else(|| decoded::<Vec<Option<$rust>>>(row, at, &name)) {
                return value;
            }
        )*};
    }
    tried!(
        bool,
        i8,
        i16,
        i32,
        i64,
        f32,
        f64,
        String,
        BigDecimal,
        DateTime<Utc>,
        NaiveDateTime,
        NaiveDate,
        NaiveTime,
        Uuid,
        Value
    );
    match row.try_get_raw(at) {
        Ok(value) if value.is_null() => Value::Null,
        Ok(value) => json!([
            name,
            format!(
                "{:?} {}",
                value.format() == PgValueFormat::Text,
                hex(value.as_bytes().unwrap_or_default())
            )
        ]),
        Err(error) => failure(&error),
    }
}

fn table(rows: &[PgRow]) -> Value {
    rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect::<Value>()).collect()
}

async fn ask(db: &mut PgConnection, sql: &str) -> Value {
    told(sqlx::query(sql).fetch_all(db).await.map(|rows| table(&rows)), failure)
}

async fn mode(name: &str) -> Result<Value> {
    let mut db =
        PgConnection::connect(&dsn(&format!("sslmode={name}&sslrootcert={}", variable("ROOT")))).await?;
    Ok(ask(&mut db, "select 41 + 1").await)
}

async fn simple() -> Result<Value> {
    let mut db = connect().await?;
    let mut got = Vec::new();
    let failing = ["select 1 / 0", "select 1 from missing", "selct 1", "select id from parts where false"];
    for sql in [ROWS, "select 1; update parts set label = label"].into_iter().chain(failing) {
        got.push(told(sqlx::raw_sql(sql).fetch_all(&mut db).await.map(|rows| table(&rows)), failure));
    }
    for sql in failing {
        got.push(ask(&mut db, sql).await);
    }
    let described = db.describe(ROWS).await.map(|described| {
        let nullable = |(at, column): (usize, &sqlx::postgres::PgColumn)| {
            json!([column.name(), column.type_info().name(), described.nullable(at)])
        };
        described.columns().iter().enumerate().map(nullable).collect::<Value>()
    });
    got.push(told(described, failure));
    Ok(got.into())
}

async fn parameters() -> Result<Value> {
    let mut db = connect().await?;
    let made: DateTime<Utc> = "2003-04-05T06:07:08Z".parse()?;
    let size: BigDecimal = "3.75".parse()?;
    let asked = [
        sqlx::query("select id, label from parts where id = $1 and label = $2").bind(1).bind("bolt"),
        sqlx::query("select id from parts where id = any($1) order by id").bind(vec![1, 3]),
        sqlx::query("insert into parts values ($1, $2, $3, $4) returning *")
            .bind(100)
            .bind("pärt '\\")
            .bind(size)
            .bind(made),
        sqlx::query("insert into parts values ($1, $2) returning label").bind(101).bind(None::<String>),
        sqlx::query("select $1::jsonb, $2::bytea").bind(json!({ "a": [1] })).bind(vec![0_u8, 1]),
        sqlx::query("insert into parts (id) values ($1)").bind(1),
        sqlx::query("select $1::text::int").bind("x"),
        sqlx::query("insert into parts (id) select * from unnest($1)").bind((200..300).collect::<Vec<i32>>()),
        sqlx::query("select count(*), max(id) from parts"),
        sqlx::query("delete from parts where id >= $1").bind(100),
    ];
    let mut got = Vec::new();
    for query in asked {
        got.push(told(query.fetch_all(&mut db).await.map(|rows| table(&rows)), failure));
    }
    Ok(got.into())
}

async fn prepared() -> Result<Value> {
    let mut db = connect().await?;
    let mut got = Vec::new();
    for number in 0..10 {
        let part = sqlx::query("select id, label from parts where id = $1").bind(number % 4);
        got.push(table(&part.fetch_all(&mut db).await?));
    }
    ask(&mut db, "create temp table own as select 1 as n").await;
    for change in ["select 1", "alter table own add m int"] {
        ask(&mut db, change).await;
        got.push(ask(&mut db, "select * from own").await);
    }
    got.push(json!(db.cached_statements_size()));
    db.clear_cached_statements().await?;
    got.push(ask(&mut db, "select * from own").await);
    Ok(got.into())
}

async fn transaction() -> Result<Value> {
    let (mut db, mut other) = (connect().await?, connect().await?);
    let count = "select count(*) from parts where id >= 100";
    let mut got = Vec::new();
    let mut outer = db.begin().await?;
    ask(&mut outer, "insert into parts (id) values (100)").await;
    let mut inner = outer.begin().await?;
    ask(&mut inner, "insert into parts (id) values (101)").await;
    got.push(json!([ask(&mut inner, count).await, ask(&mut other, count).await]));
    got.push(json!([ask(&mut inner, "select 1 / 0").await, ask(&mut inner, count).await]));
    inner.rollback().await?;
    outer.commit().await?;
    got.push(json!([ask(&mut db, count).await, ask(&mut other, count).await]));
    let mut dropped = db.begin().await?;
    ask(&mut dropped, "delete from parts where id >= 100").await;
    drop(dropped);
    got.push(ask(&mut db, count).await);
    got.push(ask(&mut db, "delete from parts where id >= 100").await);
    Ok(got.into())
}

async fn copy() -> Result<Value> {
    let mut db = connect().await?;
    let mut got = Vec::new();
    for rows in ["100\tone\n101\t\\N\n", "x\ty\n"] {
        let mut copy = db.copy_in_raw("copy parts (id, label) from stdin").await?;
        copy.send(rows.as_bytes()).await?;
        got.push(told(copy.finish().await, failure));
    }
    let binary = "copy (select id, label from parts) to stdout (format binary)";
    for sql in
        ["copy parts to stdout", "copy (select id, label from parts) to stdout (format csv, header)", binary]
    {
        let parts: Vec<_> = db.copy_out_raw(sql).await?.try_collect().await?;
        got.push(json!(String::from_utf8_lossy(&parts.concat())));
    }
    got.push(ask(&mut db, "delete from parts where id >= 100").await);
    Ok(got.into())
}

async fn cursor() -> Result<Value> {
    let mut db = connect().await?;
    let mut rows = sqlx::query("select id, word from many where id > $1 order by id").bind(10).fetch(&mut db);
    let first = rows.next().await.context("a row")??;
    drop(rows);
    let mut got = vec![cell(&first, 1), ask(&mut db, "select 1").await];
    let mut all = db.begin().await?;
    ask(&mut all, "declare named scroll cursor for select id, word from many order by id").await;
    for how in ["next", "forward 2", "absolute 400", "backward 1"] {
        got.push(ask(&mut all, &format!("fetch {how} from named")).await);
    }
    Ok(got.into())
}

async fn large_object() -> Result<Value> {
    let mut db = connect().await?;
    let made = sqlx::query("select lo_from_bytea(0, $1)::int8").bind(b"a large object".to_vec());
    let number: i64 = made.fetch_one(&mut db).await?.try_get(0)?;
    let mut got = Vec::new();
    for sql in [
        "select lo_get($1::oid), lo_get($1::oid, 2, 5)",
        "select lo_put($1::oid, 2, 'LARGE')",
        "select lo_get($1::oid), lo_unlink($1::oid)",
    ] {
        let rows = sqlx::query(&sql.replace("$1", &number.to_string())).fetch_all(&mut db).await;
        got.push(told(rows.map(|rows| table(&rows)), failure));
    }
    got.push(ask(&mut db, "select lo_get(1)").await);
    Ok(got.into())
}

async fn notify() -> Result<Value> {
    let pool = PgPoolOptions::new().connect(&dsn("")).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("news").await?;
    let mut got = Map::new();
    (&mut listener).execute("notify news, 'of its own'").await?;
    let note = listener.recv().await?;
    got.insert("own".to_owned(), json!([note.channel(), note.payload()]));
    pool.execute("select pg_notify('news', 'of another')").await?;
    let note = listener.recv().await?;
    got.insert("other".to_owned(), json!([note.channel(), note.payload()]));
    Ok(got.into())
}

async fn password() -> Result<Value> {
    let error = PgConnection::connect(&dsn("").replace("clear-secret", "wrong"))
        .await
        .err()
        .context("it was let in")?;
    Ok(failure(&error))
}

async fn restart() -> Result<Value> {
    let mut db = connect().await?;
    let mut got = vec![ask(&mut db, "select 1").await];
    tokio::task::spawn_blocking(until_restarted).await?;
    got.push(ask(&mut db, "select 2").await);
    got.push(ask(&mut connect().await?, "select 3").await);
    Ok(got.into())
}

/// Reads a value of every type and writes it back, as it is on the wire.
async fn types() -> Result<Value> {
    let mut db = connect().await?;
    let mut got = Map::new();
    for (table, column) in columns("open") {
        let sql = format!("select {column} from redacted.{table} where id = 1");
        let shown = match sqlx::query(&sql).fetch_one(&mut db).await {
            Ok(row) => {
                let raw: Raw = row.try_get_unchecked(0)?;
                let (bytes, read) = (hex(&raw.0), cell(&row, 0));
                let sql = format!("update written_{table} set {column} = $1 returning {column}::text");
                let back = sqlx::query(&sql).bind(raw).fetch_one(&mut db).await;
                json!([read, bytes, told(back.map(|row| cell(&row, 0)), failure)])
            }
            Err(error) => failure(&error),
        };
        got.insert(format!("{table}.{column}"), shown);
    }
    Ok(got.into())
}

async fn masked() -> Result<Value> {
    let mut db = connect().await?;
    let mut got = Map::new();
    got.insert("customers".to_owned(), ask(&mut db, "select email, city from customers order by id").await);
    for (name, sql) in masked_columns() {
        got.insert(name, ask(&mut db, &sql).await);
    }
    Ok(got.into())
}

#[tokio::main]
async fn main() -> Result<()> {
    let Some(wanted) = wanted(&version("sqlx"), &FEATURES) else { return Ok(()) };
    let got = match wanted.as_str() {
        "simple" => simple().await?,
        "parameters" => parameters().await?,
        // It has no other form.
        "types" | "binary" => types().await?,
        "prepared" => prepared().await?,
        "transaction" => transaction().await?,
        "copy" => copy().await?,
        "cursor" => cursor().await?,
        "large_object" => large_object().await?,
        "notify" => notify().await?,
        "password" => password().await?,
        "restart" => restart().await?,
        "masked" => masked().await?,
        other => match other.strip_prefix("sslmode ") {
            Some(name) => mode(name).await?,
            None => bail!("no feature {other}"),
        },
    };
    println!("{got}");
    Ok(())
}
