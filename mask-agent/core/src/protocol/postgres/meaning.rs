//! What the session has changed of what words mean: settings, such as the time zone or the role.
//!
//! A question is the same one only under the same settings. Which are in effect is known from what was set outside of
//! transactions or committed; until a transaction ends, all it has set belongs to the question, in order. Where nobody
//! can tell what came of it, nothing asked before is asked again.
//!
//! ```text
//!  Query, Execute ──▶ open ──ReadyForQuery, idle──▶ kept    all has run
//!  Bind ──▶ bound ──┘                          ├──▶ as before   it was local, or rolled back
//!                                              └──▶ lost    some of it has failed
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    budget::parameter,
    queue::{Analysed, Reply, Statement},
    session::PostgresSession,
};
use crate::lineage::{Keeps, Lasts, SetTo, Setting, is_harmless_setting};

/// Changes of settings that are told apart within a transaction; ordinary ones make a handful.
const OPEN_MAX: usize = 1_000;
/// Portals that change settings and were bound and not yet run.
const BOUND_MAX: usize = 1_000;

type Hash = [u8; 16];

/// The settings of a session, as far as words may mean something else by them.
#[derive(Default)]
pub(super) struct Meaning {
    /// What it began with.
    start: Hash,
    /// What was set since.
    kept: BTreeMap<String, Hash>,
    /// Another one each time that nobody can tell what is set.
    lost: Hash,
    /// What was sent since the session was last idle.
    open: Vec<Change>,
    /// How many of these have run.
    ran: usize,
    /// Something has failed since, at a time that is in it.
    failed: Option<Hash>,
    /// Where the first of them was sent.
    began: Began,
    /// What portals do once they are run.
    bound: HashMap<Vec<u8>, Vec<Change>>,
    /// Settings may change with every row that is fetched.
    restless: Restless,
    /// How often there was something that is another thing each time.
    unlike: u64,
}

/// A change of a setting.
struct Change {
    setting: Setting,
    hash: Hash,
}

impl Change {
    /// Whether it only ends a transaction or a part of it.
    fn is_end(&self) -> bool {
        matches!(self.setting, Setting::Committed | Setting::RolledBack | Setting::TakenBack)
    }
}

/// Where the first change since the session was idle was sent.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Began {
    /// By itself, and so it is taken back if it fails.
    Alone,
    /// Inside a transaction, and so it ends with that.
    InTransaction,
    #[default]
    Otherwise,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Restless {
    Always,
    #[default]
    No,
    UntilIdle,
}

/// Whether the server owes nothing, and is in a transaction.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) is_settled: bool,
    pub(super) in_transaction: bool,
}

impl Meaning {
    /// Settings the client asks for at start-up.
    pub(super) fn start(&mut self, settings: &[(Vec<u8>, Vec<u8>)]) {
        let means = |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| !is_harmless_setting(name));
        let parts = settings.iter().filter(|(name, _)| means(name));
        self.start = hash(parts.flat_map(|(name, value)| [&**name, &**value]));
    }

    /// Whether words may mean something else with every row that is fetched.
    pub(super) fn is_restless(&self) -> bool {
        self.restless != Restless::No
    }

    /// What words mean now.
    pub(super) fn hash(&self) -> Hash {
        let kept = self.kept.iter().flat_map(|(name, value)| [name.as_bytes(), &value[..]]);
        let open = self.open.iter().skip_while(|change| change.is_end()).map(|change| &change.hash[..]);
        let failed = self.failed.iter().map(|at| &at[..]);
        let begins = [&self.start[..], &self.lost[..]];
        hash(begins.into_iter().chain(kept).chain([&b"open"[..]]).chain(open).chain(failed))
    }

    /// A simple query is sent.
    pub(super) fn sends(&mut self, analysed: &Analysed, now: Duration, standing: Standing) {
        if analysed.settings.is_empty() {
            return;
        }
        if opens_cursor(analysed) {
            self.restless = Restless::Always;
        }
        let changes = self.changes(analysed, b"", now);
        self.opens(changes, analysed.parts.len() == 1, standing);
    }

    /// A portal is bound.
    pub(super) fn binds(&mut self, portal: &[u8], analysed: &Analysed, parameters: &[u8], now: Duration) {
        self.bound.remove(portal);
        if analysed.settings.is_empty() {
            return;
        }
        let changes = self.changes(analysed, parameters, now);
        if self.bound.len() >= BOUND_MAX || changes.iter().any(|change| change.setting == Setting::Anything) {
            // It may do so row by row.
            self.moves(if opens_cursor(analysed) { Restless::Always } else { Restless::UntilIdle });
        }
        if self.bound.len() < BOUND_MAX {
            self.bound.insert(portal.to_vec(), changes);
        }
    }

    /// A portal is run.
    pub(super) fn runs(&mut self, portal: &[u8], standing: Standing) {
        if let Some(changes) = self.bound.remove(portal) {
            self.opens(changes, true, standing);
        }
    }

    /// What is sent may set anything, which nobody will hear of.
    pub(super) fn may_set_anything(&mut self, now: Duration) {
        self.loses(now);
        self.moves(Restless::UntilIdle);
    }

    /// Nobody can tell any more what is set.
    fn loses(&mut self, now: Duration) {
        self.lost = self.unlike(now);
    }

    /// What is unlike all there was, of other sessions as well.
    fn unlike(&mut self, now: Duration) -> Hash {
        self.unlike += 1;
        hash([&now.as_nanos().to_be_bytes()[..], &self.unlike.to_be_bytes()])
    }

    fn moves(&mut self, until: Restless) {
        if self.restless != Restless::Always {
            self.restless = until;
        }
    }

    /// What a message changes with these parameters.
    fn changes(&mut self, analysed: &Analysed, parameters: &[u8], now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        for (_, setting) in &analysed.settings {
            let hash = match setting {
                Setting::Anything | Setting::TakenBack => self.unlike(now),
                Setting::Committed => hash([&b"committed"[..]]),
                Setting::Discarded => hash([&b"discarded"[..]]),
                Setting::Reset => hash([&b"reset"[..]]),
                Setting::RolledBack => hash([&b"rolled back"[..]]),
                Setting::Set { name, to, lasts } => {
                    let lasts = if *lasts == Lasts::Session { &b"session"[..] } else { b"transaction" };
                    let value = match to {
                        SetTo::Default => hash([&b"default"[..]]),
                        SetTo::Value(value) => hash([&b"value"[..], value.as_bytes()]),
                        SetTo::Parameter(number) => match parameter(parameters, *number) {
                            Some((format, Some(value))) => {
                                hash([&b"given"[..], &format.to_be_bytes(), value])
                            }
                            Some((_, None)) => hash([&b"null"[..]]),
                            None => self.unlike(now),
                        },
                    };
                    hash([lasts, name.as_bytes(), &value])
                }
            };
            changes.push(Change { setting: setting.clone(), hash });
        }
        changes
    }

    fn opens(&mut self, changes: Vec<Change>, is_alone: bool, standing: Standing) {
        for change in changes {
            if !change.is_end() && self.open.iter().all(Change::is_end) {
                self.began = match (standing.is_settled && self.open.is_empty(), standing.in_transaction) {
                    (true, true) => Began::InTransaction,
                    (true, false) if is_alone => Began::Alone,
                    (_, _) => Began::Otherwise,
                };
            }
            if self.open.len() >= OPEN_MAX {
                self.moves(Restless::UntilIdle);
                self.failed.get_or_insert(change.hash);
                return;
            }
            self.open.push(change);
        }
    }

    /// A statement of a string has run.
    pub(super) fn completes(&mut self, analysed: &Analysed, part: usize) {
        let done = analysed.settings.iter().filter(|(at, _)| *at == part);
        self.ran += done.count();
    }

    /// Something has failed.
    pub(super) fn fails(&mut self, now: Duration) {
        if !self.open.is_empty() {
            self.failed = Some(self.unlike(now));
        }
    }

    /// No transaction is open, and nothing owed.
    pub(super) fn is_idle(&mut self, now: Duration) {
        self.bound.clear();
        if self.restless == Restless::UntilIdle {
            self.restless = Restless::No;
        }
        let (open, ran) = (std::mem::take(&mut self.open), std::mem::take(&mut self.ran));
        let (failed, began) = (self.failed.take(), std::mem::take(&mut self.began));
        let ends: Vec<&Setting> = open
            .iter()
            .map(|change| &change.setting)
            .filter(|setting| !matches!(setting, Setting::Set { .. }))
            .collect();
        let is_local = |change: &Change| {
            change.is_end() || matches!(change.setting, Setting::Set { lasts: Lasts::Transaction, .. })
        };
        let is_taken_back = match began {
            Began::Alone => open.len() == 1 && ran == 0 && failed.is_some(),
            Began::InTransaction => *ends == [&Setting::RolledBack],
            Began::Otherwise => false,
        };
        if is_taken_back || open.iter().all(is_local) {
            return;
        }
        let mut taken_back =
            ends.iter().filter(|end| matches!(end, Setting::RolledBack | Setting::TakenBack));
        if failed.is_some() || ran < open.len() || taken_back.next().is_some() {
            self.loses(now);
            return;
        }
        for change in open {
            self.keeps(change);
        }
    }

    fn keeps(&mut self, change: Change) {
        match change.setting {
            Setting::Anything => self.lost = hash([&self.lost[..], &change.hash]),
            Setting::Discarded => {
                self.kept.clear();
                self.lost = Hash::default();
            }
            // It leaves the role alone.
            Setting::Reset => self.kept.retain(|name, _| matches!(&**name, "role" | "session_authorization")),
            Setting::Set { lasts: Lasts::Session, name, to } => {
                if name == "session_authorization" {
                    self.kept.remove("role");
                }
                if to == SetTo::Default {
                    self.kept.remove(&name);
                } else {
                    self.kept.insert(name, change.hash);
                }
            }
            Setting::Committed
            | Setting::RolledBack
            | Setting::Set { lasts: Lasts::Transaction, .. }
            | Setting::TakenBack => {}
        }
    }
}

impl PostgresSession {
    /// How the session stands with the server.
    pub(super) fn standing(&self) -> Standing {
        Standing { is_settled: self.queue.is_settled(), in_transaction: self.in_transaction }
    }

    /// Takes note of settings that are changed by what was prepared under a name.
    pub(super) fn runs_setting(&mut self, analysed: &Analysed, others: &[Statement], now: Duration) {
        let sets = |statement: &Statement| !statement.analysed.settings.is_empty();
        let known = |name: &String| {
            let sent = self.sent.get(name.as_bytes()).map(|sent| &sent.statement);
            let prepared = self.prepared.get(name.as_bytes()).map(|prepared| &prepared.statement);
            sent.into_iter().chain(prepared).any(sets)
        };
        if others.iter().any(sets) || analysed.executes.iter().any(known) {
            self.meaning.may_set_anything(now);
        }
    }

    /// Takes note of definitions that are changed, or may be as they were again.
    pub(super) fn redefines(&mut self, analysed: &Analysed) {
        let takes_back =
            |(_, setting): &(usize, Setting)| matches!(setting, Setting::RolledBack | Setting::TakenBack);
        if analysed.redefines || self.redefined && analysed.settings.iter().any(takes_back) {
            self.redefined |= analysed.redefines;
            if let Some(snapshot) = &self.snapshot {
                snapshot.budget.redefine();
            }
        }
    }

    /// The statement at the head of the queue has run.
    pub(super) fn has_run(&mut self, now: Duration) {
        let part = if let Some(Reply::Simple { part, .. }) = self.queue.head() { *part } else { 0 };
        if let Some(analysed) = self.head_statement().map(|statement| statement.analysed.clone()) {
            self.meaning.completes(&analysed, part);
        }
        self.counts_success(false, now);
    }

    /// No transaction is open, and nothing owed: what was changed holds.
    pub(super) fn settles_meaning(&mut self, now: Duration) {
        self.unsettled = false;
        self.redefined = false;
        self.meaning.is_idle(now);
    }

    /// Something has failed, and what it changed is as it was.
    pub(super) fn takes_back(&mut self, now: Duration) {
        self.meaning.fails(now);
        if let Some(snapshot) = self.snapshot.as_ref().filter(|_| self.redefined) {
            snapshot.budget.redefine();
        }
    }
}

/// Whether it opens a cursor, whose rows are computed as they are fetched.
fn opens_cursor(analysed: &Analysed) -> bool {
    analysed.parts.iter().any(|part| matches!(part.keeps, Some(Keeps::Cursor { .. })))
}

/// A hash of parts, which say themselves where they end.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut short = Hash::default();
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}
