//! Puts the parts together; the only module that knows them all.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use mask_core::{
    audit::Event,
    policy::{Policy, Selection, Target},
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    audit::{self, Spool},
    catalog::{self, Catalogs},
    cli::{self, Cli, Command},
    config::{ClientTlsMode, Config},
    control, explain,
    intercept::{self, Interceptor, Options},
    keys,
    ledger::Ledger,
    logins::Logins,
    refusals,
    server::{self, DRAIN_DEADLINE, Parts, Shared},
    tls::{self, Pins},
    upstream::{Upstreams, Ways},
    workers::Workers,
};

/// After the drain deadline, for the last words to clients.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How often a followed trail is looked at; a person is reading.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);

/// How long a service that is started again may go unnoticed, where the policy names its cgroup.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn run(cli: Cli) -> Result<()> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Run(run) => {
            let config = Config::load(file, run.into())?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(config))
        }
        Command::Status { pins, state, json } => {
            status(&Config::load(file, (Some(pins), state).into())?, json)
        }
        Command::Catalog { dsn, json, follow } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            if follow {
                return runtime.block_on(catalog::show::follow(&dsn, &Policy::zero_config()));
            }
            runtime.block_on(catalog::show::show(&dsn, json))
        }
        Command::Explain(cli::Explain { dsn, policy, json, sql }) => {
            let policy = load_policy(policy.as_deref())?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let catalog = runtime.block_on(catalog::show::load(&dsn))?;
            explain::explain(catalog, &policy, &sql, json)
        }
        Command::Policy(cli::Policy::Check { files }) => check(&files),
        Command::Audit(cli::Audit::Tail { state, lines, follow, json }) => {
            tail(&Config::load(file, (None, state).into())?.state_dir, lines, follow, json)
        }
        Command::Key(cli::Key::List { state }) => {
            keys::list(&Config::load(file, (None, state).into())?.state_dir)
        }
        Command::Key(cli::Key::Rotate { state }) => {
            keys::rotate(&Config::load(file, (None, state).into())?.state_dir)
        }
        Command::Ca(command) => {
            let state = |state| Config::load(file, (None, state).into()).map(|config| config.state_dir);
            match command {
                cli::Ca::Init { state: given } => tls::commands::init(&state(given)?),
                cli::Ca::Show { state: given } => tls::commands::show(&state(given)?),
                cli::Ca::Install { state: given, dry_run } => tls::commands::install(&state(given)?, dry_run),
                cli::Ca::Export { state: given, file } => {
                    tls::commands::export(&state(given)?, file.as_deref())
                }
            }
        }
        Command::Pins(cli::Pinned::List { state }) => {
            tls::commands::list_pins(&Config::load(file, (None, state).into())?.state_dir)
        }
        Command::Pins(cli::Pinned::Forget { state, server, all: _ }) => {
            tls::commands::forget_pins(&Config::load(file, (None, state).into())?.state_dir, server)
        }
        Command::Uninstall { pins, state } => uninstall(&Config::load(file, (Some(pins), state).into())?),
    }
}

fn load_policy(path: Option<&Path>) -> Result<Policy> {
    let Some(path) = path else { return Ok(Policy::zero_config()) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read policy {}", path.display()))?;
    Ok(Policy::parse(&path.display().to_string(), &text)?)
}

async fn serve(config: Config) -> Result<()> {
    let policy = load_policy(config.policy.as_deref())?;
    let spool = Spool::open(&config.state_dir)
        .with_context(|| format!("cannot open the audit trail in {}", config.state_dir.display()))?;
    let keys = keys::load(&config.state_dir)?;
    // What is wrong with these is said before anything is attached.
    let clients = match config.client_tls {
        ClientTlsMode::Off => None,
        ClientTlsMode::Offer | ClientTlsMode::Require => {
            Some(tls::Clients::open(&config.state_dir, config.client_ca.as_deref())?)
        }
    };
    let logins = Logins::read(&config.logins, server::random()?)?;
    let ways = Ways::read(&config.upstream_tls, &config.upstreams, config.unknown_upstreams)?;
    let pins = Pins::open(&config.state_dir)?;
    let ledger = Ledger::open(&config.state_dir)?;
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, config.listen_port)).await;
    let v4 = v4.with_context(|| format!("cannot listen on port {}", config.listen_port))?;
    // A host without IPv6 has no IPv6 clients; elsewhere a failure means they are refused.
    let v6 = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, config.listen_port))).await.ok();
    let options = Options {
        cgroup: config.cgroup,
        pin_dir: config.pin_dir,
        proxy_port: config.listen_port,
        selection: selection(&policy, &config.ports),
        debug: config.debug_ebpf,
    };
    let mut interceptor = Interceptor::attach(&options)?;
    if options.debug {
        tokio::spawn(interceptor.forward_logs()?);
    }
    let programs = hooks(&options.pin_dir)?;
    spool.append(
        None,
        &[
            Event::PolicyLoaded { name: policy.name().to_owned() },
            Event::KeysLoaded { versions: keys.versions() },
            Event::HooksAttached { programs },
        ],
    )?;
    let peers = interceptor.peers()?;
    let silence = Duration::from_secs(config.upstream_silence_s.into());
    let upstreams = Arc::new(Upstreams::new(peers.clone(), ways, pins, silence));
    let catalogs = Catalogs::new(upstreams.clone(), policy, ledger);
    let shared = Arc::new(Shared::new(Parts {
        peers,
        upstreams,
        clients,
        client_tls: config.client_tls.into(),
        catalogs,
        spool,
        keys,
        logins,
        connections_max: config.max_connections,
        login_timeout: Duration::from_secs(config.login_timeout_s.into()),
    })?);
    let control = control::listen(&config.state_dir)
        .with_context(|| format!("cannot make the control socket in {}", config.state_dir.display()))?;
    tokio::spawn(control::serve(control, shared.clone()));
    let workers = Arc::new(Workers::start()?);
    let (stop, stopped) = watch::channel(false);
    let mut accepting = Vec::new();
    for listener in [Some(v4), v6].into_iter().flatten() {
        interceptor.mark_listener(listener.as_fd())?;
        accepting.push(tokio::spawn(server::accept(
            shared.clone(),
            workers.clone(),
            listener,
            stopped.clone(),
        )));
    }
    tokio::spawn(refusals::record(interceptor.refusals()?, shared.clone()));
    let signals = Signals::new()?;
    tracing::info!(port = config.listen_port, "ready");
    let mut live = Live {
        shared: &shared,
        interceptor,
        policy: config.policy.as_deref(),
        ports: &config.ports,
        state_dir: &config.state_dir,
    };
    signals.wait_for_stop(&mut live).await?;
    tracing::info!("stopping");
    stop.send_replace(true);
    let drain = async {
        for accepting in accepting {
            let _ = accepting.await;
        }
        shared.drained().await;
    };
    if tokio::time::timeout(DRAIN_DEADLINE + CLOSE_DEADLINE, drain).await.is_err() {
        tracing::warn!("connections were still open at the deadline");
    }
    Ok(())
}

/// What an operator tells the daemon by signal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads the policy as often as it is asked to, until told to stop.
    async fn wait_for_stop(mut self, live: &mut Live<'_>) -> Result<()> {
        let mut refresh = tokio::time::interval(REFRESH_PAUSE);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.reload.recv() => live.shared.spool.append(None, &[live.reload()])?,
                _ = refresh.tick() => {
                    live.refresh();
                    if let Some(event) = live.refresh_keys() {
                        live.shared.spool.append(None, &[event])?;
                    }
                }
            }
        }
    }
}

/// What changes while the daemon runs.
struct Live<'a> {
    shared: &'a Shared,
    interceptor: Interceptor,
    policy: Option<&'a Path>,
    /// Ports in place of the policy's.
    ports: &'a [u16],
    /// Where the keys are.
    state_dir: &'a Path,
}

impl Live<'_> {
    fn reload(&mut self) -> Event {
        match self.load() {
            Ok(name) => Event::PolicyLoaded { name },
            Err(error) => {
                tracing::error!(%error, "the new policy is rejected; the one before stays in force");
                Event::PolicyRejected { reason: format!("{error:#}") }
            }
        }
    }

    fn load(&mut self) -> Result<String> {
        let policy = load_policy(self.policy)?;
        let logins = self.shared.logins().read_again()?;
        self.interceptor.select(selection(&policy, self.ports))?;
        let name = policy.name().to_owned();
        self.shared.catalogs.set_policy(policy);
        self.shared.set_logins(logins);
        Ok(name)
    }

    fn refresh(&mut self) {
        if let Err(error) = self.interceptor.refresh() {
            tracing::error!(%error, "cgroups of the policy cannot be looked up again");
        }
    }

    /// Takes over a key that was made since. One that is gone or broken is told, and changes nothing.
    fn refresh_keys(&self) -> Option<Event> {
        let known = self.shared.keys().versions();
        let found = keys::versions(self.state_dir);
        if found.as_ref().is_ok_and(|found| *found == known) {
            return None;
        }
        let loaded = found.map_err(anyhow::Error::from).and_then(|found| {
            let missing = known.iter().find(|version| !found.contains(version));
            missing.map_or_else(
                || keys::load(self.state_dir),
                |version| bail!("version {version} is gone; restore it from a backup"),
            )
        });
        match loaded {
            Ok(keys) => {
                let versions = keys.versions();
                tracing::info!(?versions, "mask keys loaded");
                self.shared.set_keys(keys);
                Some(Event::KeysLoaded { versions })
            }
            Err(error) => {
                tracing::error!(%error, "mask keys cannot be read again; those before stay in use");
                None
            }
        }
    }
}

/// What a policy selects, with other ports where some are given.
fn selection(policy: &Policy, ports: &[u16]) -> Selection {
    let mut selection = policy.selection().clone();
    if !ports.is_empty() {
        selection.targets = ports.iter().map(|port| Target { port: *port, prefix: None }).collect();
    }
    selection
}

fn status(config: &Config, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let status = intercept::status(&config.pin_dir)?;
    let daemon = control::ask(&config.state_dir).context("the daemon does not answer")?;
    if json {
        let counters: serde_json::Map<_, _> =
            status.counters.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let status = serde_json::json!({
            "attached": status.attached.iter().map(|hook| hook.name).collect::<Vec<_>>(),
            "hooks": status.attached,
            "missing": status.missing,
            "daemon": daemon,
            "counters": counters,
        });
        writeln!(out, "{status}")?;
        return Ok(());
    }
    match daemon {
        Some(daemon) => writeln!(
            out,
            "daemon: pid {}, version {}, policy {}, {} connections open, {} served",
            daemon.pid, daemon.version, daemon.policy, daemon.connections, daemon.connections_total
        )?,
        None if status.attached.is_empty() => writeln!(out, "daemon: not running")?,
        None => writeln!(out, "daemon: not running, so database connections are refused")?,
    }
    if status.attached.is_empty() {
        writeln!(out, "no hooks attached: database connections are NOT masked")?;
    } else {
        let attached: Vec<_> = status.attached.iter().map(|hook| hook.name).collect();
        writeln!(out, "hooks attached: {}", attached.join(", "))?;
        if !status.missing.is_empty() {
            let missing = status.missing.join(", ");
            writeln!(out, "hooks MISSING, database connections may not be masked: {missing}")?;
        }
    }
    for (name, value) in status.counters {
        writeln!(out, "{name:>16} {value}")?;
    }
    Ok(())
}

fn check(files: &[std::path::PathBuf]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut wrong = 0;
    for file in files {
        match load_policy(Some(file)) {
            Ok(policy) => writeln!(out, "{}: ok, {} column rules", file.display(), policy.rules())?,
            Err(error) => {
                wrong += 1;
                writeln!(out, "{error:#}")?;
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} of {} policy files are wrong", files.len());
    }
    Ok(())
}

fn tail(state_dir: &Path, lines: usize, follow: bool, json: bool) -> Result<()> {
    let path = audit::path(state_dir);
    let file = fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut last = VecDeque::with_capacity(lines);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        if last.len() >= lines.max(1) {
            last.pop_front();
        }
        last.push_back(std::mem::take(&mut line));
    }
    for line in last {
        print_record(&line, json)?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        // A record is written with one call, so a line that is not ended yet is the rest of one.
        if reader.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            std::thread::sleep(FOLLOW_PAUSE);
        } else {
            print_record(&line, json)?;
            line.clear();
        }
    }
}

fn print_record(line: &str, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        out.write_all(line.as_bytes())?;
    } else {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        writeln!(out, "{}", human(&record))?;
    }
    Ok(())
}

fn human(record: &serde_json::Value) -> String {
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let who = record["caller"]["exe"].as_str().unwrap_or("-");
    let what = match &*text("kind") {
        "statement" => {
            let columns = record["columns"].as_array().map_or(&[][..], Vec::as_slice);
            let columns: Vec<_> = columns.iter().filter_map(|column| column["name"].as_str()).collect();
            format!("{:<7} {}  [{}]", text("ruling"), text("sql"), columns.join(", "))
        }
        "statement_end" => format!(
            "{} rows, {} cells masked, {} us {}",
            record["rows"],
            record["cells_masked"],
            record["duration_us"],
            text("sqlstate")
        ),
        "authenticated" => match record["client_user"].as_str() {
            Some(client) => format!("{} for {client} in {}", text("user"), text("database")),
            None => format!("{} in {}", text("user"), text("database")),
        },
        "database_found" => text("to"),
        "keys_loaded" => format!("versions {}", record["versions"]),
        "refusals_omitted" => format!("{} refused connections have no record", record["count"]),
        _ => text("reason"),
    };
    format!("{:>6} {:<18} {who} {what}", record["seq"], text("kind"))
}

/// Names of the programs in place, as the trail has them.
fn hooks(pin_dir: &Path) -> Result<Vec<String>> {
    Ok(intercept::status(pin_dir)?.attached.iter().map(|hook| hook.name.to_owned()).collect())
}

fn uninstall(config: &Config) -> Result<()> {
    // The record comes first: an open database without a trace of who opened it must not be.
    let spool = Spool::open(&config.state_dir)
        .context("the audit trail cannot be written, so nothing was detached")?;
    let programs = intercept::pinned(&config.pin_dir);
    spool.append(None, &[Event::HooksDetached { programs }])?;
    let detached = intercept::detach(&config.pin_dir)?;
    let detached = if detached.is_empty() { "nothing was attached".to_owned() } else { detached.join(", ") };
    writeln!(std::io::stdout(), "detached: {detached}")?;
    Ok(())
}
