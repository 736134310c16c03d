//! How fast, against what one would use instead: direct, a bare relay, pgbouncer.
//!
//! Every round runs every contender once, so that a neighbour's noise hits all of them; figures are medians of
//! the rounds, and the ratios are what to quote. CPU is the proxy's own, from /proc.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use mask_tests::{Agent, Certificates, Postgres, Scratch, free_port, output, wait_for};

#[derive(Args)]
pub(crate) struct Options {
    /// Shorter runs and smaller tables: a look, not a figure to publish.
    #[arg(long)]
    quick: bool,
    /// What reading the catalogs of 1,000 and of 20,000 tables takes, instead.
    #[arg(long, conflicts_with_all = ["quick", "json", "only"])]
    pub(crate) catalog: bool,
    /// With TLS on both ways; no scans and no idle connections, whose clients have none.
    #[arg(long)]
    tls: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Only cells whose name holds this text.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// `USER_HZ`, which Linux fixes at 100 for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// What stands between client and server.
struct Contender {
    name: &'static str,
    port: u16,
    /// The proxy's process; none where there is none.
    pid: Option<u32>,
    /// Whether clients run in the protected cgroup.
    protected: bool,
    /// In libpq's words.
    sslmode: &'static str,
}

/// How often resident memory is looked at; reading it costs microseconds.
const RSS_PAUSE: Duration = Duration::from_millis(20);
/// The rate of whole connections, as the report calls it.
const CONNECT: &str = "connect, query, close";

struct Cell {
    contender: &'static str,
    what: String,
    unit: &'static str,
    value: f64,
    /// Of the proxy, per transaction or per MB.
    cpu_us: f64,
    /// Median and 99th percentile of a transaction's time; none where single ones are not timed.
    latency_us: Option<(f64, f64)>,
    /// By how much the proxy's resident memory grew at most, in KiB; none where it is not watched.
    growth_kib: Option<f64>,
}

/// Everyone on the plain table, and the one that masks on the others.
fn pairs(contenders: &[Contender]) -> Vec<(&Contender, Table)> {
    let mut pairs: Vec<_> = contenders.iter().map(|contender| (contender, Table::Plain)).collect();
    for contender in contenders.iter().filter(|contender| contender.protected) {
        pairs.extend([(contender, Table::OneMasked), (contender, Table::AllMasked)]);
    }
    pairs
}

/// Ends a child when dropped.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let rows = if options.quick { 200_000 } else { 2_000_000 };
    let (rounds, seconds) = if options.quick { (3, 2) } else { (10, 5) };
    let postgres = Postgres::start_with("trust", &["-c", "max_connections=1200"])?;
    prepare(&postgres, rows)?;
    let certificates = options.tls.then(Certificates::new).transpose()?;
    if let Some(certificates) = &certificates {
        certificates.self_signed("server", "/CN=db.example")?;
        certificates.turn_on(&postgres, "server")?;
    }
    let sslmode = if options.tls { "require" } else { "disable" };
    let agent = Agent::start_release(postgres.port)?;
    let (relay_port, relay) = relay(postgres.port)?;
    let scratch = Scratch::new("pgbouncer")?;
    let (bouncer_port, bouncer) = pgbouncer(postgres.port, &scratch, certificates.as_ref())?;
    let contender = |name, port, pid, protected| Contender { name, port, pid, protected, sslmode };
    let contenders = [
        contender("direct", postgres.port, None, false),
        contender("relay", relay_port, Some(relay.0.id()), false),
        contender("pgbouncer", bouncer_port, Some(bouncer.0.id()), false),
        contender("mask-agent", postgres.port, Some(agent.pid()), true),
    ];
    let wanted = |what: &str| what.contains(&options.only);
    let mut cells = Vec::new();
    let mut sizes = HashMap::new();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for mode in ["simple", "extended", "prepared"] {
            for clients in [1, 8, 32] {
                for (contender, table) in pairs(&contenders) {
                    let what = format!("{mode} {clients} {}", table.name());
                    if wanted(&what) {
                        cells.push(pgbench(contender, &agent, mode, clients, seconds, table, what)?);
                    }
                }
            }
        }
        for (contender, table) in pairs(&contenders).into_iter().filter(|_| !options.tls) {
            for (form, messages) in forms(table) {
                let what = format!("scan {form} {}", table.name());
                if wanted(&what) {
                    cells.push(scan(contender, &agent, form, &messages, what, &mut sizes)?);
                }
            }
        }
        for contender in contenders.iter().filter(|_| wanted(CONNECT)) {
            cells.push(connects(contender, &agent, seconds)?);
        }
    }
    let idle = if options.quick { 200 } else { 1000 };
    for contender in contenders[1..].iter().filter(|_| !options.tls && wanted("memory")) {
        cells.push(memory(contender, &agent, idle)?);
    }
    report(&cells, options.json);
    Ok(())
}

#[derive(Clone, Copy)]
enum Table {
    AllMasked,
    OneMasked,
    Plain,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::AllMasked => "all_masked",
            Self::OneMasked => "one_masked",
            Self::Plain => "plain",
        }
    }

    /// Ten columns; those the built-in policy masks have names it knows.
    fn columns(self) -> String {
        let column = |n: usize| match self {
            Self::AllMasked => format!("c{n}_email"),
            Self::OneMasked if n == 5 => "email".to_owned(),
            Self::OneMasked | Self::Plain => format!("c{n}"),
        };
        (1..=10).map(column).collect::<Vec<_>>().join(", ")
    }
}

fn prepare(postgres: &Postgres, rows: u32) -> Result<()> {
    for table in [Table::Plain, Table::OneMasked, Table::AllMasked] {
        let name = table.name();
        let columns = table.columns().replace(',', " text,") + " text";
        postgres.setup(&format!(
            "create unlogged table {name} (id int primary key, {columns});
             insert into {name} select n, 'value' || n, 'value' || n, 'value' || n, 'value' || n, 'value' || n,
                'value' || n, 'value' || n, 'value' || n, 'value' || n, 'value' || n
                from generate_series(1, {rows}) n"
        ))?;
        postgres.setup(&format!("vacuum analyze {name}"))?;
    }
    Ok(())
}

/// User and system time of a process, in microseconds.
fn cpu_us(pid: Option<u32>) -> Result<f64> {
    let Some(pid) = pid else { return Ok(0.0) };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / TICKS_PER_SECOND * 1e6)
}

fn pgbench(
    contender: &Contender,
    agent: &Agent,
    mode: &str,
    clients: u32,
    seconds: u32,
    table: Table,
    what: String,
) -> Result<Cell> {
    let scratch = Scratch::new("pgbench")?;
    let script = scratch.0.join("script.sql");
    let columns = table.columns();
    fs::write(
        &script,
        format!("\\set n random(1, 100000)\nselect {columns} from {} where id = :n;\n", table.name()),
    )?;
    let mut pgbench = pgbench_command(contender, agent);
    pgbench.args(["-M", mode, "-c", &clients.to_string(), "-j", "2", "-T", &seconds.to_string()]);
    pgbench.args(["-l", "--sampling-rate", "0.1", "--log-prefix"]).arg(scratch.0.join("log"));
    pgbench.arg("-f").arg(&script).arg("postgres");
    let before = cpu_us(contender.pid)?;
    let (ok, text) = output(&mut pgbench)?;
    ensure!(ok, "{}: {text}", contender.name);
    let transactions = number(&text, "number of transactions actually processed:")?;
    Ok(Cell {
        contender: contender.name,
        what,
        unit: "tps",
        value: number(&text, "tps =")?,
        cpu_us: (cpu_us(contender.pid)? - before) / transactions,
        latency_us: Some(latencies(&scratch)?),
        growth_kib: None,
    })
}

fn pgbench_command(contender: &Contender, agent: &Agent) -> Command {
    let program = "/usr/bin/pgbench";
    let mut pgbench = if contender.protected { agent.client(program) } else { Command::new(program) };
    pgbench.env("PGSSLMODE", contender.sslmode).args([
        "-n",
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
        "-p",
        &contender.port.to_string(),
    ]);
    pgbench
}

/// The figure behind a label in what pgbench prints.
fn number(text: &str, label: &str) -> Result<f64> {
    let line = text.lines().find(|line| line.starts_with(label)).context("pgbench says nothing of it")?;
    let word = line[label.len()..].split_whitespace().next().context("no number")?;
    Ok(word.split('/').next().unwrap_or(word).parse()?)
}

/// Median and 99th percentile of the sampled transactions; the third column of a log is microseconds.
fn latencies(scratch: &Scratch) -> Result<(f64, f64)> {
    let mut times = Vec::new();
    for entry in fs::read_dir(&scratch.0)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("log") {
            let text = fs::read_to_string(entry.path())?;
            times.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().context("no transaction was timed");
    Ok((at(50)?, at(99)?))
}

/// A whole table by SELECT in text, SELECT in binary and COPY.
fn forms(table: Table) -> Vec<(&'static str, Vec<u8>)> {
    let select = format!("select {} from {}", table.columns(), table.name());
    let mut forms = vec![("text", query(&select)), ("binary", extended(&select))];
    if matches!(table, Table::Plain) {
        forms.push(("copy", query(&format!("copy {} to stdout", table.name()))));
    }
    forms
}

/// The rate counts what the server sent: masks change the length of rows, not the work. The tables hold the
/// same values, so what `direct` received for a form is what the server sends for it.
fn scan(
    contender: &Contender,
    agent: &Agent,
    form: &'static str,
    request: &[u8],
    what: String,
    sizes: &mut HashMap<&'static str, f64>,
) -> Result<Cell> {
    let before = cpu_us(contender.pid)?;
    let ((received, took), growth_kib) = watched(contender.pid, || run_scan(contender, agent, request))?;
    let megabytes = sizes.entry(form).or_insert(received / 1e6);
    Ok(Cell {
        contender: contender.name,
        what,
        unit: "MB/s",
        value: *megabytes / took.as_secs_f64(),
        cpu_us: (cpu_us(contender.pid)? - before) / *megabytes,
        latency_us: None,
        growth_kib,
    })
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

fn extended(sql: &str) -> Vec<u8> {
    let messages = [
        message(b'P', format!("\0{sql}\0\0\0").as_bytes()),
        // No parameters; one result format for all columns, and it is binary.
        message(b'B', &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1]),
        message(b'E', &[0, 0, 0, 0, 0]),
        message(b'S', &[]),
    ];
    messages.concat()
}

/// Runs in a process of its own where the cgroup of the caller matters: `xtask scan-client`.
fn run_scan(contender: &Contender, agent: &Agent, request: &[u8]) -> Result<(f64, Duration)> {
    let scratch = Scratch::new("scan")?;
    let file = scratch.0.join("request");
    fs::write(&file, request)?;
    let own = release_xtask()?;
    let own = own.to_str().context("path is text")?;
    let mut client = if contender.protected { agent.client(own) } else { Command::new(own) };
    let (ok, text) = output(client.arg("scan-client").arg(contender.port.to_string()).arg(&file))?;
    ensure!(ok, "{}: {text}", contender.name);
    let (bytes, micros) = text.trim().split_once(' ').context("two numbers")?;
    Ok((bytes.parse()?, Duration::from_micros(micros.parse()?)))
}

/// Sends a request, counts the bytes up to `ReadyForQuery`, and prints them and the microseconds they took.
pub(crate) fn scan_client(port: u16, request: &std::path::Path) -> Result<()> {
    let request = fs::read(request)?;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let startup = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(startup.len() + 8)?;
    stream.write_all(&[&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), startup].concat())?;
    until_ready(&mut stream)?;
    let begin = Instant::now();
    stream.write_all(&request)?;
    let bytes = until_ready(&mut stream)?;
    println!("{bytes} {}", begin.elapsed().as_micros());
    Ok(())
}

fn until_ready(stream: &mut TcpStream) -> Result<usize> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    let mut held: Vec<u8> = Vec::new();
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the server closed the connection");
        total += count;
        // ReadyForQuery is six bytes, and the last that comes.
        held.extend_from_slice(&buffer[count.saturating_sub(6)..count]);
        held.drain(..held.len().saturating_sub(6));
        if held.len() == 6 && held[..5] == [b'Z', 0, 0, 0, 5] {
            return Ok(total);
        }
    }
}

fn connects(contender: &Contender, agent: &Agent, seconds: u32) -> Result<Cell> {
    let scratch = Scratch::new("connect")?;
    let script = scratch.0.join("script.sql");
    fs::write(&script, "select 1;\n")?;
    let mut pgbench = pgbench_command(contender, agent);
    pgbench.args(["-C", "-c", "2", "-j", "2", "-T", &seconds.to_string(), "-f"]).arg(&script).arg("postgres");
    let before = cpu_us(contender.pid)?;
    let (ok, text) = output(&mut pgbench)?;
    ensure!(ok, "{}: {text}", contender.name);
    let transactions = number(&text, "number of transactions actually processed:")?;
    Ok(Cell {
        contender: contender.name,
        what: CONNECT.to_owned(),
        unit: "tps",
        value: number(&text, "tps =")?,
        cpu_us: (cpu_us(contender.pid)? - before) / transactions,
        latency_us: None,
        growth_kib: None,
    })
}

fn rss_kib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().context("no number")?.parse()?)
}

/// Does something, and looks at the resident memory of a process meanwhile.
fn watched<T>(pid: Option<u32>, work: impl FnOnce() -> Result<T>) -> Result<(T, Option<f64>)> {
    let Some(pid) = pid else { return Ok((work()?, None)) };
    let before = rss_kib(pid)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let most = scope.spawn(|| {
            let mut most = before;
            while !done.load(Ordering::Relaxed) {
                most = rss_kib(pid).map_or(most, |now| most.max(now));
                thread::sleep(RSS_PAUSE);
            }
            most
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        let most = most.join().map_err(|_| anyhow!("the watching thread failed"))?;
        Ok((result?, Some(most - before)))
    })
}

/// Resident memory per idle connection, in KiB.
fn memory(contender: &Contender, agent: &Agent, count: u32) -> Result<Cell> {
    let rss = || rss_kib(contender.pid.context("a proxy")?);
    let own = release_xtask()?;
    let own = own.to_str().context("path is text")?;
    let before = rss()?;
    let mut client = if contender.protected { agent.client(own) } else { Command::new(own) };
    client.args(["idle-client", &contender.port.to_string(), &count.to_string()]);
    let mut child = Guard(client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut ready = [0; 1];
    child.0.stdout.as_mut().context("piped")?.read_exact(&mut ready)?;
    let after = rss()?;
    Ok(Cell {
        contender: contender.name,
        what: format!("memory at {count} idle"),
        unit: "KiB each",
        value: (after - before) / f64::from(count),
        cpu_us: 0.0,
        latency_us: None,
        growth_kib: None,
    })
}

/// Opens connections, says so, and holds them until its standard input closes.
pub(crate) fn idle_client(port: u16, count: u32) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        let startup = b"user\0postgres\0database\0postgres\0\0";
        let length = u32::try_from(startup.len() + 8)?;
        stream.write_all(&[&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), startup].concat())?;
        until_ready(&mut stream)?;
        stream.write_all(&query("select 1"))?;
        until_ready(&mut stream)?;
        held.push(stream);
    }
    std::thread::sleep(Duration::from_millis(500));
    let mut out = std::io::stdout();
    out.write_all(b".")?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The relay to compare with: nothing but tokio copying bytes both ways.
pub(crate) fn relay_server(port: u16, upstream: u16) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (mut client, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", upstream)).await?;
                client.set_nodelay(true)?;
                server.set_nodelay(true)?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    })
}

/// This program as `bench` built it with optimisation: contenders and clients must not be slowed by debug code.
fn release_xtask() -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("target folder")?;
    Ok(target.join("release/xtask"))
}

/// The daemon's program, built so too.
pub(crate) fn release_agent() -> Result<std::path::PathBuf> {
    Ok(release_xtask()?.with_file_name("mask-agent"))
}

fn relay(upstream: u16) -> Result<(u16, Guard)> {
    let port = free_port()?;
    let mut relay = Command::new(release_xtask()?);
    let child = Guard(relay.args(["relay-server", &port.to_string(), &upstream.to_string()]).spawn()?);
    wait_for("the relay", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok((port, child))
}

fn pgbouncer(upstream: u16, scratch: &Scratch, tls: Option<&Certificates>) -> Result<(u16, Guard)> {
    let port = free_port()?;
    let ini = scratch.0.join("pgbouncer.ini");
    let users = scratch.0.join("users.txt");
    fs::write(&users, "\"postgres\" \"\"\n")?;
    let tls = tls.map_or(String::new(), |certificates| {
        let [certificate, key] = ["server.crt", "server.key"].map(|file| certificates.text(file));
        format!(
            "client_tls_sslmode = require\nclient_tls_cert_file = {certificate}\nclient_tls_key_file = {key}\n\
             server_tls_sslmode = require\n"
        )
    });
    fs::write(
        &ini,
        format!(
            "[databases]\n* = host=127.0.0.1 port={upstream}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = trust\nauth_file = {}\npool_mode = session\n\
             max_client_conn = 1200\ndefault_pool_size = 1100\nunix_socket_dir =\nlogfile = {}\n\
             ignore_startup_parameters = extra_float_digits\nlog_connections = 0\nlog_disconnections = 0\n{tls}",
            users.display(),
            scratch.0.join("log").display(),
        ),
    )?;
    output(Command::new("chown").args(["-R", "postgres"]).arg(&scratch.0))?;
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        "postgres",
        "--regid",
        "postgres",
        "--clear-groups",
        "--",
        "/usr/sbin/pgbouncer",
        "-q",
    ]);
    let child = Guard(command.arg(&ini).stderr(Stdio::null()).spawn()?);
    wait_for("pgbouncer", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok((port, child))
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn report(cells: &[Cell], json: bool) {
    let figure = |contender: &str, what: &str, of: fn(&Cell) -> f64| {
        median(cells.iter().filter(|cell| cell.contender == contender && cell.what == what).map(of).collect())
    };
    let mut seen = Vec::new();
    for cell in cells {
        if !seen.contains(&(cell.contender, &cell.what)) {
            seen.push((cell.contender, &cell.what));
        }
    }
    let mut lines = Vec::new();
    for (contender, what) in seen {
        let unit = cells.iter().find(|cell| &cell.what == what).map_or("", |cell| cell.unit);
        let plain = what.replace("one_masked", "plain").replace("all_masked", "plain");
        let value = figure(contender, what, |cell| cell.value);
        let ratio = |other: &str| value / figure(other, &plain, |cell| cell.value);
        lines.push(serde_json::json!({
            "what": what, "contender": contender, "unit": unit, "value": value,
            "cpu_us": figure(contender, what, |cell| cell.cpu_us),
            "p50_us": figure(contender, what, |cell| cell.latency_us.map_or(f64::NAN, |(half, _)| half)),
            "p99_us": figure(contender, what, |cell| cell.latency_us.map_or(f64::NAN, |(_, most)| most)),
            "growth_kib": figure(contender, what, |cell| cell.growth_kib.unwrap_or(f64::NAN)),
            "of_direct": ratio("direct"), "of_relay": ratio("relay"), "of_pgbouncer": ratio("pgbouncer"),
        }));
    }
    if json {
        println!("{}", serde_json::Value::Array(lines));
        return;
    }
    println!(
        "{:<28} {:<11} {:>16} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "", "", "", "proxy CPU", "p50 us", "p99 us", "RSS KiB", "÷direct", "÷relay", "÷pgbouncer"
    );
    for line in &lines {
        let number = |key: &str| line[key].as_f64().filter(|value| value.is_finite()).unwrap_or_default();
        println!(
            "{:<28} {:<11} {:>7.0} {:<8} {:>6.1} us {:>8.0} {:>8.0} {:>8} {:>8.2} {:>8.2} {:>10.2}",
            line["what"].as_str().unwrap_or_default(),
            line["contender"].as_str().unwrap_or_default(),
            number("value"),
            line["unit"].as_str().unwrap_or_default(),
            number("cpu_us"),
            number("p50_us"),
            number("p99_us"),
            line["growth_kib"].as_f64().map_or_else(String::new, |kib| format!("+{kib:.0}")),
            number("of_direct"),
            number("of_relay"),
            number("of_pgbouncer"),
        );
    }
    println!("CPU is per transaction, and per MB in scans; RSS is how much a scan added at most.");
}
