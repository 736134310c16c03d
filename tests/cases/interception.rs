//! Whichever way a program opens a connection, it is the daemon that gets it, or nobody.
//!
//! A decoy plays the database: whoever reaches it, other than through the daemon, would have read it in clear.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    process::Command,
};

use anyhow::{Context, Result};
use mask_tests::{
    Agent, Decoy, Netns, Start,
    agent::{PROBE, probed},
    have_root, wait_for,
};
use serde_json::Value;

/// Ways that lead to an address of their own, in the order and by the names of the script.
const WAYS: [(&str, Kind); 20] = [
    ("v4", Kind::V4),
    ("v4 not blocking", Kind::V4),
    ("v6", Kind::V6),
    ("v6 only", Kind::V6),
    ("v4-mapped on v6", Kind::Mapped),
    ("bound to 127.0.0.5", Kind::V4),
    ("bound to a real address", Kind::V4),
    ("bound to device lo", Kind::V4),
    ("unicast interface", Kind::V4),
    ("fast open", Kind::V4),
    ("fast open v6", Kind::V6),
    ("fast open by connect", Kind::V4),
    ("fast open by connect v6", Kind::V6),
    ("io_uring", Kind::V4),
    ("io_uring async", Kind::V4),
    ("io_uring polled", Kind::V4),
    ("io_uring polled async", Kind::V4),
    ("turned to another", Kind::V4),
    ("any address", Kind::Any4),
    ("any address v6", Kind::Any6),
];

#[derive(Clone, Copy)]
enum Kind {
    /// The unspecified address, which is loopback.
    Any4,
    Any6,
    /// IPv4-mapped on an IPv6 socket.
    Mapped,
    V4,
    V6,
}

impl Kind {
    fn address(self, number: u8) -> IpAddr {
        match self {
            Self::Any4 => IpAddr::from([127, 0, 0, 1]),
            Self::Any6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            Self::Mapped | Self::V4 => IpAddr::from([198, 18, 0, number]),
            Self::V6 => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)]),
        }
    }

    /// As the client's own socket tells it.
    fn shown(self, number: u8, port: u16) -> String {
        match (self, self.address(number)) {
            (Self::Mapped, address) => format!("[::ffff:{address}]:{port}"),
            (_, address) => SocketAddr::new(address, port).to_string(),
        }
    }
}

/// Goes every way to a port; where the connections should have gone.
pub(crate) fn go_every_way(agent: &Agent, port: u16) -> Result<Vec<SocketAddr>> {
    let seen = agent.probe(&["ways", &port.to_string(), "198.18.0.1", "other0"])?;
    let seen = seen.as_array().context("a list")?;
    assert_eq!(seen.len(), WAYS.len(), "{seen:#?}");
    let mut meant = vec![];
    for (number, ((name, kind), seen)) in (10..).zip(WAYS.iter().zip(seen)) {
        assert_eq!((seen["way"].as_str(), seen["number"].as_u64()), (Some(*name), Some(number.into())));
        let shown = kind.shown(number, port);
        assert_eq!((&seen["error"], &seen["peer"]), (&Value::Null, &shown.into()), "{name}");
        meant.push(SocketAddr::new(kind.address(number), port));
    }
    // The first half of `turned to another`.
    meant.push(SocketAddr::from(([198, 18, 0, 250], port)));
    meant.sort();
    Ok(meant)
}

/// Destinations of all connections in the trail, once there are as many as expected.
pub(crate) fn recorded(agent: &Agent, count: usize) -> Result<Vec<SocketAddr>> {
    let mut to = vec![];
    wait_for("the trail to have every connection", || {
        let trail = agent.trail().unwrap_or_default();
        let opened = trail.iter().filter(|record| record["kind"] == "connection_opened");
        to = opened.filter_map(|record| record["to"].as_str()?.parse().ok()).collect();
        to.len() >= count
    })
    .with_context(|| format!("{to:#?}"))?;
    to.sort();
    Ok(to)
}

fn arrived(decoy: &Decoy<'_>) -> Result<Vec<SocketAddr>> {
    let mut arrived: Vec<_> = decoy.arrivals()?.iter().map(|arrival| arrival.to).collect();
    arrived.sort();
    Ok(arrived)
}

fn refused(seen: &Value) -> bool {
    seen["error"] == "ECONNREFUSED" && seen["seconds"].as_f64().is_some_and(|seconds| seconds < 2.0)
}

#[test]
fn every_way_to_connect_leads_to_the_daemon_and_shows_the_address_that_was_meant() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let (database, other) = (Decoy::start_in(&netns)?, Decoy::start_in(&netns)?);
    let agent = Agent::start_as(database.port, &Start { netns: Some(&netns), ..Start::default() })?;
    let meant = go_every_way(&agent, database.port)?;
    assert_eq!(recorded(&agent, meant.len())?, meant);
    assert_eq!(arrived(&database)?, [], "the database was reached past the daemon");
    assert_eq!(agent.counter("peer_unknown")?, 0);

    let untouched = go_every_way(&agent, other.port)?;
    assert_eq!(arrived(&other)?, untouched, "a port that is no database's");
    assert_eq!(recorded(&agent, meant.len())?, meant, "and the trail knows nothing of it");
    Ok(())
}

#[test]
fn a_socket_bound_to_a_device_that_cannot_reach_the_daemon_is_refused_at_once() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let (database, other) = (Decoy::start_in(&netns)?, Decoy::start_in(&netns)?);
    let agent = Agent::start_as(database.port, &Start { netns: Some(&netns), ..Start::default() })?;
    let seen = agent.probe(&["device", "198.18.0.9", &database.port.to_string(), "other0"])?;
    assert!(refused(&seen), "{seen}");
    assert_eq!(agent.counter("foreign_device")?, 1);
    let seen = agent.probe(&["device", "198.18.0.9", &other.port.to_string(), "other0"])?;
    assert_ne!(seen["error"], "ECONNREFUSED", "it leads nowhere, but the hooks let it: {seen}");
    assert_eq!((arrived(&database)?, agent.counter("foreign_device")?), (vec![], 1));
    Ok(())
}

#[test]
fn multipath_tcp_is_refused_and_plain_tcp_works_beside_it() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let agent = Agent::start(database.port)?;
    for family in ["2", "10"] {
        let seen = agent.probe(&["mptcp", family])?;
        assert_eq!(seen["error"], "EPERM", "family {family}");
    }
    assert_eq!(agent.counter("mptcp_refused")?, 2);
    let seen = agent.probe(&["plain", "127.0.0.1", &database.port.to_string()])?;
    assert_eq!(seen["peer"], format!("127.0.0.1:{}", database.port));
    assert_eq!(arrived(&database)?, []);
    Ok(())
}

#[test]
fn a_socket_that_turns_to_another_service_reaches_it_and_shows_its_address() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (database, other) = (Decoy::start()?, Decoy::start()?);
    let agent = Agent::start(database.port)?;
    let (to, then) = (database.port.to_string(), other.port.to_string());
    let seen = agent.probe(&["turned", "127.0.0.1", &to, "127.0.0.2", &then])?;
    let second = SocketAddr::from(([127, 0, 0, 2], other.port));
    assert_eq!(seen["peer"], second.to_string(), "not what the socket meant before");
    assert_eq!((arrived(&other)?, arrived(&database)?), (vec![second], vec![]));
    assert_eq!(recorded(&agent, 1)?, [SocketAddr::from(([127, 0, 0, 1], database.port))]);
    // To the proxy itself: what the socket meant before is not what it means now.
    let proxy = agent.proxy_port.to_string();
    let seen = agent.probe(&["turned", "127.0.0.1", &to, "127.0.0.1", &proxy])?;
    assert_eq!(seen["peer"], format!("127.0.0.1:{proxy}"));
    assert_eq!((agent.counter("peer_known")?, agent.counter("peer_unknown")?), (2, 1));
    Ok(())
}

#[test]
fn a_child_cgroup_is_protected_and_a_new_network_namespace_leaks_nothing() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let agent = Agent::start(database.port)?;
    let port = database.port.to_string();
    let to = SocketAddr::from(([127, 0, 0, 1], database.port));
    let seen = agent.probe_in("clients/inner", &["plain", "127.0.0.1", &port])?;
    assert_eq!(seen["peer"], to.to_string());
    // One that stays: of a process that has ended, no cgroup is found.
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -r line <&3");
    let mut staying = agent.client_in("clients/inner", "bash");
    let mut staying = staying.args(["-c", &script]).spawn()?;
    let of_inner = |record: &Value| {
        let caller = &record["caller"];
        caller["pid"] == staying.id()
            && caller["cgroup"].as_str().is_some_and(|path| path.ends_with("clients/inner"))
    };
    let recorded_inner = wait_for("the record of the child cgroup", || {
        agent.trail().is_ok_and(|trail| trail.iter().any(of_inner))
    });
    staying.kill()?;
    staying.wait()?;
    recorded_inner?;
    // The daemon does not listen in a new namespace, whatever the caller makes of its loopback.
    for loopback in ["down", "up"] {
        let mut probe = agent.client("unshare");
        let script = format!("ip link set lo {loopback} && exec python3 \"$@\"");
        probe.args(["--user", "--map-root-user", "--net", "sh", "-c", &script, "sh", PROBE]);
        let seen = probed(probe.args(["plain", "127.0.0.1", &port]))?;
        assert!(refused(&seen), "loopback {loopback}: {seen}");
    }
    assert_eq!(arrived(&database)?, []);
    assert_eq!(recorded(&agent, 2)?, [to, to]);
    Ok(())
}

#[test]
fn ten_thousand_connections_reset_at_once_all_have_a_caller() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let agent = Agent::start(database.port)?;
    let seen = agent.probe(&["storm", "127.0.0.1", &database.port.to_string(), "4", "2500"])?;
    assert_eq!((&seen["made"], &seen["errors"]), (&10_000.into(), &serde_json::json!({})));
    let mut known = 0;
    wait_for("every connection to be seen", || {
        known = agent.counter("peer_known").unwrap_or_default();
        known >= 10_000
    })
    .with_context(|| format!("{known}"))?;
    assert_eq!((known, agent.counter("peer_unknown")?, agent.counter("storage_failed")?), (10_000, 0, 0));
    assert_eq!(arrived(&database)?, []);
    let port = database.port.to_string();
    assert_eq!(agent.probe(&["plain", "127.0.0.1", &port])?["error"], Value::Null, "and it still serves");
    Ok(())
}

#[test]
fn what_an_unfinished_connect_left_is_not_taken_for_a_later_caller() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let netns = Netns::new()?;
    let database = Decoy::start_in(&netns)?;
    let agent = Agent::start_as(database.port, &Start { netns: Some(&netns), ..Start::default() })?;
    let source = "23456";
    let rules = "add table inet lost; add chain inet lost out { type filter hook output priority 0; };
        add rule inet lost out tcp sport 23456 drop";
    let nft = |arguments: &[&str]| -> Result<()> {
        let (ok, text) = mask_tests::output(netns.command("nft").args(arguments))?;
        assert!(ok, "nft {arguments:?}: {text}");
        Ok(())
    };
    nft(&[rules])?;
    let seen = agent.probe(&["bound", "198.18.0.9", &database.port.to_string(), source])?;
    assert_ne!(seen["error"], Value::Null, "its packets were dropped");
    assert_eq!((agent.counter("redirected")?, agent.counter("peer_known")?), (1, 0));
    nft(&["delete", "table", "inet", "lost"])?;
    // Straight to the proxy from the same address and port: nobody the hooks vouch for.
    let seen = agent.probe(&["bound", "127.0.0.1", &agent.proxy_port.to_string(), source])?;
    assert_eq!(seen["error"], Value::Null);
    wait_for("the refusal", || {
        let refused = |record: &Value| record["kind"] == "connection_refused";
        agent.trail().is_ok_and(|trail| trail.iter().any(refused))
    })?;
    assert_eq!((agent.counter("peer_known")?, agent.counter("peer_unknown")?), (0, 1));
    assert_eq!(recorded(&agent, 0)?, []);
    // The same port, redirected again: the new destination and no other.
    let seen = agent.probe(&["bound", "198.18.0.8", &database.port.to_string(), source])?;
    let to = SocketAddr::from(([198, 18, 0, 8], database.port));
    assert_eq!(seen["peer"], to.to_string());
    assert_eq!(recorded(&agent, 1)?, [to]);
    Ok(())
}

#[test]
fn an_impostor_on_the_proxys_port_gets_nothing() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let mut agent = Agent::start(database.port)?;
    agent.kill()?;
    let impostor = Decoy::start_on(agent.proxy_port)?;
    let port = database.port.to_string();
    for address in ["127.0.0.1", "::1"] {
        let seen = agent.probe(&["plain", address, &port])?;
        assert!(refused(&seen), "{address}: {seen}");
    }
    assert_eq!((arrived(&impostor)?, arrived(&database)?), (vec![], vec![]));
    drop(impostor);
    agent.restart()?;
    let seen = agent.probe(&["plain", "127.0.0.1", &port])?;
    assert_eq!(seen["error"], Value::Null, "the daemon itself is known again");
    Ok(())
}

#[test]
fn a_forged_mark_opens_nothing() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let agent = Agent::start(database.port)?;
    let mut probe = agent.client("setpriv");
    probe.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all,+net_raw"]);
    probe.args(["--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw", "/usr/bin/python3", PROBE]);
    let seen = probed(probe.args(["marked", "127.0.0.1", &database.port.to_string()]))?;
    let to = SocketAddr::from(([127, 0, 0, 1], database.port));
    assert_eq!(seen["peer"], to.to_string(), "it could set the mark, and was redirected: {seen}");
    assert_eq!((recorded(&agent, 1)?, arrived(&database)?), (vec![to], vec![]));
    let trail = agent.trail()?;
    assert!(trail.iter().any(|record| record["caller"]["uid"] == 65534), "{trail:#?}");
    Ok(())
}

#[test]
fn a_socket_belongs_to_the_cgroup_it_was_made_in() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let database = Decoy::start()?;
    let agent = Agent::start(database.port)?;
    let port = database.port.to_string();
    let to = SocketAddr::from(([127, 0, 0, 1], database.port));
    let moved = |command: &mut Command, cgroup: &std::path::Path| -> Result<Value> {
        probed(command.args(["moved", "127.0.0.1", &port]).arg(cgroup))
    };
    let outside = mask_tests::agent::cgroup_root()?;
    let inside = |cgroup: &std::path::Path| {
        let mut command = agent.client("/usr/bin/python3");
        moved(command.arg(PROBE), cgroup)
    };
    // Between protected cgroups, and out of them all: redirected.
    for cgroup in [&agent.cgroup("others"), &outside] {
        assert_eq!(inside(cgroup)?["peer"], to.to_string());
    }
    assert_eq!((recorded(&agent, 2)?, arrived(&database)?), (vec![to, to], vec![]));
    // Made outside of what is protected, and moved in: not seen. It is why the daemon attaches at the root.
    let mut command = Command::new("/usr/bin/python3");
    assert_eq!(moved(command.arg(PROBE), &agent.cgroup("clients"))?["peer"], to.to_string());
    assert_eq!((recorded(&agent, 2)?.len(), arrived(&database)?), (2, vec![to]));
    Ok(())
}

#[test]
fn attached_at_the_root_every_process_is_protected_and_other_ports_are_not_touched() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let (database, other) = (Decoy::start()?, Decoy::start()?);
    let agent = Agent::start_as(database.port, &Start { at_root: true, ..Start::default() })?;
    let to = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let plain = |port: u16| {
        let mut command = Command::new("/usr/bin/python3");
        probed(command.arg(PROBE).args(["plain", "127.0.0.1", &port.to_string()]))
    };
    assert_eq!(plain(database.port)?["peer"], to(database.port).to_string());
    assert_eq!(plain(other.port)?["peer"], to(other.port).to_string());
    let mut moved = Command::new("/usr/bin/python3");
    moved.arg(PROBE).args(["moved", "127.0.0.1", &database.port.to_string()]).arg(agent.cgroup("clients"));
    assert_eq!(probed(&mut moved)?["error"], Value::Null);
    assert_eq!(recorded(&agent, 2)?, [to(database.port), to(database.port)]);
    assert_eq!(arrived(&other)?, [to(other.port)]);
    let (ok, text) = agent.command(&["uninstall"])?;
    assert!(ok && text.contains("connect4"), "{text}");
    // Our own look at the decoy is itself a connection that was redirected until now.
    assert_eq!(arrived(&database)?, []);
    Ok(())
}
