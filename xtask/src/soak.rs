//! Many clients that open, ask, cancel and die by chance, and what the daemon holds when they are gone.

use std::{
    collections::HashMap,
    fs,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use mask_tests::{
    Agent, Postgres, catch_interrupts,
    soak::{self, SCHEMA, Tally},
    wait_within,
};

#[derive(Args)]
pub(crate) struct Options {
    /// Clients side by side.
    #[arg(long, default_value_t = 2_000)]
    clients: u32,
    /// For how long.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// By chance where not given.
    #[arg(long)]
    seed: Option<u64>,
}

/// Of all clients, to warm up with: what a daemon keeps for good it has then.
const WARM_UP: Duration = Duration::from_secs(20);
/// For the last connections to end, and what they ran at the server.
const END_DEADLINE: Duration = Duration::from_mins(1);
/// What may be open more after a soak than before: readers of the catalog come and go.
const DESCRIPTORS_MORE_MAX: usize = 8;
/// By how much resident memory may have grown since the warm-up, in KiB: a leak of a kilobyte a connection is more.
const GROWTH_KIB_MAX: u64 = 16 << 10;

/// What a daemon holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    rss_kib: u64,
}

impl Held {
    fn of(agent: &Agent) -> Result<Self> {
        let folder = format!("/proc/{}", agent.pid());
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        let rss_kib = rss.context("VmRSS")?.parse()?;
        Ok(Self { descriptors: fs::read_dir(format!("{folder}/fd"))?.count(), rss_kib })
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    catch_interrupts();
    let seed = match options.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    println!("--seed {seed} --clients {} --seconds {}", options.clients, options.seconds);
    let connections = format!("max_connections={}", options.clients + 100);
    let postgres = Postgres::start_with("scram-sha-256", &["-c", &connections])?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_release(postgres.port)?;
    let warm_up = soak(&agent, &postgres, options.clients, WARM_UP, seed)?;
    let before = Held::of(&agent)?;
    println!("warm-up: {warm_up:?}, then {before:?}");
    let tally = soak(&agent, &postgres, options.clients, Duration::from_secs(options.seconds), !seed)?;
    let after = Held::of(&agent)?;
    println!("soak: {tally:?}, then {after:?}");
    check_trail(&agent)?;
    ensure!(warm_up.wrong.is_empty() && tally.wrong.is_empty(), "some answers were wrong\n{}", agent.log());
    ensure!(after.descriptors <= before.descriptors + DESCRIPTORS_MORE_MAX, "descriptors are left open");
    ensure!(after.rss_kib <= before.rss_kib + GROWTH_KIB_MAX, "memory has grown");
    Ok(())
}

/// Runs clients in the protected cgroup, and waits until nothing of them is left.
fn soak(agent: &Agent, postgres: &Postgres, clients: u32, time: Duration, seed: u64) -> Result<Tally> {
    let own = std::env::current_exe()?;
    let mut command = agent.client(&own.to_string_lossy());
    command.arg("soak-clients").args([
        postgres.port.to_string(),
        clients.to_string(),
        time.as_secs().to_string(),
        seed.to_string(),
    ]);
    let done = command.stderr(Stdio::inherit()).output()?;
    ensure!(done.status.success(), "the clients ended with {}", done.status);
    let tally = serde_json::from_slice(&done.stdout)?;
    wait_within(END_DEADLINE, "every connection to end", || {
        agent.status().is_ok_and(|status| status["daemon"]["connections"] == 0)
    })?;
    let left = "select 'left: ' || count(*) from pg_stat_activity where backend_type = 'client backend' \
                and pid <> pg_backend_pid() and application_name <> 'mask-agent catalog'";
    wait_within(END_DEADLINE, "the server to be rid of them", || {
        postgres.psql(left).is_ok_and(|(_, text)| text.contains("left: 0"))
    })?;
    Ok(tally)
}

/// The clients, in a process of their own.
pub(crate) fn clients(port: u16, clients: u32, seconds: u64, seed: u64) -> Result<()> {
    let tally = soak::clients(port, clients, Duration::from_secs(seconds), seed)?;
    println!("{}", serde_json::to_string(&tally)?);
    Ok(())
}

/// Every connection ended once, and no record is missing.
fn check_trail(agent: &Agent) -> Result<()> {
    let mut ends: HashMap<i64, (u32, u32)> = HashMap::new();
    let trail = agent.trail()?;
    for record in &trail {
        let Some(connection) = record["connection"].as_i64() else { continue };
        let (opened, closed) = ends.entry(connection).or_default();
        match record["kind"].as_str() {
            Some("connection_opened") => *opened += 1,
            Some("connection_closed") => *closed += 1,
            _ => {}
        }
    }
    let wrong: Vec<_> = ends.iter().filter(|(_, ends)| **ends != (1, 1)).take(20).collect();
    ensure!(wrong.is_empty(), "connections opened and closed: {wrong:?}");
    let gap = trail.iter().zip(0..).find(|(record, seq)| record["seq"].as_i64() != Some(*seq));
    ensure!(gap.is_none(), "the trail has a gap: {gap:?}");
    println!("trail: {} records, {} connections, each closed once", trail.len(), ends.len());
    Ok(())
}
