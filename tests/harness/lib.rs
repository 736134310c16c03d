//! Real servers, real kernel hooks, and the nouns the cases speak in.
//!
//! Everything a guard starts it also ends: processes by pid, pins, cgroups and files.

/// A daemon attached to a cgroup of its own.
pub mod agent;
/// The attack corpus and what runs it.
pub mod corpus;
/// A listener that plays the database reached directly.
pub mod decoy;
pub mod differential;
/// A reader of the catalogs that is asked again and again.
pub mod follower;
/// A line to a server that can fail.
pub mod line;
/// A network namespace of a test's own.
pub mod netns;
/// A throw-away PostgreSQL.
pub mod postgres;
/// Statements by chance, and what makes those that leak small.
pub mod random;
/// A server of something else than a database.
pub mod service;
/// Clients that live and die by chance.
pub mod soak;
/// The source of PostgreSQL, for its own tests.
pub mod source;
/// Certificates, as an operator makes them.
pub mod tls;
/// Columns of every type.
pub mod types;
/// The protocol written by hand.
pub mod wire;

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

pub use agent::{Agent, Start};
pub use decoy::Decoy;
pub use line::{Line, Trouble};
pub use netns::Netns;
pub use postgres::Postgres;
pub use service::{Heard, Service};
pub use tls::Certificates;

/// Nothing a test waits for takes longer on a busy machine with two cores.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Whether this test can run: root is needed, and where `MASK_TEST_REQUIRE_ROOT=1` its lack is a failure.
///
/// # Panics
/// Where root is required and missing.
pub fn have_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(
        root || std::env::var_os("MASK_TEST_REQUIRE_ROOT").is_none(),
        "this test needs root, and MASK_TEST_REQUIRE_ROOT says it must run"
    );
    if !root {
        eprintln!("not run: needs root");
    }
    root
}

/// A directory that is removed when dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Makes one that every user may enter.
    pub fn new(what: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("mask-test-{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover directory is untidy, not wrong.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port nobody listens on at this moment.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Turns SIGINT and SIGTERM into an error at the next step, so that every guard runs.
pub fn catch_interrupts() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let handler = note_interrupt as extern "C" fn(libc::c_int);
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Fails once a signal has come.
pub fn check_interrupt() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted; everything that was started has been ended");
    }
    Ok(())
}

/// Polls until `condition` holds.
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) -> Result<()> {
    wait_within(DEADLINE, what, condition)
}

/// The same for what is promised within a time.
pub fn wait_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + limit;
    while !condition() {
        check_interrupt()?;
        if Instant::now() > end {
            bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Ends a child politely, then surely.
pub(crate) fn end(child: &mut Child, signal: i32) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // SAFETY: the pid is our own child's and has not been reaped.
        unsafe { libc::kill(pid, signal) };
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Ok(None) = child.try_wait() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a command printed, both streams, and whether it succeeded.
pub fn output(command: &mut Command) -> Result<(bool, String)> {
    check_interrupt()?;
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// The Python that has the drivers, as `cargo xtask setup` made it.
pub fn driver_python() -> Result<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/drivers/bin/python");
    if !PathBuf::from(path).exists() {
        bail!("the Python drivers are missing; run `cargo xtask setup`");
    }
    Ok(path.to_owned())
}
