//! Two peers around a session, played by hand: what the shell does, without sockets.

#![allow(dead_code, reason = "each test and each fuzz target uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test's own bytes")]

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use mask_core::{
    audit::Event,
    catalog::{Catalog, Column, Contents, Relation, RelationKind},
    masking::MaskKey,
    policy::{Policy, Snapshot},
    protocol::postgres::{
        Access, ClientTls, Credentials, Held, Placeholder, PostgresSession, Relayed, Settings, Verifier,
    },
    session::{Binding, Disclosure, Input, Outbox, PasswordProof, Secret, Session, SessionError, Want},
};

/// What the email column holds: it must never reach the client.
pub const CANARY: &str = "ana.canary@example.org";
/// The relation that has it, and its columns id, city, email.
pub const CUSTOMERS: u32 = 20_001;
/// A relation with nothing to mask: id, label.
pub const PARTS: u32 = 20_002;
pub const INT4: u32 = 23;
pub const TEXT: u32 = 25;

pub fn relation(oid: u32, name: &str, columns: &[(&str, u32)]) -> Relation {
    let columns =
        columns.iter().zip(1..).map(|((name, type_oid), number)| Column::new(number, name, *type_oid));
    Relation::new(oid, "public", name, RelationKind::Table, columns.collect())
}

/// Classified once: a fuzz target makes thousands of peers a second.
static SNAPSHOT: LazyLock<Arc<Snapshot>> = LazyLock::new(|| {
    let relations = vec![
        relation(CUSTOMERS, "customers", &[("id", INT4), ("city", TEXT), ("email", TEXT)]),
        relation(PARTS, "parts", &[("id", INT4), ("label", TEXT)]),
    ];
    let catalog = Catalog::new(Contents { relations, ..Contents::default() });
    Arc::new(Snapshot::new(Arc::new(catalog), &Policy::zero_config(), &[], Arc::default()))
});

pub fn snapshot() -> Arc<Snapshot> {
    SNAPSHOT.clone()
}

/// A proof that is no secret: the test is about the framing.
struct Proof;

impl PasswordProof for Proof {
    fn md5(&self, _user: &[u8], _password: &[u8], _salt: [u8; 4]) -> String {
        "md5proof".to_owned()
    }

    fn scram_first(&mut self, _password: &[u8], binding: Binding<'_>) -> Vec<u8> {
        match binding {
            Binding::Bound(_) => b"p=tls-server-end-point,,first".to_vec(),
            Binding::NotOffered => b"y,,first".to_vec(),
            Binding::Unsupported => b"n,,first".to_vec(),
        }
    }

    fn scram_next(&mut self, _server_first: &[u8]) -> Result<Vec<u8>, SessionError> {
        Ok(b"final".to_vec())
    }

    fn scram_finish(&mut self, _server_final: &[u8]) -> Result<(), SessionError> {
        Ok(())
    }
}

/// The password that no client knows; it may be in nothing that leaves for one.
pub const HELD: &str = "held-secret";

/// A host that holds it.
#[derive(Clone, Copy)]
pub struct Host {
    /// The role, where it is not the client's.
    pub user: Option<&'static str>,
    pub disclosure: Disclosure,
    /// Whether clients have to prove a placeholder.
    pub has_placeholder: bool,
}

impl Credentials for Host {
    fn find(&self, user: &str, _database: &str) -> Access {
        if user == "stranger" {
            return Access::Refused;
        }
        let verifier = Verifier::of(&Secret::new(b"placeholder".to_vec()), [5; 16]);
        Access::Held(Held {
            user: self.user.map(ToOwned::to_owned),
            password: Secret::new(HELD.as_bytes().to_vec()),
            source: "file /etc/x".to_owned(),
            disclosure: self.disclosure,
            placeholder: self.has_placeholder.then_some(Placeholder { verifier, nonce: [3; 18] }),
        })
    }
}

/// Whose bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Client,
    Server,
}

/// A session between two peers, and all that came out of it.
pub struct Peer {
    session: PostgresSession,
    snapshot: Arc<Snapshot>,
    unread: [Vec<u8>; 2],
    pub to_client: Vec<u8>,
    pub to_server: Vec<u8>,
    pub events: Vec<Event>,
    pub wants: Vec<Want>,
    /// The time.
    pub now: Duration,
    /// How old the snapshots are that it is brought; it waits for one where there is none.
    pub snapshot_age: Option<Duration>,
    /// Why it ended; nothing is fed after that.
    pub ended: Option<String>,
}

impl Default for Peer {
    fn default() -> Self {
        Self::with_tls(ClientTls::default())
    }
}

impl Peer {
    /// A session of a daemon that gives its clients TLS, or does not.
    pub fn with_tls(client_tls: ClientTls) -> Self {
        Self::with(client_tls, Box::new(Relayed))
    }

    /// A session of a daemon that holds credentials.
    pub fn with(client_tls: ClientTls, credentials: Box<dyn Credentials>) -> Self {
        let keys = MaskKey::new([7; 32]).into();
        let proof = Box::new(Proof);
        let settings = Settings { keys, cancel_secret: [9; 32], client_tls, proof, credentials };
        Self {
            session: PostgresSession::new(settings),
            snapshot: snapshot(),
            unread: [Vec::new(), Vec::new()],
            to_client: Vec::new(),
            to_server: Vec::new(),
            events: Vec::new(),
            wants: Vec::new(),
            now: Duration::ZERO,
            snapshot_age: Some(Duration::ZERO),
            ended: None,
        }
    }
}

impl Peer {
    /// A session that is logged in and has said nothing yet.
    pub fn ready() -> Self {
        Self::ready_under(&Policy::zero_config())
    }

    /// The same under another policy.
    pub fn ready_under(policy: &Policy) -> Self {
        Self::ready_with(snapshot().catalog.clone(), policy)
    }

    /// The same in another database.
    pub fn ready_with(catalog: Arc<Catalog>, policy: &Policy) -> Self {
        let snapshot = Arc::new(Snapshot::new(catalog, policy, &[], Arc::default()));
        let mut peer = Self { snapshot, ..Self::default() };
        for (from, bytes) in login() {
            peer.feed(from, &bytes);
        }
        assert!(peer.session.is_ready(), "{:?}", peer.ended);
        peer.to_client.clear();
        peer.to_server.clear();
        peer.events.clear();
        peer.wants.clear();
        peer
    }

    /// A session whose client is to prove a placeholder.
    pub fn proving() -> Self {
        let host = Host { user: None, disclosure: Disclosure::Proof, has_placeholder: true };
        let mut peer = Self::with(ClientTls::default(), Box::new(host));
        for (from, bytes) in login() {
            peer.feed(from, &bytes);
        }
        peer
    }

    /// Whether bytes of this side wait for more behind them.
    pub fn holds(&self, from: From) -> bool {
        !self.unread[from as usize].is_empty()
    }

    /// Feeds bytes as they come from a socket.
    pub fn feed(&mut self, from: From, bytes: &[u8]) {
        self.unread[from as usize].extend_from_slice(bytes);
        // What one side leads to may let the other go on.
        while self.ended.is_none() && (self.turn(From::Server) || self.turn(From::Client)) {}
    }

    /// Tells the session what no peer sent.
    pub fn tell(&mut self, input: Input<'_>) {
        let mut out = self.outbox();
        if let Err(error) = self.session.handle(input, &mut out) {
            self.ended = Some(error.to_string());
        }
        self.collect(&[], out);
    }

    /// Goes through the handshake the session waits for, if it does.
    pub fn shake_hands(&mut self) {
        let waited = self.wants.len();
        self.wants.retain(|want| !matches!(want, Want::StartTls(_)));
        if self.wants.len() < waited && self.ended.is_none() {
            assert!(!self.session.accepts_client(), "what comes before the end of a handshake is read");
            self.tell(Input::Encrypted(None));
        }
    }

    /// Whether bytes of the client would be taken now.
    pub fn accepts_client(&self) -> bool {
        self.session.accepts_client()
    }

    /// One call of the session; whether it got any further.
    fn turn(&mut self, from: From) -> bool {
        let accepts = match from {
            From::Client => self.session.accepts_client(),
            From::Server => self.session.accepts_server(),
        };
        let bytes = std::mem::take(&mut self.unread[from as usize]);
        if bytes.is_empty() || !accepts || self.ended.is_some() {
            self.unread[from as usize] = bytes;
            return false;
        }
        let mut out = self.outbox();
        let input = match from {
            From::Client => Input::Client(&bytes),
            From::Server => Input::Server(&bytes),
        };
        let result = self.session.handle(input, &mut out);
        let consumed = *result.as_ref().unwrap_or(&bytes.len());
        assert!(consumed <= bytes.len(), "more was consumed than was fed");
        self.unread[from as usize] = bytes[consumed..].to_vec();
        let loaded = self.collect(&bytes, out);
        if let Err(error) = result {
            self.ended = Some(error.to_string());
        }
        consumed > 0 || loaded
    }

    fn outbox(&self) -> Outbox {
        Outbox { now: self.now, ..Outbox::default() }
    }

    fn collect(&mut self, input: &[u8], mut out: Outbox) -> bool {
        self.to_client.extend(out.client.slices(input).flatten());
        self.to_server.extend(out.server.slices(input).flatten());
        self.events.append(&mut out.events);
        let mut loaded = false;
        for want in out.wants {
            if matches!(want, Want::LoadCatalog { .. }) {
                let Some(age) = self.snapshot_age else {
                    self.wants.push(want);
                    continue;
                };
                let snapshot = Input::Snapshot(self.snapshot.clone(), age);
                let mut out = self.outbox();
                if let Err(error) = self.session.handle(snapshot, &mut out) {
                    self.ended = Some(error.to_string());
                }
                self.collect(&[], out);
                loaded = true;
            } else {
                self.wants.push(want);
            }
        }
        loaded
    }
}

/// A message: type, length, body.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

pub fn startup() -> Vec<u8> {
    let body = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(body.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), body].concat()
}

pub fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

/// A login that asks for nothing.
pub fn login() -> Vec<(From, Vec<u8>)> {
    let answers = [
        message(b'R', &0_u32.to_be_bytes()),
        message(b'S', b"server_version\x0015.18\0"),
        message(b'S', b"standard_conforming_strings\0on\0"),
        message(b'K', &[0, 0, 0, 42, 1, 2, 3, 4]),
        ready(b'I'),
    ];
    vec![(From::Client, startup()), (From::Server, answers.concat())]
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

pub fn bind(portal: &str, name: &str, formats: &[i16]) -> Vec<u8> {
    bind_with(portal, name, &[], formats)
}

/// Bind with parameters, each with its format.
pub fn bind_with(portal: &str, name: &str, parameters: &[(i16, Option<&[u8]>)], formats: &[i16]) -> Vec<u8> {
    let mut body = format!("{portal}\0{name}\0").into_bytes();
    let count = u16::try_from(parameters.len()).unwrap().to_be_bytes();
    body.extend_from_slice(&count);
    for (format, _) in parameters {
        body.extend_from_slice(&format.to_be_bytes());
    }
    body.extend_from_slice(&count);
    for (_, value) in parameters {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.unwrap_or_default());
    }
    body.extend_from_slice(&u16::try_from(formats.len()).unwrap().to_be_bytes());
    for format in formats {
        body.extend_from_slice(&format.to_be_bytes());
    }
    message(b'B', &body)
}

pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[&[kind], name.as_bytes(), b"\0"].concat())
}

pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0", &rows.to_be_bytes()].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// A column as the server describes it: name, relation, number, type, format.
pub type Described<'a> = (&'a str, u32, i16, u32, i16);

pub const ID: Described<'_> = ("id", CUSTOMERS, 1, INT4, 0);
pub const CITY: Described<'_> = ("city", CUSTOMERS, 2, TEXT, 0);
pub const EMAIL: Described<'_> = ("email", CUSTOMERS, 3, TEXT, 0);

pub fn row_description(columns: &[Described<'_>]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (name, relation, number, type_oid, format) in columns {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(&relation.to_be_bytes());
        body.extend_from_slice(&number.to_be_bytes());
        body.extend_from_slice(&type_oid.to_be_bytes());
        body.extend_from_slice(&(-1_i16).to_be_bytes());
        body.extend_from_slice(&(-1_i32).to_be_bytes());
        body.extend_from_slice(&format.to_be_bytes());
    }
    message(b'T', &body)
}

pub fn data_row(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = u16::try_from(cells.len()).unwrap().to_be_bytes().to_vec();
    for cell in cells {
        match cell {
            None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend_from_slice(value);
            }
        }
    }
    message(b'D', &body)
}

pub fn complete(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), b"\0"].concat())
}

pub fn error(sqlstate: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{sqlstate}\0M{text}\0\0").as_bytes())
}

/// A server's answers, frame by frame, to what reached it: it knows `customers` and nothing else.
#[derive(Default)]
pub struct Server {
    unread: Vec<u8>,
    failed: bool,
}

impl Server {
    /// Answers the whole frames among these bytes.
    pub fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.unread.extend_from_slice(bytes);
        let mut answers = Vec::new();
        while let Some(length) = self.unread.get(1..5) {
            let end = 1 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.unread.len() < end {
                break;
            }
            let frame: Vec<u8> = self.unread.drain(..end).collect();
            answers.extend(self.reply(frame[0], &frame[5..]));
        }
        answers
    }

    fn reply(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let refused = body.windows(10).any(|window| window == b"mask_agent");
        let row = data_row(&[Some(b"1"), Some(b"Lisbon"), Some(CANARY.as_bytes())]);
        let columns = row_description(&[ID, CITY, EMAIL]);
        match kind {
            b'S' => {
                self.failed = false;
                ready(b'I')
            }
            b'Q' if refused => [error("42601", "syntax error"), ready(b'I')].concat(),
            b'Q' => [columns, row, complete("SELECT 1"), ready(b'I')].concat(),
            _ if self.failed => Vec::new(),
            b'P' if refused => {
                self.failed = true;
                error("42601", "syntax error")
            }
            b'P' => message(b'1', &[]),
            b'B' => message(b'2', &[]),
            b'C' => message(b'3', &[]),
            b'D' if body[0] == b'S' => [message(b't', &[0, 0]), columns].concat(),
            b'D' => columns,
            b'E' => [row, complete("SELECT 1")].concat(),
            _ => Vec::new(),
        }
    }
}

/// Whether a text stands anywhere in these bytes.
pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The messages in these bytes, whole: kind and body.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let end = 1 + u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        frames.push((bytes[0], bytes[5..end].to_vec()));
        bytes = &bytes[end..];
    }
    frames
}
