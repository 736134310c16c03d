//! The accept loop, its limits, and what connections share.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mask_core::{
    audit::Event,
    masking::KeyRing,
    protocol::postgres::{ClientTls, Credentials, NONCE_BYTES, PostgresSession, Relayed, Settings},
    session::{CancelKey, ChannelBinding, Handshake, Input, Outbox, Session, Want},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

use crate::{
    audit::{Spool, Subject},
    catalog::Catalogs,
    connection::{self, Begun},
    control::Report,
    intercept::{Caller, Cause, Peers, identity},
    logins::{Asking, Logins},
    sniff,
    tls::{self, Stream},
    upstream::{self, Target, Upstreams},
    workers::Workers,
};

/// Refused connections that are told so at a time.
const REFUSALS_MAX: usize = 64;
/// More than the longest cancel request.
const FIRST_BYTES: usize = 1024;
/// For the first bytes of a connection that is not served.
const FIRST_BYTES_DEADLINE: Duration = Duration::from_secs(5);
/// How long connections have to end after a stop.
pub(crate) const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which upstream key a client's cancel key stands for, by process number.
#[derive(Default)]
pub(crate) struct Cancels(Mutex<HashMap<u32, Vec<Issued>>>);

struct Issued {
    key: Vec<u8>,
    upstream: Target,
    server: CancelKey,
}

impl Cancels {
    pub(crate) fn insert(&self, client: CancelKey, upstream: Target, server: CancelKey) {
        let mut issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        issued.entry(client.pid).or_default().push(Issued { key: client.key, upstream, server });
    }

    pub(crate) fn find(&self, client: &CancelKey) -> Option<(Target, CancelKey)> {
        let issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let issued = issued.get(&client.pid)?.iter().find(|issued| Self::same(&issued.key, &client.key))?;
        Some((issued.upstream.clone(), issued.server.clone()))
    }

    pub(crate) fn remove(&self, client: &CancelKey) {
        let mut issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same_pid) = issued.get_mut(&client.pid) {
            same_pid.retain(|issued| issued.key != client.key);
            if same_pid.is_empty() {
                issued.remove(&client.pid);
            }
        }
    }
}

/// What every connection has at hand.
pub(crate) struct Shared {
    pub(crate) peers: Peers,
    pub(crate) upstreams: Arc<Upstreams>,
    /// None where clients get no TLS.
    pub(crate) clients: Option<tls::Clients>,
    client_tls: ClientTls,
    pub(crate) catalogs: Catalogs,
    pub(crate) spool: Spool,
    pub(crate) cancels: Cancels,
    keys: RwLock<KeyRing>,
    logins: RwLock<Arc<Logins>>,
    random: Mutex<File>,
    connections: AtomicU64,
    /// One for each connection there may be.
    slots: Arc<Semaphore>,
    connections_max: u32,
    /// For start-up and login together.
    pub(crate) login_timeout: Duration,
}

/// What [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) peers: Peers,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) clients: Option<tls::Clients>,
    pub(crate) client_tls: ClientTls,
    pub(crate) catalogs: Catalogs,
    pub(crate) spool: Spool,
    pub(crate) keys: KeyRing,
    pub(crate) logins: Logins,
    pub(crate) connections_max: u32,
    pub(crate) login_timeout: Duration,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let Parts {
            peers,
            upstreams,
            clients,
            client_tls,
            catalogs,
            spool,
            keys,
            logins,
            connections_max,
            login_timeout,
        } = parts;
        Ok(Self {
            peers,
            upstreams,
            clients,
            client_tls,
            catalogs,
            spool,
            cancels: Cancels::default(),
            keys: RwLock::new(keys),
            logins: RwLock::new(Arc::new(logins)),
            random: Mutex::new(File::open("/dev/urandom")?),
            connections: AtomicU64::new(0),
            slots: Arc::new(Semaphore::new(connections_max as usize)),
            connections_max,
            login_timeout,
        })
    }

    /// The keys of a connection that is opened now; it has them to its end.
    pub(crate) fn keys(&self) -> KeyRing {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives other keys to connections that are opened from now on.
    pub(crate) fn set_keys(&self, keys: KeyRing) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The logins that are held now.
    pub(crate) fn logins(&self) -> Arc<Logins> {
        self.logins.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives other logins to connections that are opened from now on.
    pub(crate) fn set_logins(&self, logins: Logins) {
        *self.logins.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(logins);
    }

    /// What the daemon says of itself.
    pub(crate) fn report(&self) -> Report {
        let free = u32::try_from(self.slots.available_permits()).unwrap_or(self.connections_max);
        Report {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy: self.catalogs.policy().name().to_owned(),
            connections: self.connections_max.saturating_sub(free).into(),
            connections_total: self.connections.load(Ordering::Relaxed),
        }
    }

    /// Waits until the last connection has ended.
    pub(crate) async fn drained(&self) {
        // The semaphore is never closed.
        let _ = self.slots.acquire_many(self.connections_max).await;
    }

    /// Random bytes of the kernel's generator.
    pub(crate) fn random(&self) -> io::Result<[u8; 32]> {
        let mut bytes = [0; 32];
        let mut file = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Accepts until told to stop.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) {
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let shared = shared.clone();
        if let Ok(slot) = shared.slots.clone().try_acquire_owned() {
            let mut stop = stop.clone();
            let serving = workers.serve(stream, async move |stream| {
                admit(&shared, stream, &mut stop).await;
                drop(slot);
            });
            if let Err(error) = serving {
                tracing::warn!(%error, "an accepted connection is lost");
            }
        } else {
            record_refusal(&shared, "too many connections");
            // Beyond these, a closed connection has to be answer enough.
            if let Ok(slot) = refusals.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(
                        FIRST_BYTES_DEADLINE,
                        turn_away(&shared, stream, Input::Overloaded),
                    )
                    .await;
                    drop(slot);
                });
            }
        }
    }
}

fn record_refusal(shared: &Shared, reason: &str) {
    tracing::warn!(reason, "connection refused");
    // Without a trail there is nothing to serve either; the spool has said so itself.
    let event = Event::ConnectionRefused { reason: reason.to_owned(), age_ms: None };
    let _ = shared.spool.append(None, &[event]);
}

/// Random bytes of the kernel's generator.
pub(crate) fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A session for a connection, by whom and to which database where it is for a login.
pub(crate) fn session(shared: &Shared, login: Option<(&Caller, &Target)>) -> io::Result<PostgresSession> {
    let credentials: Box<dyn Credentials> = match login {
        Some((caller, to)) => {
            let mut nonce = [0; NONCE_BYTES];
            nonce.copy_from_slice(&shared.random()?[..NONCE_BYTES]);
            let disclosure = shared.upstreams.disclosure(to);
            Box::new(Asking { logins: shared.logins(), caller: caller.clone(), disclosure, nonce })
        }
        None => Box::new(Relayed),
    };
    Ok(PostgresSession::new(Settings {
        keys: shared.keys(),
        cancel_secret: shared.random()?,
        client_tls: shared.client_tls,
        proof: Box::new(upstream::Proof::default()),
        credentials,
    }))
}

/// What a connection is opened for.
enum Opening {
    Cancel(CancelKey),
    Login(Box<PostgresSession>),
}

/// Reads on until the client has said it; none where it says nonsense, or nothing.
async fn opening(shared: &Shared, stream: &mut Stream) -> io::Result<Option<Opening>> {
    let mut session = Box::new(session(shared, None)?);
    let mut bytes = [0; FIRST_BYTES];
    let mut filled = 0;
    loop {
        let count = stream.read(&mut bytes[filled..]).await?;
        filled += count;
        let mut out = Outbox::default();
        let handled = session.handle(Input::Client(&bytes[..filled]), &mut out);
        if let [Want::Cancel { pid, key }] = &out.wants[..] {
            return Ok(Some(Opening::Cancel(CancelKey { pid: *pid, key: key.clone() })));
        }
        // Whoever says nonsense gets no answer.
        if handled.is_ok() {
            for slice in out.client.slices(&bytes[..filled]) {
                stream.write_all(slice).await?;
            }
        }
        if let [Want::StartTls(handshake)] = &out.wants[..] {
            let first = &bytes[..filled];
            let greeted = greet(stream, *handshake, first).await?;
            secure(shared, stream, greeted, None).await?;
            let told = session.handle(Input::Encrypted(None), &mut Outbox::default());
            if told.is_err() {
                return Ok(None);
            }
        }
        match handled {
            // What is meant for the server is the login.
            Ok(_) if out.server.slices(&bytes[..filled]).next().is_some() => {
                return Ok(Some(Opening::Login(session)));
            }
            Ok(consumed) if count > 0 && (consumed > 0 || filled < bytes.len()) => {
                bytes.copy_within(consumed..filled, 0);
                filled -= consumed;
            }
            Ok(_) | Err(_) => return Ok(None),
        }
    }
}

/// Begins to encrypt a client's connection; `first` is what was consumed of it to say so.
pub(crate) async fn greet(
    stream: &mut Stream,
    handshake: Handshake,
    first: &[u8],
) -> io::Result<tls::Greeted> {
    let socket = stream.take_plain().ok_or(io::ErrorKind::AlreadyExists)?;
    let first = match handshake {
        Handshake::Direct => first,
        Handshake::Requested => &[],
    };
    tls::Greeted::read(socket, handshake, first).await
}

/// Encrypts a client's connection to a database, if it is to any.
pub(crate) async fn secure(
    shared: &Shared,
    stream: &mut Stream,
    greeted: tls::Greeted,
    to: Option<&Target>,
) -> io::Result<Option<ChannelBinding>> {
    let clients = shared.clients.as_ref().ok_or(io::ErrorKind::Unsupported)?;
    let names = to.and_then(|to| shared.upstreams.names(to)).unwrap_or_default();
    let (encrypted, binding) = clients.accept(greeted, &names, to.map(|to| to.address.ip())).await?;
    *stream = encrypted;
    Ok(binding)
}

/// Answers as a server does that has no slot left, or a full disk; a client that is closed without a word would try
/// again. A cancel request needs no slot: it is how one becomes free.
async fn turn_away(shared: &Shared, stream: TcpStream, why: Input<'_>) -> io::Result<()> {
    let mut stream = Stream::Plain(stream);
    match opening(shared, &mut stream).await? {
        Some(Opening::Login(mut session)) => {
            let mut out = Outbox::default();
            // It always ends in an error, which is the one meant.
            let _ = session.handle(why, &mut out);
            for slice in out.client.slices(&[]) {
                stream.write_all(slice).await?;
            }
            stream.shutdown().await
        }
        Some(Opening::Cancel(key)) => cancel(shared, &key).await.map_err(io::Error::other),
        None => Ok(()),
    }
}

async fn cancel(shared: &Shared, key: &CancelKey) -> Result<(), &'static str> {
    let (server, key) = shared.cancels.find(key).ok_or("a cancel request with an unknown key")?;
    connection::cancel(shared, &server, &key).await.map_err(|_| "a cancel request that failed")
}

/// A connection that no hook has seen may only carry a cancel request with a key of ours.
async fn direct(shared: &Shared, stream: TcpStream) -> Result<(), &'static str> {
    let mut stream = Stream::Plain(stream);
    match tokio::time::timeout(FIRST_BYTES_DEADLINE, opening(shared, &mut stream)).await {
        Ok(Ok(Some(Opening::Cancel(key)))) => cancel(shared, &key).await,
        _ => Err("a connection that did not come through the redirect"),
    }
}

async fn admit(shared: &Arc<Shared>, stream: TcpStream, stop: &mut watch::Receiver<bool>) {
    let Some(caller) = shared.peers.caller(stream.as_fd()) else {
        if let Err(reason) = direct(shared, stream).await {
            record_refusal(shared, reason);
        }
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "client is gone already");
    }
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    let subject = match Subject::new(Some(number), &caller, identity(caller.pid)) {
        Ok(subject) => subject,
        Err(error) => {
            tracing::error!(%error, "the caller cannot be recorded");
            return;
        }
    };
    let sniffed = caller.cause == Cause::Subject;
    if shared.spool.append(Some(&subject), &[Event::ConnectionOpened { sniffed }]).is_err() {
        let _ =
            tokio::time::timeout(FIRST_BYTES_DEADLINE, turn_away(shared, stream, Input::Unrecorded)).await;
        return;
    }
    let closed = match caller.cause {
        Cause::Subject => sniff::serve(shared, &subject, &caller, stream, stop).await,
        Cause::Target => {
            let ending = connection::serve(shared, &subject, &caller, Begun::new(stream), stop).await;
            Event::ConnectionClosed { reason: ending.to_string(), relayed: None }
        }
    };
    tracing::debug!(connection = number, caller = caller.pid, to = %caller.original, ?closed, "closed");
    let _ = shared.spool.append(Some(&subject), &[closed]);
}
