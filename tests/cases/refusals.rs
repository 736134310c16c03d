//! Whoever is refused in the kernel is in the trail, by name, and does not flood it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use mask_tests::{Agent, Decoy, Netns, Start, have_root, wait_for};
use serde_json::Value;

/// Records of refusals for a reason, once there are some.
fn refusals(agent: &Agent, reason: &str) -> Result<Vec<Value>> {
    let mut found = vec![];
    wait_for("a record of the refusal", || {
        let of_reason = |record: &Value| {
            record["kind"] == "connection_refused"
                && record["reason"].as_str().is_some_and(|text| text.contains(reason))
        };
        found = agent.trail().unwrap_or_default().into_iter().filter(of_reason).collect();
        !found.is_empty()
    })
    .with_context(|| format!("{reason}\n{}", agent.log()))?;
    Ok(found)
}

#[test]
fn a_refusal_names_who_was_refused_and_where_it_was_to_go() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let database = Decoy::start_in(&netns)?;
    let agent = Agent::start_as(database.port, &Start { netns: Some(&netns), ..Start::default() })?;
    let port = database.port.to_string();
    // In the background, so that it is still there when its record is written.
    let mut load = agent.client("/usr/bin/python3");
    let script = "import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'other0')
try: s.connect(('198.18.0.9', int(sys.argv[1])))
except ConnectionRefusedError: print('refused', flush=True)
sys.stdin.read()";
    load.args(["-c", script, &port]).stdin(std::process::Stdio::piped());
    let mut child = load.stdout(std::process::Stdio::null()).spawn()?;
    let found = refusals(&agent, "bound to a device");
    let pid = child.id();
    drop(child.stdin.take());
    child.wait()?;
    let found = found?;
    let to = SocketAddr::from(([198, 18, 0, 9], database.port));
    assert_eq!(found.len(), 1, "{found:#?}");
    let caller = &found[0]["caller"];
    assert_eq!(
        (&found[0]["to"], &caller["pid"], &caller["uid"]),
        (&to.to_string().into(), &pid.into(), &0.into())
    );
    assert!(caller["exe"].as_str().is_some_and(|exe| exe.contains("python3")), "{caller}");
    assert!(caller["cgroup"].as_str().is_some_and(|cgroup| cgroup.ends_with("/clients")), "{caller}");
    assert!(found[0]["age_ms"].as_u64().is_some_and(|age| age < 10_000), "{}", found[0]);
    assert_eq!(found[0]["connection"], Value::Null);

    agent.probe(&["mptcp", "10"])?;
    let found = refusals(&agent, "multipath")?;
    assert_eq!((found.len(), &found[0]["to"]), (1, &Value::Null), "it had not said where to: {found:#?}");
    // Nothing is recorded of a connection that is served, or is nobody's business.
    agent.probe(&["plain", "198.18.0.9", &port])?;
    let refused = |record: &&Value| record["kind"] == "connection_refused";
    assert_eq!(agent.trail()?.iter().filter(refused).count(), 2);
    Ok(())
}

#[test]
fn what_was_refused_while_no_daemon_ran_is_recorded_by_the_next() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start(database.port)?;
    agent.kill()?;
    let seen = agent.probe(&["plain", "127.0.0.1", &database.port.to_string()])?;
    assert_eq!(seen["error"], "ECONNREFUSED");
    agent.restart()?;
    let found = refusals(&agent, "no listener")?;
    let to = SocketAddr::from(([127, 0, 0, 1], database.port));
    assert_eq!((found.len(), &found[0]["to"]), (1, &to.to_string().into()));
    assert_eq!(found[0]["caller"]["exe"], Value::Null, "the process is gone: its number may be another's");
    assert_eq!(found[0]["caller"]["comm"], "python3");
    Ok(())
}

#[test]
fn a_burst_of_refusals_is_counted_and_not_all_recorded() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start(database.port)?;
    agent.kill()?;
    let port = database.port.to_string();
    let seen = agent.probe(&["storm", "127.0.0.1", &port, "4", "250"])?;
    assert_eq!(seen["errors"]["ECONNREFUSED"], 1000);
    agent.restart()?;
    let mut omitted = 0;
    wait_for("the count of the omitted", || {
        let trail = agent.trail().unwrap_or_default();
        let counts = trail.iter().filter(|record| record["kind"] == "refusals_omitted");
        omitted = counts.filter_map(|record| record["count"].as_u64()).sum();
        omitted > 0
    })?;
    let recorded = refusals(&agent, "no listener")?.len();
    assert!(recorded >= 100, "{recorded}");
    assert_eq!(omitted + recorded as u64, 1000, "every refusal is recorded or counted");
    assert_eq!(agent.counter("refusals_lost")?, 0);
    Ok(())
}

#[test]
fn what_the_kernel_cannot_hold_is_counted() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start(database.port)?;
    agent.kill()?;
    // A MiB holds some ten thousand.
    let seen = agent.probe(&["storm", "127.0.0.1", &database.port.to_string(), "4", "3000"])?;
    assert_eq!(seen["errors"]["ECONNREFUSED"], 12_000);
    let lost = agent.counter("refusals_lost")?;
    assert!(lost > 0 && lost < 6_000, "{lost}");
    assert_eq!(agent.counter("no_listener")?, 12_000);
    Ok(())
}

#[test]
fn the_programs_log_when_they_are_asked_to_and_only_then() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    for (arguments, logs) in [(&["--debug-ebpf"][..], true), (&[], false)] {
        let agent = Agent::start_with_arguments(database.port, arguments)?;
        agent.probe(&["plain", "127.0.0.1", &database.port.to_string()])?;
        agent.probe(&["mptcp", "2"])?;
        refusals(&agent, "multipath")?;
        if logs {
            wait_for("the programs' log", || {
                let log = agent.log();
                log.contains("redirected pid") && log.contains("refused pid")
            })?;
        } else {
            assert!(!agent.log().contains("redirected pid"), "{}", agent.log());
        }
    }
    Ok(())
}
