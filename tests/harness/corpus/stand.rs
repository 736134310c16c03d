//! A server with the schema, and an agent for each policy.

use anyhow::Result;

use super::{Case, Door, Outcome, Policy, Runner, schema};
use crate::{Agent, Postgres};

/// What statements are tried on.
pub struct Servers {
    /// The server itself.
    pub port: u16,
    /// The ways into the cgroups of the agents.
    pub doors: Vec<(Policy, u16)>,
    // In this order: the doors close before the agents end, and the agents before the server.
    _doors: Vec<Door>,
    _agents: Vec<Agent>,
    _postgres: Postgres,
}

impl Servers {
    /// Starts a server, of a major version or the system's own, and an agent for each policy.
    pub fn start(policies: &[Policy], major: Option<u16>) -> Result<Self> {
        let postgres = major.map_or_else(|| Postgres::start("trust"), Postgres::start_major)?;
        // Vacuum and analyze would come in between, and change what statistics say.
        postgres.setup("alter system set autovacuum = off")?;
        postgres.setup(&format!("select pg_reload_conf();\n{}", schema()?))?;
        let mut agents = vec![];
        let mut doors = vec![];
        let mut ports = vec![];
        for policy in policies {
            let agent = Agent::start_with(postgres.port, Some(&policy.text()?))?;
            let door = Door::open(&agent, postgres.port)?;
            ports.push((*policy, door.port));
            agents.push(agent);
            doors.push(door);
        }
        Ok(Self { port: postgres.port, doors: ports, _doors: doors, _agents: agents, _postgres: postgres })
    }
}

/// What the corpus is run on.
pub struct Stand {
    runner: Runner,
    _servers: Servers,
}

impl Stand {
    /// Starts what it takes.
    pub fn start(policies: &[Policy], major: Option<u16>) -> Result<Self> {
        let servers = Servers::start(policies, major)?;
        Ok(Self { runner: Runner::new(servers.port, &servers.doors)?, _servers: servers })
    }

    /// The server's major version.
    pub fn major(&self) -> u32 {
        self.runner.major()
    }

    /// Tries a case without agents.
    pub fn prove(&mut self, case: &Case) -> Vec<Outcome> {
        self.runner.prove(case).unwrap_or_else(|error| vec![Outcome::broken(case, &error)])
    }

    /// Runs a case through every agent.
    pub fn run(&mut self, case: &Case) -> Vec<Outcome> {
        self.runner.run(case).unwrap_or_else(|error| vec![Outcome::broken(case, &error)])
    }
}
