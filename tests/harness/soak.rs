//! Clients that open, ask, cancel and die by chance, and check every answer.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, error::SqlState};

use crate::random::Rng;

/// What they ask about.
pub const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text);
    insert into customers select n, 'city ' || n, 'canary' || n || '@example.org' from generate_series(1, 1000) n;
    create table parts (id int primary key, label text);
    insert into parts select n, 'part ' || n from generate_series(1, 1000) n";
/// Rows of each table.
const ROWS: usize = 1000;
/// An answer on a busy machine with as many clients.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two acts.
const PAUSE_MS_MAX: usize = 400;
/// How many descriptions of what went wrong are worth reading.
const WRONG_MAX: usize = 20;
/// Waits longer than anybody here.
const SLEEP: &str = "select pg_sleep(50)";
/// Counts for minutes, for one processor.
const ENDLESS: &str = "select count(*) from (select generate_series(1, 100000000000)) endless";
/// Early cancel requests come before the query, and cancel nothing.
const CANCEL_PAUSE: Duration = Duration::from_secs(1);

/// What they did.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Tally {
    /// Connections that were opened.
    pub opened: u64,
    /// Answers that were checked.
    pub checked: u64,
    /// Queries that were cancelled.
    pub cancelled: u64,
    /// Connections that were left in the middle of something.
    pub died: u64,
    /// What was not as it has to be.
    pub wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.checked += other.checked;
        self.cancelled += other.cancelled;
        self.died += other.died;
        self.wrong.extend(other.wrong);
        self.wrong.truncate(WRONG_MAX);
    }
}

/// Runs so many clients side by side for a while.
pub fn clients(port: u16, count: u32, time: Duration, seed: u64) -> Result<Tally> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let until = Instant::now() + time;
        let mut clients = JoinSet::new();
        for number in 0..count {
            clients.spawn(one(port, until, Rng::new(seed + u64::from(number))));
        }
        let mut all = Tally::default();
        while let Some(tally) = clients.join_next().await {
            all.add(tally?);
        }
        Ok(all)
    })
}

async fn one(port: u16, until: Instant, mut rng: Rng) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < until {
        pause(&mut rng).await;
        if let Err(error) = life(port, &mut rng, &mut tally).await
            && tally.wrong.len() < WRONG_MAX
        {
            tally.wrong.push(format!("{error:#}"));
        }
    }
    tally
}

async fn pause(rng: &mut Rng) {
    sleep(Duration::from_millis(rng.below(PAUSE_MS_MAX) as u64)).await;
}

/// One connection, from its opening to its end.
async fn life(port: u16, rng: &mut Rng, tally: &mut Tally) -> Result<()> {
    if rng.chance(5) {
        return stillborn(port, rng, tally).await;
    }
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("postgres").password("clear-secret").dbname("postgres");
    let (client, connection) = patient("connecting", config.connect(NoTls)).await?;
    let connection = tokio::spawn(async move {
        // What it says of its end, the client says as well.
        let _ = connection.await;
    });
    tally.opened += 1;
    for _ in 0..rng.below(8) {
        pause(rng).await;
        match rng.below(6) {
            0 | 1 => row(&client, rng).await?,
            2 => simple(&client, rng).await?,
            3 => transaction(&client, rng).await?,
            4 => {
                cancel(&client).await?;
                tally.cancelled += 1;
            }
            _ => failure(&client).await?,
        }
        tally.checked += 1;
    }
    if rng.chance(30) {
        tally.died += 1;
        die(&client, connection, rng).await;
    }
    Ok(())
}

async fn patient<T, E>(what: &'static str, act: impl Future<Output = Result<T, E>>) -> Result<T>
where
    E: Into<anyhow::Error>,
{
    let done = timeout(PATIENCE, act).await.with_context(|| format!("{what}: no answer"))?;
    done.map_err(Into::into).context(what)
}

/// Opens a connection and leaves it before it has logged in.
async fn stillborn(port: u16, rng: &mut Rng, tally: &mut Tally) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    tally.died += 1;
    let startup = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let length = rng.below(startup.len() + 1);
    // It may be turned away before it has said this.
    let _ = stream.write_all(&startup[..length]).await;
    pause(rng).await;
    Ok(())
}

fn check(city: Option<&str>, email: Option<&str>, id: usize) -> Result<()> {
    ensure!(city == Some(&*format!("city {id}")), "customer {id} lives in {city:?}");
    ensure!(email.is_some_and(|email| !email.is_empty() && !email.contains("canary")), "email is {email:?}");
    Ok(())
}

async fn row(client: &Client, rng: &mut Rng) -> Result<()> {
    let id = 1 + rng.below(ROWS);
    let number = i32::try_from(id)?;
    let sql = "select city, email from customers where id = $1";
    let row = patient("a row", client.query_one(sql, &[&number])).await?;
    check(row.get(0), row.get(1), id)?;
    let label =
        patient("a label", client.query_one("select label from parts where id = $1", &[&number])).await?;
    ensure!(label.get::<_, &str>(0) == format!("part {id}"), "part {id} is {:?}", label.get::<_, &str>(0));
    Ok(())
}

async fn simple(client: &Client, rng: &mut Rng) -> Result<()> {
    let id = 1 + rng.below(ROWS);
    let sql = format!("select city, email from customers where id <= {id} order by id; select {id}");
    let mut id_of_next = 1;
    let messages = patient("rows", client.simple_query(&sql)).await?;
    for message in &messages {
        match message {
            SimpleQueryMessage::Row(row) if row.len() == 2 => {
                check(row.get(0), row.get(1), id_of_next)?;
                id_of_next += 1;
            }
            SimpleQueryMessage::Row(row) => {
                ensure!(row.get(0) == Some(&*id.to_string()), "{id} is {:?}", row.get(0));
            }
            _ => {}
        }
    }
    ensure!(id_of_next == id + 1, "{} of {id} rows came", id_of_next - 1);
    Ok(())
}

async fn transaction(client: &Client, rng: &mut Rng) -> Result<()> {
    patient("BEGIN", client.batch_execute("begin")).await?;
    row(client, rng).await?;
    pause(rng).await;
    let end = if rng.chance(50) { "commit" } else { "rollback" };
    patient("the end of a transaction", client.batch_execute(end)).await
}

async fn failure(client: &Client) -> Result<()> {
    let failed =
        timeout(PATIENCE, client.batch_execute("select 1 / 0")).await.context("an error: no answer")?;
    let state = failed.err().and_then(|error| error.code().cloned());
    ensure!(state == Some(SqlState::DIVISION_BY_ZERO), "a division by zero ended with {state:?}");
    Ok(())
}

async fn cancel(client: &Client) -> Result<()> {
    let token = client.cancel_token();
    let asked = async {
        loop {
            sleep(CANCEL_PAUSE).await;
            if let Err(error) = token.cancel_query(NoTls).await {
                return error;
            }
        }
    };
    let query = client.batch_execute(SLEEP);
    let ended = timeout(PATIENCE, async {
        tokio::select! {
            ended = query => Ok(ended),
            error = asked => Err(error),
        }
    });
    let ended = ended.await.context("a cancelled query: no answer")?.context("cancelling")?;
    let state = ended.err().and_then(|error| error.code().cloned());
    ensure!(state == Some(SqlState::QUERY_CANCELED), "a cancelled query ended with {state:?}");
    Ok(())
}

/// Leaves while something runs, or in a transaction.
async fn die(client: &Client, connection: JoinHandle<()>, rng: &mut Rng) {
    let rows = "select email from customers c, generate_series(1, 1000) n";
    let sql =
        if rng.chance(5) { ENDLESS } else { *rng.pick(&["begin", rows, "select 1", "select pg_sleep(3)"]) };
    // It is left before it ends.
    let _ = timeout(Duration::from_millis(50), client.simple_query(sql)).await;
    connection.abort();
}
