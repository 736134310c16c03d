//! The session: what it holds, and what the shell tells it.
//!
//! ```text
//! Opening ──Startup──▶ LoggingIn ──AuthenticationOk──▶ Starting ──snapshot, ReadyForQuery──▶ Ready
//!                        │  ▲
//!                        ▼  │ the client has proved its placeholder
//!                       Proving
//! ```

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    copy::Copying,
    copy_in::CopyInScan,
    credentials::{Credentials, Held, Proving},
    encoding::Encodings,
    encryption::{ClientTls, Encryption},
    error::{Fault, OVERLOADED, PROTOCOL, SHUTDOWN, UNRECORDED},
    frontend::QUEUE_MAX,
    meaning::Meaning,
    outputs::{Outputs, Shape},
    queue::{Analysed, Portal, Prepared, Queue, Reply, Statement},
    record::Current,
};
use crate::{
    lineage::{CopiedDatabase, Overlay},
    masking::KeyRing,
    policy::{Budgeted, Mode, Snapshot, Taint},
    session::{ChannelBinding, Freshness, Input, Login, Outbox, PasswordProof, Session, SessionError, Want},
};

/// How long the shell is given to bring a snapshot before it is asked again.
const SNAPSHOT_ASK_PAUSE: Duration = Duration::from_secs(1);

/// What a session is made with.
pub struct Settings {
    /// Keys of the masks.
    pub keys: KeyRing,
    /// Random bytes for the client's cancel key.
    pub cancel_secret: [u8; 32],
    /// Whether the client gets TLS.
    pub client_tls: ClientTls,
    /// How a password is proved to the server.
    pub proof: Box<dyn PasswordProof>,
    /// Whose password that is.
    pub credentials: Box<dyn Credentials>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    LoggingIn(Asked),
    Opening,
    /// The client has to prove a placeholder before what the server asked for is answered.
    Proving(Asked),
    Ready,
    Starting,
}

/// What the server asked for, and so what the client's password is turned into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Clear,
    Md5([u8; 4]),
    Nothing,
    Scram,
    /// Bound to the server's certificate.
    ScramPlus,
}

/// A statement as the client's next message will find it.
pub(super) struct Sent {
    pub(super) statement: Statement,
    /// When it was analysed.
    pub(super) epoch: u64,
    /// The run of messages up to a Sync that it was sent in; none for a PREPARE, whose failure skips nothing.
    pub(super) run: Option<u64>,
    /// Whether its output columns are known or asked for.
    pub(super) described: bool,
    /// Parameters that were declared to be something else than text.
    pub(super) odd: Vec<u16>,
}

/// A PostgreSQL session between one client and one upstream.
pub struct PostgresSession {
    pub(super) settings: Settings,
    pub(super) phase: Phase,
    pub(super) encryption_asked: u8,
    pub(super) encryption: Encryption,
    /// What a login to the server can be bound to.
    pub(super) binding: Option<ChannelBinding>,
    /// What a login of the client can be bound to.
    pub(super) client_binding: Option<ChannelBinding>,
    /// The credential of the host's it logs in with, until it is in.
    pub(super) held: Option<Held>,
    pub(super) proving: Option<Proving>,
    /// A password was sent, or a proof of one.
    pub(super) has_answered: bool,
    /// The server has yet to prove that it knows the password.
    pub(super) is_unproved: bool,
    pub(super) minor: u16,
    /// The server's process, once it has said so.
    pub(super) pid: Option<u32>,
    pub(super) login: Option<Login>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// The moment it is of.
    pub(super) snapshot_of: Duration,
    /// When it could not be learnt whether the snapshot still holds.
    pub(super) unchecked_at: Option<Duration>,
    /// Nothing more from the client until the snapshot that was asked for is here.
    pub(super) waiting: bool,
    /// Since when a statement waits that names what no snapshot knows.
    pub(super) stranger_since: Option<Duration>,
    /// A description waits for it.
    pub(super) awaited: bool,
    /// The last description that told of unknown columns.
    pub(super) strangers: Option<Arc<Shape>>,
    /// When the shell was last asked for a snapshot.
    pub(super) asked_at: Option<Duration>,
    pub(super) catalog_dirty: bool,
    /// Counts whatever may change what a statement's names mean.
    pub(super) epoch: u64,
    /// The schemas unqualified names are looked up in; none where that is not known.
    pub(super) path: Option<Vec<String>>,
    /// The search path a statement has set, once nothing can take it back.
    pub(super) next_path: Option<Vec<String>>,
    /// What the settings of the session make of words.
    pub(super) meaning: Meaning,
    /// Definitions were changed by which words mean something else, and may still be taken back.
    pub(super) redefined: bool,
    /// The client asked for settings at start-up that may hold a search path.
    pub(super) starts_with_path: bool,
    /// Definitions the current transaction has changed.
    pub(super) overlay: Overlay,
    /// Columns the shell was told to remember.
    pub(super) remembered: HashSet<Taint>,
    /// Databases made of others that the shell was told to follow.
    pub(super) copied: HashSet<CopiedDatabase>,
    /// Hashes of the sets of masked columns the client was told of, which may be long.
    pub(super) told: HashSet<u64>,
    /// The COPY whose rows are arriving.
    pub(super) copy: Option<Copying>,
    /// The COPY into masked columns whose rows the client sends.
    pub(super) copy_in: Option<CopyInScan>,
    /// Why the COPY was ended whose failure the server has not told yet.
    pub(super) copy_refused: Option<Fault>,
    /// Names were changed by what may still be rolled back.
    pub(super) unsettled: bool,
    pub(super) lexer_is_safe: bool,
    pub(super) encodings: Encodings,
    /// Messages that may have changed settings, which the server reports when it is idle.
    pub(super) unreported: usize,
    pub(super) queue: Queue,
    /// Counts runs of messages up to a Sync.
    pub(super) run: u64,
    pub(super) prepared: HashMap<Vec<u8>, Prepared>,
    pub(super) portals: HashMap<Vec<u8>, Portal>,
    pub(super) sent: HashMap<Vec<u8>, Sent>,
    /// What statements ask of masked columns that were given names, by these.
    pub(super) uses: HashMap<Vec<u8>, Vec<Budgeted>>,
    /// Of SQL in `sent`.
    pub(super) statements_bytes: usize,
    /// Portals bound and not described, and the statement each came from.
    pub(super) undescribed: HashMap<Vec<u8>, Vec<u8>>,
    /// Prepared statements in whose text the server was told the value of a token.
    pub(super) turned_names: HashSet<Vec<u8>>,
    /// The server was told the value of a token.
    pub(super) has_turned: bool,
    /// Nothing more from the client until the server has answered.
    pub(super) settling: bool,
    /// Whether the server could parse the client's next query, where it was asked.
    pub(super) tried: Option<bool>,
    pub(super) decisions: HashMap<Box<[u8]>, Arc<Analysed>>,
    /// Room for the key of a decision.
    pub(super) decision_key: Vec<u8>,
    pub(super) current: Option<Current>,
    pub(super) outputs: Outputs,
    pub(super) statements: u64,
    /// A statement of this transaction touched sensitive relations: a deferred constraint may quote them.
    pub(super) tainted: bool,
    pub(super) in_transaction: bool,
    pub(super) server_pass: usize,
    pub(super) client_pass: usize,
}

impl PostgresSession {
    /// A session that has read nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            phase: Phase::Opening,
            encryption_asked: 0,
            encryption: Encryption::default(),
            binding: None,
            client_binding: None,
            held: None,
            proving: None,
            has_answered: false,
            is_unproved: false,
            minor: 0,
            pid: None,
            login: None,
            snapshot: None,
            snapshot_of: Duration::ZERO,
            unchecked_at: None,
            waiting: false,
            stranger_since: None,
            awaited: false,
            strangers: None,
            asked_at: None,
            catalog_dirty: false,
            epoch: 0,
            path: None,
            next_path: None,
            meaning: Meaning::default(),
            redefined: false,
            starts_with_path: false,
            overlay: Overlay::default(),
            remembered: HashSet::new(),
            copied: HashSet::new(),
            told: HashSet::new(),
            copy: None,
            copy_in: None,
            copy_refused: None,
            unsettled: false,
            lexer_is_safe: true,
            encodings: Encodings::default(),
            unreported: 0,
            queue: Queue::default(),
            run: 0,
            prepared: HashMap::new(),
            portals: HashMap::new(),
            sent: HashMap::new(),
            uses: HashMap::new(),
            statements_bytes: 0,
            undescribed: HashMap::new(),
            turned_names: HashSet::new(),
            has_turned: false,
            settling: false,
            tried: None,
            decisions: HashMap::new(),
            decision_key: Vec::new(),
            current: None,
            outputs: Outputs::default(),
            statements: 0,
            tainted: false,
            in_transaction: false,
            server_pass: 0,
            client_pass: 0,
        }
    }

    /// Who logged in where; known from the first [`Want::LoadCatalog`] on.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Whether the client was asked for its password and has not answered.
    pub fn awaits_password(&self) -> bool {
        matches!(self.phase, Phase::LoggingIn(asked) if asked != Asked::Nothing)
    }

    pub(super) fn enforces(&self) -> bool {
        self.snapshot.as_ref().is_none_or(|snapshot| snapshot.mode == Mode::Enforce)
    }

    /// Tells the client and ends the connection.
    pub(super) fn fatal(
        out: &mut Outbox,
        sqlstate: &'static str,
        why: &'static str,
        error: SessionError,
    ) -> SessionError {
        out.client.message(|out| Fault::fatal(sqlstate, why).write(out));
        out.is_told = true;
        error
    }

    /// Tells a client that has logged in, or tries to, what is wrong with its bytes; inside a row there is no room for it.
    fn tell_violation(&self, error: SessionError, out: &mut Outbox) -> SessionError {
        match error {
            SessionError::Client(why)
                if !out.is_told && self.server_pass == 0 && self.phase != Phase::Opening =>
            {
                Self::fatal(out, PROTOCOL, why, error)
            }
            error => error,
        }
    }

    /// Whatever was analysed before may mean something else now.
    pub(super) fn names_changed(&mut self) {
        self.epoch += 1;
    }

    /// Names are looked up elsewhere from now on; what was decided about them is forgotten.
    pub(super) fn take_path(&mut self, path: Option<Vec<String>>) {
        if self.path != path {
            self.path = path;
            self.decisions.clear();
        }
    }

    /// The same for a statement, whose change ends with its transaction unless that is committed.
    pub(super) fn names_changed_by_statement(&mut self) {
        self.unsettled = true;
        self.names_changed();
    }

    /// A transaction or a part of it ends here: what was changed in it may be as it was before.
    pub(super) fn transaction_may_end(&mut self) {
        if self.unsettled {
            self.names_changed();
        }
    }

    /// Whether a description waits until a fresh snapshot is here, because it tells of a column that no snapshot
    /// knows; once, after which what is still unknown is redacted.
    pub(super) fn awaits_strangers(&mut self, shape: &Arc<Shape>, out: &mut Outbox) -> bool {
        let Some(snapshot) = self.snapshot.as_ref().filter(|_| self.enforces() && self.overlay.is_empty())
        else {
            return false;
        };
        if std::mem::take(&mut self.awaited) {
            self.ruled_anew();
            return false;
        }
        let is_known = self.strangers.as_ref().is_some_and(|known| Arc::ptr_eq(known, shape));
        if is_known || !shape.has_stranger(snapshot) {
            return false;
        }
        self.strangers = Some(shape.clone());
        self.awaited = true;
        self.waiting = true;
        self.ask_snapshot(Freshness::Fresh, out);
        true
    }

    /// Asks for a snapshot; one that need not be fresh comes when it comes, and is asked for once a second.
    pub(super) fn ask_snapshot(&mut self, freshness: Freshness, out: &mut Outbox) {
        let asked = self.asked_at.is_some_and(|at| out.now.saturating_sub(at) < SNAPSHOT_ASK_PAUSE);
        if freshness == Freshness::Cached && asked {
            return;
        }
        self.asked_at = Some(out.now);
        out.wants.push(Want::LoadCatalog { freshness });
    }

    fn take_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        let same = self.snapshot.as_ref().is_some_and(|held| Arc::ptr_eq(held, &snapshot));
        if self.snapshot.is_none() && !self.starts_with_path {
            self.path = snapshot.catalog.search_path().map(<[String]>::to_vec);
        }
        if !same {
            self.snapshot = Some(snapshot);
            self.names_changed();
            self.decisions.clear();
            self.outputs.clear();
            self.strangers = None;
        }
        self.waiting = false;
    }
}

impl Session for PostgresSession {
    fn handle(&mut self, input: Input<'_>, out: &mut Outbox) -> Result<usize, SessionError> {
        match input {
            Input::Client(bytes) => self.client(bytes, out).map_err(|error| self.tell_violation(error, out)),
            Input::Server(bytes) => {
                let consumed = self.server(bytes, out)?;
                self.settling &= consumed == 0;
                Ok(consumed)
            }
            Input::Snapshot(snapshot, age) => {
                self.snapshot_of = self.snapshot_of.max(out.now.saturating_sub(age));
                self.take_snapshot(snapshot);
                Ok(0)
            }
            Input::Unchecked => {
                self.unchecked_at = Some(out.now);
                self.waiting = false;
                Ok(0)
            }
            Input::Connected(binding) => {
                self.binding = binding;
                Ok(0)
            }
            Input::DialFailed(fault) => Err(Self::dial_failed(fault, out)),
            Input::Encrypted(binding) => {
                self.encryption = Encryption::Encrypted;
                self.client_binding = binding;
                Ok(0)
            }
            Input::Overloaded => {
                let why = "sorry, too many clients already";
                Err(Self::fatal(out, OVERLOADED, why, SessionError::Finished))
            }
            Input::Shutdown => {
                let why = "the proxy is shutting down; connect again";
                Err(Self::fatal(out, SHUTDOWN, why, SessionError::Finished))
            }
            // What the description tells of stays unknown, and is redacted.
            Input::SnapshotFailed if self.awaited => {
                self.waiting = false;
                Ok(0)
            }
            // Inside a row there is no room for a message.
            Input::SnapshotFailed | Input::Unrecorded if self.server_pass > 0 => Err(SessionError::Finished),
            Input::SnapshotFailed => {
                Fault::unread_catalog().tell(out);
                Err(SessionError::Server("catalog not loaded"))
            }
            Input::Unrecorded => {
                let why = "the audit trail cannot be written, so nothing is answered";
                Err(Self::fatal(out, UNRECORDED, why, SessionError::Finished))
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    fn is_idle(&self) -> bool {
        match self.phase {
            Phase::Opening => true,
            Phase::Ready => {
                self.queue.len() == 0
                    && !self.in_transaction
                    && self.client_pass == 0
                    && self.server_pass == 0
            }
            Phase::LoggingIn(_) | Phase::Proving(_) | Phase::Starting => false,
        }
    }

    fn only_reads(&self) -> bool {
        let reads = |statement: &Statement| statement.analysed.only_reads;
        let mut bound = HashMap::new();
        let is_reading = |reply: &Reply| match reply {
            Reply::Bind { portal, statement, .. } => {
                let only = statement.as_ref().is_some_and(reads);
                bound.insert(portal.clone(), only);
                true
            }
            Reply::Execute { portal } => bound.get(portal).copied().unwrap_or_else(|| {
                self.portals.get(portal).is_some_and(|portal| reads(&portal.prepared.statement))
            }),
            Reply::Simple { statement, .. } => reads(statement),
            Reply::Close { .. }
            | Reply::DescribePortal { .. }
            | Reply::DescribeStatement { .. }
            | Reply::Parse { .. }
            | Reply::Probe { .. }
            | Reply::Refused { .. }
            | Reply::RefusedQuery { .. }
            | Reply::Sync
            | Reply::Trial { .. } => true,
        };
        self.phase == Phase::Ready
            && self.queue.len() > 0
            && self.client_pass == 0
            && self.copy_in.is_none()
            && self.queue.oldest_first().all(is_reading)
    }

    fn accepts_client(&self) -> bool {
        !self.waiting
            && !self.settling
            && self.encryption != Encryption::Securing
            && self.queue.len() < QUEUE_MAX
    }

    fn accepts_server(&self) -> bool {
        match self.phase {
            Phase::Proving(_) => false,
            Phase::Starting => !self.waiting,
            Phase::LoggingIn(_) | Phase::Opening | Phase::Ready => true,
        }
    }
}
