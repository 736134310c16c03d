//! Who is protected, and where databases are, is what the policy says: no more, and no less.

use std::fs;

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Decoy, Netns, Start,
    agent::{PROBE, probed},
    have_root, wait_for,
};
use serde_json::Value;

/// Starts a daemon that takes its targets from a policy.
fn start(rest: &str, netns: Option<&Netns>) -> Result<Agent> {
    let policy = policy("first", rest);
    Agent::start_as(0, &Start { policy: Some(&policy), policy_ports: true, netns, ..Start::default() })
}

fn policy(name: &str, rest: &str) -> String {
    format!("version: 1\nname: {name}\n{rest}\n")
}

/// Whether a connection got to the daemon; otherwise it got to the decoy.
fn is_intercepted(agent: &Agent, decoy: &Decoy<'_>, connect: impl FnOnce() -> Result<Value>) -> Result<bool> {
    let (redirected, arrived) = (agent.counter("redirected")?, decoy.arrivals()?.len());
    let seen = connect()?;
    assert_eq!(seen["error"], Value::Null, "{seen}");
    let redirected = agent.counter("redirected")? - redirected;
    let arrived = decoy.arrivals()?.len() - arrived;
    assert_eq!(redirected + arrived as u64, 1, "either the daemon or the decoy has it: {seen}");
    Ok(redirected == 1)
}

fn plain(agent: &Agent, below: &str, port: u16) -> Result<Value> {
    agent.probe_in(below, &["plain", "127.0.0.1", &port.to_string()])
}

#[test]
fn a_prefix_is_intercepted_and_its_neighbours_are_not() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let (decoy, other) = (Decoy::start_in(&netns)?, Decoy::start_in(&netns)?);
    let port = decoy.port;
    let agent = start(
        &format!(
            "targets:
  - {{ port: {port}, prefix: 198.18.0.0/28 }}
  - {{ port: {port}, prefix: 'fd00::8/125' }}
  - {{ port: {port}, prefix: 127.0.0.1 }}"
        ),
        Some(&netns),
    )?;
    for (address, inside) in [
        ("198.18.0.9", true),
        ("198.18.0.15", true),
        ("::ffff:198.18.0.9", true),
        ("198.18.0.16", false),
        ("::ffff:198.18.0.16", false),
        ("fd00::8", true),
        ("fd00::f", true),
        ("fd00::10", false),
        ("127.0.0.1", true),
        ("0.0.0.0", true),
        ("127.0.0.2", false),
        ("::1", false),
    ] {
        let connect = || agent.probe(&["plain", address, &port.to_string()]);
        assert_eq!(is_intercepted(&agent, &decoy, connect)?, inside, "{address}");
    }
    let connect = || agent.probe(&["plain", "198.18.0.9", &other.port.to_string()]);
    assert!(!is_intercepted(&agent, &other, connect)?, "another port of the same address");
    Ok(())
}

#[test]
fn users_are_included_and_excluded_by_their_real_number() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let decoy = Decoy::start()?;
    let port = decoy.port.to_string();
    let as_user = |agent: &Agent, uids: [&str; 2]| {
        let mut probe = agent.client("setpriv");
        probe.args(["--ruid", uids[0], "--euid", uids[1], "--clear-groups", "/usr/bin/python3", PROBE]);
        probed(probe.args(["plain", "127.0.0.1", &port]))
    };
    let (nobody, root, effective) = (["65534", "65534"], ["0", "0"], ["0", "65534"]);
    let agent = start(&format!("ports: [{port}]\nsubjects: {{ exclude: {{ uids: [65534] }} }}"), None)?;
    for (user, protected) in [(nobody, false), (root, true), (effective, true)] {
        let connect = || as_user(&agent, user);
        assert_eq!(is_intercepted(&agent, &decoy, connect)?, protected, "65534 excluded: {user:?}");
    }
    drop(agent);
    let agent = start(&format!("ports: [{port}]\nsubjects: {{ include: {{ uids: [65534] }} }}"), None)?;
    for (user, protected) in [(nobody, true), (root, false), (effective, false)] {
        let connect = || as_user(&agent, user);
        assert_eq!(is_intercepted(&agent, &decoy, connect)?, protected, "65534 included: {user:?}");
    }
    Ok(())
}

#[test]
fn cgroups_are_included_and_excluded_with_all_below_them() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let decoy = Decoy::start()?;
    let port = decoy.port;
    for (subjects, protected) in [
        ("exclude: { cgroups: [/CGROUP/clients] }", [false, false, true]),
        ("exclude: { cgroups: [/CGROUP/clients/inner] }", [true, false, true]),
        ("include: { cgroups: [/CGROUP/clients] }", [true, true, false]),
        (
            "include: { cgroups: [/CGROUP/clients] }, exclude: { cgroups: [/CGROUP/clients/inner] }",
            [true, false, false],
        ),
        ("include: { cgroups: [/CGROUP/others], uids: [0] }", [true, true, true]),
        ("exclude: { cgroups: [/CGROUP/gone] }", [true, true, true]),
    ] {
        let agent = start(&format!("ports: [{port}]\nsubjects: {{ {subjects} }}"), None)?;
        for (part, protected) in ["clients", "clients/inner", "others"].into_iter().zip(protected) {
            let connect = || plain(&agent, part, port);
            assert_eq!(is_intercepted(&agent, &decoy, connect)?, protected, "{subjects}: {part}");
            let multipath = agent.probe_in(part, &["mptcp", "2"])?;
            assert_eq!(multipath["error"] == "EPERM", protected, "{subjects}: {part}: {multipath}");
        }
    }
    Ok(())
}

#[test]
fn a_reload_changes_targets_and_subjects_and_a_broken_one_changes_nothing() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (one, two) = (Decoy::start()?, Decoy::start()?);
    let agent = start(&format!("ports: [{}]", one.port), None)?;
    let reaches = |decoy: &Decoy<'_>, part: &str| {
        is_intercepted(&agent, decoy, || plain(&agent, part, decoy.port))
            .with_context(|| format!("{part}, port {}", decoy.port))
    };
    assert!(reaches(&one, "clients")? && !reaches(&two, "clients")?);
    let exclude = "subjects: { exclude: { cgroups: [/CGROUP/others] } }";
    agent.reload(&policy("second", &format!("ports: [{}]\n{exclude}", two.port)))?;
    let has = |agent: &Agent, key: &str, value: &str| {
        agent.trail().is_ok_and(|trail| trail.iter().any(|record| record[key] == value))
    };
    wait_for("the second policy", || has(&agent, "name", "second"))?;
    assert!(!reaches(&one, "clients")? && reaches(&two, "clients")? && !reaches(&two, "others")?);
    agent.reload(&policy("third", "ports: [1]\nsubjects: { include: {} }"))?;
    wait_for("the rejection", || has(&agent, "kind", "policy_rejected"))?;
    assert!(!reaches(&one, "clients")? && reaches(&two, "clients")? && !reaches(&two, "others")?);
    Ok(())
}

#[test]
fn while_an_included_cgroup_does_not_exist_everyone_is_protected() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let decoy = Decoy::start()?;
    let include = "subjects: { include: { cgroups: [/CGROUP/late] } }";
    let agent = start(&format!("ports: [{}]\n{include}", decoy.port), None)?;
    let reaches = |part: &str| is_intercepted(&agent, &decoy, || plain(&agent, part, decoy.port));
    for _ in 0..2 {
        assert!(reaches("others")?, "{}", agent.log());
        fs::create_dir(agent.cgroup("late"))?;
        wait_for("the cgroup to be found", || reaches("others").is_ok_and(|protected| !protected))?;
        assert!(reaches("late")?);
        wait_for("its last process to be reaped", || fs::remove_dir(agent.cgroup("late")).is_ok())?;
        wait_for("its end to be noticed", || reaches("others").unwrap_or_default())?;
    }
    Ok(())
}
