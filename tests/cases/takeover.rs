//! A daemon takes over the hooks of the one before without a gap, or leaves everything as it was.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::unix::fs::symlink,
    process::{Child, Stdio},
};

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Decoy, Start,
    agent::{PROBE, probed},
    have_root, wait_for,
};
use serde_json::Value;

/// A client that connects over and over.
struct Load {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Load {
    fn start(agent: &Agent, port: u16) -> Result<Self> {
        let mut probe = agent.client("/usr/bin/python3");
        probe.args([PROBE, "until told", "127.0.0.1", &port.to_string()]);
        let mut child = probe.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut answers = BufReader::new(child.stdout.take().context("piped")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        assert_eq!(line, "started\n");
        Ok(Self { child, answers })
    }

    /// Ends it; how often it met what.
    fn finish(mut self) -> Result<serde_json::Map<String, Value>> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.answers.read_to_string(&mut text)?;
        serde_json::from_str(&text).context(text)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn hooks(agent: &Agent, number: &str) -> Result<Vec<u64>> {
    let status = agent.status()?;
    let hooks = status["hooks"].as_array().context("hooks")?;
    Ok(hooks.iter().filter_map(|hook| hook[number].as_u64()).collect())
}

/// The client is served, and not by the database.
fn assert_serves(agent: &Agent, database: &Decoy<'_>) -> Result<()> {
    let known = agent.counter("peer_known")?;
    let seen = agent.probe(&["plain", "127.0.0.1", &database.port.to_string()])?;
    let to = SocketAddr::from(([127, 0, 0, 1], database.port));
    assert_eq!(seen["peer"], to.to_string(), "{seen}\n{}", agent.log());
    wait_for("the daemon to know the caller", || agent.counter("peer_known").is_ok_and(|now| now > known))?;
    assert!(database.arrivals()?.is_empty(), "the database was reached past the daemon");
    Ok(())
}

#[test]
fn a_daemon_that_is_killed_and_started_again_leaves_no_moment_open() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start(database.port)?;
    let (links, programs) = (hooks(&agent, "link")?, hooks(&agent, "program")?);
    let load = Load::start(&agent, database.port)?;
    agent.kill()?;
    agent.restart()?;
    assert_serves(&agent, &database)?;
    let met = load.finish()?;
    // A connection that was accepted by the old daemon and not yet looked at is reset.
    let fine = ["connected", "ECONNREFUSED", "ECONNRESET"];
    assert!(met.keys().all(|result| fine.contains(&result.as_str())), "{met:?}");
    assert!(met.contains_key("connected") && met.contains_key("ECONNREFUSED"), "{met:?}");
    assert!(database.arrivals()?.is_empty(), "the database was reached past the daemon");
    assert_eq!(hooks(&agent, "link")?, links, "the same links");
    let now = hooks(&agent, "program")?;
    assert!(now.len() == links.len() && now.iter().all(|program| !programs.contains(program)), "{now:?}");
    Ok(())
}

#[test]
fn a_successor_takes_the_hooks_from_a_daemon_that_runs() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start(database.port)?;
    let load = Load::start(&agent, database.port)?;
    agent.succeed()?;
    assert_serves(&agent, &database)?;
    let met = load.finish()?;
    let fine = ["connected", "ECONNREFUSED", "ECONNRESET"];
    assert!(met.keys().all(|result| fine.contains(&result.as_str())), "{met:?}");
    assert!(database.arrivals()?.is_empty(), "the database was reached past the daemons");
    Ok(())
}

#[test]
fn a_take_over_that_fails_leaves_the_daemon_before_in_charge() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let agent = Agent::start(database.port)?;
    // The last hook's pin cannot be made: five are replaced by then.
    let pin = agent.links()?.join("refuse_mptcp");
    fs::remove_file(&pin)?;
    symlink("nowhere", &pin)?;
    let before = hooks(&agent, "program")?;
    let log = agent.fail_to_succeed()?;
    assert!(log.contains("refuse_mptcp"), "{log}");
    assert_eq!(hooks(&agent, "program")?, before, "the programs of the daemon before");
    assert_eq!(before.len(), 5);
    assert_serves(&agent, &database)?;
    fs::remove_file(&pin)?;
    Ok(())
}

#[test]
fn an_attach_that_fails_leaves_nothing_behind() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start(database.port)?;
    let (ok, text) = agent.command(&["uninstall"])?;
    assert!(ok && !agent.pins().exists(), "{text}");
    // A folder that is no cgroup: the first hook fails.
    agent.attach_next_to("/proc")?;
    let log = agent.fail_to_succeed()?;
    assert!(log.contains("/proc"), "{log}");
    assert!(!agent.pins().exists(), "pins were left");
    // The pin of the last hook is in the way: the five before it are gone again.
    agent.attach_next_to("")?;
    agent.succeed()?;
    let links = agent.links()?;
    for pin in fs::read_dir(&links)? {
        fs::remove_file(pin?.path())?;
    }
    symlink("nowhere", links.join("refuse_mptcp"))?;
    agent.fail_to_succeed()?;
    let left: Vec<_> = fs::read_dir(&links)?.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["refuse_mptcp"]);
    let seen = agent.probe(&["plain", "127.0.0.1", &database.port.to_string()])?;
    assert_eq!((&seen["error"], database.arrivals()?.len()), (&Value::Null, 1), "nothing is attached");
    fs::remove_file(links.join("refuse_mptcp"))?;
    Ok(())
}

#[test]
fn hooks_whose_cgroup_is_gone_are_made_anew_and_not_called_attached() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start(database.port)?;
    let links = hooks(&agent, "link")?;
    agent.kill()?;
    agent.remake_cgroups()?;
    // The kernel lets go of the hooks a moment later; one is attached at the root.
    wait_for("status to tell", || hooks(&agent, "link").is_ok_and(|left| left == links[..1]))?;
    let (_, text) = agent.command(&["status"])?;
    assert!(text.contains("hooks MISSING") && text.contains("connect4"), "{text}");
    agent.restart()?;
    let now = hooks(&agent, "link")?;
    assert!(now.len() == links.len() && now[1..].iter().all(|link| !links.contains(link)), "{now:?}");
    assert_serves(&agent, &database)
}

#[test]
fn a_daemon_for_another_cgroup_moves_the_hooks_there() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start(database.port)?;
    let links = hooks(&agent, "link")?;
    agent.attach_next_to("clients")?;
    agent.succeed()?;
    assert_serves(&agent, &database)?;
    let now = hooks(&agent, "link")?;
    assert!(now.len() == links.len() && now[1..].iter().all(|link| !links.contains(link)), "{now:?}");
    let mut other = agent.client_in("others", "/usr/bin/python3");
    probed(other.args([PROBE, "plain", "127.0.0.1", &database.port.to_string()]))?;
    assert_eq!(database.arrivals()?.len(), 1, "what is outside of the new cgroup is not redirected");
    Ok(())
}

#[test]
fn hooks_of_another_layout_are_replaced() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start_as(database.port, &Start::default())?;
    let links = agent.links()?;
    let version = links.parent().context("layout")?;
    let older = version.with_file_name("v0");
    agent.kill()?;
    fs::rename(version, &older)?;
    agent.restart()?;
    assert!(!older.exists(), "the hooks before are gone");
    assert_serves(&agent, &database)?;
    agent.kill()?;
    fs::rename(version, &older)?;
    let (ok, text) = agent.command(&["uninstall"])?;
    assert!(ok && text.contains("connect4") && !older.exists(), "{text}");
    let named = |record: &serde_json::Value| {
        record["kind"] == "hooks_detached" && record["programs"].to_string().contains("connect4")
    };
    assert!(agent.trail()?.iter().any(named), "the trail names hooks of every layout");
    Ok(())
}
