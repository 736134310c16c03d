//! Addresses of databases that are configured by name, as the host's resolver tells them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};

/// Names are looked up again after so long.
const REFRESH: Duration = Duration::from_mins(1);
/// And at once for an address that nobody knows, but not more often than this.
const PAUSE: Duration = Duration::from_secs(1);
/// Clients go on using what their own resolvers have kept.
const KEPT: Duration = Duration::from_mins(10);
/// A resolver that does not answer holds up clients of databases that may be another's for so long.
const DEADLINE: Duration = Duration::from_secs(5);

/// Names, and where they have led lately.
#[derive(Default)]
pub(super) struct Hosts {
    names: Vec<String>,
    known: Mutex<Known>,
    /// Held while looking up, so that many who ask at once ask once.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// When they were last looked up.
    looked: Option<Instant>,
    /// When each address was last an answer.
    addresses: HashMap<String, HashMap<IpAddr, Instant>>,
}

impl Known {
    fn is_older_than(&self, age: Duration) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= age)
    }

    fn take(&mut self, name: String, addresses: impl Iterator<Item = IpAddr>, now: Instant) {
        let known = self.addresses.entry(name).or_default();
        known.extend(addresses.map(|address| (address.to_canonical(), now)));
        known.retain(|_, seen| now.duration_since(*seen) < KEPT);
    }
}

impl Hosts {
    pub(super) fn new(names: impl Iterator<Item = String>) -> Self {
        Self { names: names.collect(), ..Self::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a name leads to an address, or has of late.
    pub(super) fn leads(&self, name: &str, address: IpAddr) -> bool {
        let known = self.known();
        known.addresses.get(name).is_some_and(|known| known.contains_key(&address.to_canonical()))
    }

    /// Sees to it that what is known is recent. Who comes for an address that nobody knows waits for it.
    pub(super) async fn refresh(self: &Arc<Self>, is_known: bool) {
        if self.names.is_empty() {
            return;
        }
        if !is_known {
            self.look_up(PAUSE).await;
        } else if self.known().is_older_than(REFRESH) {
            let hosts = self.clone();
            tokio::spawn(async move { hosts.look_up(REFRESH).await });
        }
    }

    async fn look_up(&self, age_max: Duration) {
        let _looking = self.looking.lock().await;
        if !self.known().is_older_than(age_max) {
            return;
        }
        let mut answers: JoinSet<_> = self
            .names
            .iter()
            .cloned()
            .map(|name| async move {
                let answer = timeout(DEADLINE, tokio::net::lookup_host((name.clone(), 0))).await;
                let addresses = answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
                (name, addresses.map(|all| all.map(|address| address.ip()).collect::<Vec<_>>()))
            })
            .collect();
        while let Some(Ok((name, addresses))) = answers.join_next().await {
            match addresses {
                Ok(addresses) => self.known().take(name, addresses.into_iter(), Instant::now()),
                Err(error) => tracing::warn!(%error, name, "a database's name leads nowhere"),
            }
        }
        self.known().looked = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_for_a_while_after_its_name_leads_elsewhere() {
        let hosts = Hosts::new(["db.example".to_owned()].into_iter());
        let [first, second] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let begun = Instant::now();
        let take = |address, after| {
            hosts.known().take("db.example".into(), [address].into_iter(), begun + after);
        };
        take(first, Duration::ZERO);
        assert!(hosts.leads("db.example", "::ffff:10.0.0.1".parse().unwrap()));
        assert!(!hosts.leads("db.example", second) && !hosts.leads("other.example", first));
        take(second, KEPT / 2);
        assert!(hosts.leads("db.example", first) && hosts.leads("db.example", second));
        take(second, KEPT);
        assert!(!hosts.leads("db.example", first) && hosts.leads("db.example", second));
    }
}
