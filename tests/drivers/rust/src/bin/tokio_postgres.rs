//! tokio-postgres: everything pipelined and in binary.

use std::{collections::HashMap, error::Error as StdError, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures::{SinkExt, StreamExt, TryStreamExt, future::join_all};
use mask_drivers::{
    ROWS, columns, dsn, hex, masked_columns, told, until_restarted, variable, version, wanted,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Map, Value, json};
use tokio::{sync::mpsc, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Error, IsolationLevel, NoTls, Notification, Row, SimpleQueryMessage,
    binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream},
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

const FEATURES: [&str; 18] = [
    "sslmode disable",
    "sslmode prefer",
    "sslmode verify-full",
    "simple",
    "parameters",
    "binary",
    "prepared",
    "pipeline",
    "transaction",
    "copy",
    "cursor",
    "large_object",
    "notify",
    "cancel",
    "password",
    "restart",
    "types",
    "masked",
];

/// A value of any type as it is on the wire.
#[derive(Debug)]
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

type Notes = mpsc::UnboundedReceiver<Notification>;

fn tls() -> Result<MakeRustlsConnect> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(variable("ROOT"))? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(MakeRustlsConnect::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Connects, and gives what the server says by itself.
async fn connect_to(dsn: &str) -> Result<(Client, Notes)> {
    let (send, notes) = mpsc::unbounded_channel();
    let (client, mut connection) = tokio_postgres::connect(dsn, tls()?).await?;
    tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(note) = message {
                let _ = send.send(note);
            }
        }
    });
    Ok((client, notes))
}

async fn connect() -> Result<Client> {
    Ok(connect_to(&dsn("sslmode=prefer")).await?.0)
}

fn failure(error: &Error) -> Value {
    let words = error.to_string();
    let class = words.split(':').next().unwrap_or_default();
    let told = error
        .as_db_error()
        .map(|told| json!([told.message(), told.detail(), told.hint(), told.constraint()]));
    json!({ "class": class, "sqlstate": error.code().map(|code| code.code()), "message": told })
}

/// The type and the value of a cell; as it is on the wire, where the driver has no type for it.
fn cell(row: &Row, at: usize) -> Value {
    let kind = row.columns()[at].type_();
    let name = kind.name();
    macro_rules! tried {
        ($($rust:ty),*) => {$(
            if <$rust as FromSql>::accepts(kind) {
                return match row.try_get::<_, Option<$rust>>(at) {
                    Ok(value) => value.map_or(Value::Null, |value| json!([name, format!("{value:?}")])),
                    Err(error) => failure(&error),
                };
            }
            if <Vec<Option<$rust>> as FromSql>::accepts(kind) {
                // Of more than one dimension it takes none, and says so of the clear value too.
                return match row.try_get::<_, Option<Vec<Option<$rust>>>>(at) {
                    Ok(value) => value.map_or(Value::Null, |value| json!([name, format!("{value:?}")])),
                    Err(error) => failure(&error),
                };
            }
        )*};
    }
    tried!(
        bool, i8, i16, i32, i64, u32, f32, f64, String, Vec<u8>, DateTime<Utc>, NaiveDateTime, NaiveDate, NaiveTime, Uuid, Value,
        std::net::IpAddr, HashMap<String, Option<String>>, Raw
    );
    Value::Null
}

fn table(rows: &[Row]) -> Value {
    rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect::<Value>()).collect()
}

async fn ask(client: &Client, sql: &str) -> Value {
    told(client.query(sql, &[]).await.map(|rows| table(&rows)), failure)
}

async fn simply(client: &Client, sql: &str) -> Value {
    let shown = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => (0..row.len()).map(|at| json!(row.get(at))).collect(),
        SimpleQueryMessage::CommandComplete(count) => json!(count),
        _ => json!("rows"),
    };
    told(client.simple_query(sql).await.map(|all| all.iter().map(shown).collect::<Value>()), failure)
}

async fn mode(name: &str) -> Result<Value> {
    let client = match name {
        "disable" => {
            let (client, connection) = tokio_postgres::connect(&dsn("sslmode=disable"), NoTls).await?;
            tokio::spawn(connection);
            client
        }
        "prefer" => connect_to(&dsn("sslmode=prefer")).await?.0,
        // It always verifies the name as well.
        _ => connect_to(&dsn("sslmode=require")).await?.0,
    };
    Ok(ask(&client, "select 41 + 1").await)
}

async fn simple() -> Result<Value> {
    let client = connect().await?;
    let mut got =
        vec![simply(&client, ROWS).await, simply(&client, "select 1; update parts set label = label").await];
    for sql in ["select 1 / 0", "select 1 from missing", "selct 1", "select id from parts where false"] {
        got.push(simply(&client, sql).await);
        got.push(ask(&client, sql).await);
    }
    Ok(got.into())
}

async fn parameters() -> Result<Value> {
    let client = connect().await?;
    let made = DateTime::from_timestamp(1_049_522_828, 0).context("a time")?;
    let asked: [(&str, &[&(dyn ToSql + Sync)]); 8] = [
        ("select id, label from parts where id = $1 and label = $2", &[&1_i32, &"bolt"]),
        ("select id from parts where id = any($1) order by id", &[&vec![1_i32, 3]]),
        (
            "insert into parts (id, label, made) values ($1, $2, $3) returning *",
            &[&100_i32, &"pärt '\\", &made],
        ),
        ("insert into parts values ($1, $2) returning label", &[&101_i32, &None::<String>]),
        ("select $1::jsonb, $2::bytea", &[&json!({ "a": [1] }), &vec![0_u8, 1]]),
        ("insert into parts (id) values ($1)", &[&1_i32]),
        ("select $1::text::int", &[&"x"]),
        ("delete from parts where id >= $1", &[&100_i32]),
    ];
    let mut got = Vec::new();
    for (sql, values) in asked {
        got.push(told(client.query(sql, values).await.map(|rows| table(&rows)), failure));
    }
    Ok(got.into())
}

async fn prepared() -> Result<Value> {
    let client = connect().await?;
    let part = client.prepare("select id, label from parts where id = $1").await?;
    let columns: Vec<_> =
        part.columns().iter().map(|column| (column.name(), column.type_().name())).collect();
    let mut got = vec![json!(columns), json!(part.params().iter().map(Type::name).collect::<Vec<_>>())];
    for number in 0..10 {
        got.push(table(&client.query(&part, &[&(number % 4)]).await?));
    }
    client.batch_execute("create temp table own as select 1 as n").await?;
    let own = client.prepare("select * from own").await?;
    for change in ["select 1", "alter table own add m int"] {
        client.batch_execute(change).await?;
        got.push(told(client.query(&own, &[]).await.map(|rows| table(&rows)), failure));
    }
    Ok(got.into())
}

async fn pipeline() -> Result<Value> {
    let client = connect().await?;
    let part = client.prepare("select $1::int, label from parts where id = 1").await?;
    let numbers: Vec<i32> = (0..50).collect();
    let asked = numbers.iter().map(|number| async {
        let values: [&(dyn ToSql + Sync); 1] = [number];
        told(client.query(&part, &values).await.map(|rows| table(&rows)), failure)
    });
    let (rows, divided, after) =
        tokio::join!(join_all(asked), ask(&client, "select 1 / 0"), ask(&client, "select 1"));
    Ok(json!([rows, divided, after]))
}

async fn transaction() -> Result<Value> {
    let (mut client, other) = (connect().await?, connect().await?);
    let count = "select count(*) from parts where id >= 100";
    let mut got = Vec::new();
    let builder = client.build_transaction().isolation_level(IsolationLevel::Serializable);
    let mut outer = builder.start().await?;
    outer.execute("insert into parts (id) values (100)", &[]).await?;
    got.push(json!([table(&outer.query(count, &[]).await?), ask(&other, count).await]));
    let inner = outer.savepoint("s").await?;
    inner.execute("insert into parts (id) values (101)", &[]).await?;
    for sql in ["select 1 / 0", count] {
        got.push(told(inner.query(sql, &[]).await.map(|rows| table(&rows)), failure));
    }
    inner.rollback().await?;
    outer.commit().await?;
    got.push(json!([ask(&client, count).await, ask(&other, count).await]));
    let dropped = client.transaction().await?;
    dropped.execute("delete from parts where id >= 100", &[]).await?;
    drop(dropped);
    got.push(ask(&client, count).await);
    let read_only = client.build_transaction().read_only(true).start().await?;
    got.push(told(read_only.execute("delete from parts", &[]).await, failure));
    read_only.rollback().await?;
    got.push(ask(&client, "delete from parts where id >= 100").await);
    Ok(got.into())
}

async fn copy() -> Result<Value> {
    let client = connect().await?;
    let mut got = Vec::new();
    for rows in ["100\tone\n101\t\\N\n", "x\ty\n"] {
        let mut sink = pin!(client.copy_in("copy parts (id, label) from stdin").await?);
        sink.send(Bytes::from(rows)).await?;
        got.push(told(sink.finish().await, failure));
    }
    let types = [Type::INT4, Type::TEXT];
    let sink = client.copy_in("copy parts (id, label) from stdin (format binary)").await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    writer.as_mut().write(&[&102_i32, &"binary"]).await?;
    got.push(json!(writer.finish().await?));
    for sql in ["copy parts to stdout", "copy (select id, label from parts) to stdout (format csv, header)"] {
        let parts: Vec<Bytes> = client.copy_out(sql).await?.try_collect().await?;
        got.push(json!(String::from_utf8(parts.concat())?));
    }
    let stream = client.copy_out("copy parts (id, label) to stdout (format binary)").await?;
    let rows: Vec<_> = BinaryCopyOutStream::new(stream, &types).try_collect().await?;
    got.push(rows.iter().map(|row| json!([row.get::<i32>(0), row.get::<Option<&str>>(1)])).collect());
    client.execute("delete from parts where id >= 100", &[]).await?;
    Ok(got.into())
}

async fn cursor() -> Result<Value> {
    let mut client = connect().await?;
    let transaction = client.transaction().await?;
    let portal = transaction.bind("select id, word from many where id > $1 order by id", &[&10_i32]).await?;
    let mut got = Vec::new();
    for rows in [2, 100, 0] {
        let rows = transaction.query_portal(&portal, rows).await?;
        got.push(json!([rows.len(), rows.first().map(|row| cell(row, 1))]));
    }
    Ok(got.into())
}

async fn large_object() -> Result<Value> {
    let client = connect().await?;
    let number: u32 =
        client.query_one("select lo_from_bytea(0, $1)", &[&b"a large object".as_slice()]).await?.get(0);
    let rows = client.query("select lo_get($1), lo_get($1, 2, 5)", &[&number]).await?;
    let mut got = vec![table(&rows)];
    client.execute("select lo_put($1, 2, $2)", &[&number, &b"LARGE".as_slice()]).await?;
    got.push(table(&client.query("select lo_get($1), lo_unlink($1)", &[&number]).await?));
    got.push(ask(&client, "select lo_get(1)").await);
    Ok(got.into())
}

async fn notify() -> Result<Value> {
    let ((client, mut notes), other) = (connect_to(&dsn("sslmode=prefer")).await?, connect().await?);
    let mut got = Map::new();
    client.batch_execute("listen news; notify news, 'of its own'").await?;
    for from in ["own", "other"] {
        let note = timeout(Duration::from_secs(10), notes.recv()).await?.context("a note")?;
        got.insert(from.to_owned(), json!([note.channel(), note.payload()]));
        if from == "own" {
            other.batch_execute("select pg_notify('news', 'of another')").await?;
        }
    }
    Ok(got.into())
}

async fn cancel() -> Result<Value> {
    let client = connect().await?;
    let token = client.cancel_token();
    let mut running = pin!(client.batch_execute("select pg_sleep(60)"));
    let ended = loop {
        match timeout(Duration::from_millis(500), &mut running).await {
            Ok(ended) => break ended,
            Err(_) => token.cancel_query(tls()?).await?,
        }
    };
    Ok(json!([told(ended.map(|()| json!(null)), failure), ask(&client, "select 1").await]))
}

async fn password() -> Result<Value> {
    let dsn = dsn("sslmode=prefer").replace("clear-secret", "wrong");
    let error = tokio_postgres::connect(&dsn, tls()?).await.err().context("it was let in")?;
    Ok(failure(&error))
}

async fn restart() -> Result<Value> {
    let client = connect().await?;
    let first = ask(&client, "select 1").await;
    tokio::task::spawn_blocking(until_restarted).await?;
    Ok(json!([
        first,
        ask(&client, "select 2").await,
        client.is_closed(),
        ask(&connect().await?, "select 3").await
    ]))
}

/// Reads a value of every type and writes it back, in binary.
async fn types() -> Result<Value> {
    let client = connect().await?;
    let mut got = Map::new();
    for (table, column) in columns("open") {
        let sql = format!("select {column} from redacted.{table} where id = 1");
        let shown = match client.query_one(&sql, &[]).await {
            Ok(row) => {
                let sql = format!("update written_{table} set {column} = $1 returning {column}::text");
                let raw: Raw = row.get(0);
                let back =
                    client.query(&sql, &[&raw]).await.map(|rows| json!(rows[0].get::<_, Option<String>>(0)));
                json!([cell(&row, 0), hex(&raw.0), told(back, failure)])
            }
            Err(error) => failure(&error),
        };
        got.insert(format!("{table}.{column}"), shown);
    }
    Ok(got.into())
}

async fn masked() -> Result<Value> {
    let client = connect().await?;
    let mut got = Map::new();
    got.insert("customers".to_owned(), ask(&client, "select email, city from customers order by id").await);
    for (name, sql) in masked_columns() {
        got.insert(name, ask(&client, &sql).await);
    }
    Ok(got.into())
}

#[tokio::main]
async fn main() -> Result<()> {
    let Some(wanted) = wanted(&version("tokio-postgres"), &FEATURES) else { return Ok(()) };
    let got = match wanted.as_str() {
        "simple" => simple().await?,
        "parameters" => parameters().await?,
        // It has no other form.
        "types" | "binary" => types().await?,
        "prepared" => prepared().await?,
        "pipeline" => pipeline().await?,
        "transaction" => transaction().await?,
        "copy" => copy().await?,
        "cursor" => cursor().await?,
        "large_object" => large_object().await?,
        "notify" => notify().await?,
        "cancel" => cancel().await?,
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
