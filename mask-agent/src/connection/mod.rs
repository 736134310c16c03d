//! One connection: bytes between client, session and upstream. No decisions here.
//!
//! A side is read only while what its last bytes led to has been taken by the other, so memory is bounded by
//! one read and one held frame in each direction, and both directions always make progress.

mod side;
mod vanished;

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use mask_core::{
    audit::Event,
    protocol::postgres::PostgresSession,
    session::{
        CancelKey, DialFault, Freshness, Handshake, Input, Login, Outbox, Session, SessionError, Want,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::side::Side;
pub(crate) use self::vanished::is_gone;
use crate::{
    audit::Subject,
    catalog::{Presence, Taken, Withdrawal},
    intercept::Caller,
    server::{self, Cancels, DRAIN_DEADLINE, Shared},
    tls::Stream,
    upstream::Target,
};

/// A cancelled server answers by closing at once.
const CANCEL_DEADLINE: Duration = Duration::from_secs(10);
/// How long a statement waits to learn whether the snapshot still says what the server has.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);
/// Between two looks whether a client that has said everything still waits for its answer.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// For the last bytes to a client whose connection ends.
const FLUSH_DEADLINE: Duration = Duration::from_secs(10);

/// Time since the first connection, for all of them.
fn clock() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

#[derive(Clone, Copy)]
enum From {
    Client,
    Server,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    #[error("audit trail cannot be written")]
    Audit,
    #[error("client closed")]
    Client,
    #[error("shutting down")]
    Drained,
    #[error("TLS handshake with the client: {0}")]
    Handshake(io::Error),
    #[error("start-up took too long")]
    Slow,
    #[error("{0}")]
    Session(#[from] SessionError),
    #[error("server closed")]
    Server,
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    #[error(
        "the client left when it was asked for its password; where it insists on channel_binding or require_auth, it \
         needs an entry in `logins` with `method: scram`"
    )]
    Unanswered,
    #[error("client vanished; its query was cancelled")]
    Vanished,
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    subject: &'a Subject,
    session: PostgresSession,
    target: Target,
    client: Side,
    server: Option<Side>,
    /// What came of connecting to it beforehand.
    upstream: Option<io::Result<TcpStream>>,
    /// The server could not be reached before anybody had to know.
    failed: Option<DialFault>,
    /// Who is asked first for bytes, in turn.
    server_first: bool,
    out: Outbox,
    cancel: Option<CancelKey>,
    /// That it is in its database, once that is known.
    presence: Option<Presence>,
    /// That the server has a database to itself, until it has answered.
    withdrawal: Option<Withdrawal>,
}

/// A connection of which there is a part already.
pub(crate) struct Begun {
    pub(crate) stream: TcpStream,
    /// What the client has said.
    pub(crate) first: Vec<u8>,
    /// What came of connecting to the server, to whom nobody has said anything.
    pub(crate) upstream: Option<io::Result<TcpStream>>,
}

impl Begun {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, first: Vec::new(), upstream: None }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    subject: &Subject,
    caller: &Caller,
    begun: Begun,
    stop: &mut watch::Receiver<bool>,
) -> Ending {
    let target = shared.upstreams.at(caller.original).await;
    let session = match server::session(shared, Some((caller, &target))) {
        Ok(session) => session,
        Err(error) => return error.into(),
    };
    let mut connection = Connection {
        shared,
        subject,
        session,
        target,
        client: Side::begun(Stream::Plain(begun.stream), begun.first),
        server: None,
        upstream: begun.upstream,
        failed: None,
        server_first: false,
        out: Outbox::default(),
        cancel: None,
        presence: None,
        withdrawal: None,
    };
    let started = tokio::select! {
        started = timeout(shared.login_timeout, connection.start()) => started.unwrap_or(Err(Ending::Slow)),
        // Who is not logged in yet has nothing to lose.
        () = stopped(stop) => Err(Ending::Drained),
    };
    let ended = match started {
        Ok(()) => connection.pump(stop).await,
        Err(ending) => Err(ending),
    };
    connection.presence = None;
    if matches!(ended, Err(Ending::Vanished)) {
        connection.cancel_own().await;
    }
    if let Err(Ending::Session(error @ SessionError::Credential { .. })) = &ended {
        tracing::error!(%error, to = %caller.original, "a login that this host holds is of no use");
    }
    if let Some(key) = &connection.cancel {
        shared.cancels.remove(key);
    }
    let Err(ending) = ended;
    let ending = match ending {
        // Nothing that is said to it is shown: libpq ends with words of its own.
        Ending::Client if connection.session.awaits_password() => Ending::Unanswered,
        ending => ending,
    };
    // Both always end in an error, which is the one we have.
    let _ = match ending {
        Ending::Audit => connection.inject(Input::Unrecorded),
        Ending::Drained => connection.inject(Input::Shutdown),
        Ending::Client
        | Ending::Handshake(_)
        | Ending::Server
        | Ending::Session(_)
        | Ending::Slow
        | Ending::Socket(_)
        | Ending::Unanswered
        | Ending::Vanished => Ok(()),
    };
    // A client that does not read has lost the rest.
    let _ = timeout(FLUSH_DEADLINE, connection.client.finish()).await;
    ending
}

pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Connection<'_> {
    /// Until the session is ready.
    async fn start(&mut self) -> Result<(), Ending> {
        if self.client.holds() {
            let first = self.client.take_back();
            self.feed_all(From::Client, first).await?;
        }
        while !self.session.is_ready() {
            let (from, bytes) = poll_fn(|cx| self.poll(cx)).await?;
            self.take(from, bytes).await?;
        }
        Ok(())
    }

    /// Until either side ends, or the daemon stops and the client needs nothing more.
    async fn pump(&mut self, stop: &mut watch::Receiver<bool>) -> Result<std::convert::Infallible, Ending> {
        let Some(login) = self.session.login().cloned() else { return Err(Ending::Drained) };
        let mut stopping = false;
        let mut stopped = pin!(stopped(stop));
        let mut deadline = pin!(sleep(DRAIN_DEADLINE));
        let mut look = pin!(sleep(LOOK_PAUSE));
        let mut news = pin!(self.shared.catalogs.news(&self.target, &login).next());
        loop {
            tokio::select! {
                biased;
                // First, because what is masked from now on was news before the server could be told to show it.
                (rest, taken) = &mut news => {
                    news.set(rest.next());
                    self.inject(taken.input())?;
                }
                read = poll_fn(|cx| self.poll(cx)) => {
                    let (from, bytes) = read?;
                    self.take(from, bytes).await?;
                }
                () = &mut stopped, if !stopping => {
                    stopping = true;
                    deadline.as_mut().reset(tokio::time::Instant::now() + DRAIN_DEADLINE);
                }
                () = &mut deadline, if stopping => return Err(Ending::Drained),
                () = &mut look, if self.client.ended => {
                    if self.is_in_vain() && self.client.is_gone() {
                        return Err(Ending::Vanished);
                    }
                    look.as_mut().reset(tokio::time::Instant::now() + LOOK_PAUSE);
                }
            }
            if stopping && self.session.is_idle() {
                return Err(Ending::Drained);
            }
        }
    }

    /// Sends what is left to send, and reads from whom the session listens to.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(From, Vec<u8>), Ending>> {
        if self.client.is_sending()
            && let Poll::Ready(Err(error)) = self.client.poll_flush(cx)
        {
            return Poll::Ready(Err(error.into()));
        }
        if let Some(server) = &mut self.server
            && server.is_sending()
            && let Poll::Ready(Err(error)) = server.poll_flush(cx)
        {
            return Poll::Ready(Err(error.into()));
        }
        self.server_first = !self.server_first;
        let order =
            if self.server_first { [From::Server, From::Client] } else { [From::Client, From::Server] };
        for from in order {
            if let Poll::Ready(read) = self.poll_read(from, cx) {
                return Poll::Ready(match read {
                    Ok(bytes) => Ok((from, bytes)),
                    Err(_) if matches!(from, From::Client) && self.is_in_vain() => Err(Ending::Vanished),
                    Err(error) => Err(error.into()),
                });
            }
        }
        Poll::Pending
    }

    fn poll_read(&mut self, from: From, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let server_flushed = self.server.as_ref().is_none_or(Side::is_flushed);
        match (from, &mut self.server) {
            (From::Client, _) if server_flushed && !self.client.ended && self.session.accepts_client() => {
                self.client.poll_read(cx)
            }
            (From::Server, Some(server)) if self.client.is_flushed() && self.session.accepts_server() => {
                server.poll_read(cx)
            }
            _ => Poll::Pending,
        }
    }

    /// Whether nobody would miss what the server is doing, once the client is gone.
    fn is_in_vain(&self) -> bool {
        self.session.only_reads() && !self.client.holds()
    }

    fn side(&mut self, from: From) -> Option<&mut Side> {
        match from {
            From::Client => Some(&mut self.client),
            From::Server => self.server.as_mut(),
        }
    }

    async fn take(&mut self, from: From, bytes: Vec<u8>) -> Result<(), Ending> {
        if bytes.is_empty() {
            return match (from, &mut self.server) {
                (From::Client, Some(server)) => {
                    // The client may still be waiting for its last answer.
                    self.client.ended = true;
                    self.presence = None;
                    server.finish_when_flushed();
                    Ok(())
                }
                (From::Client, None) => Err(Ending::Client),
                (From::Server, _) if self.client.ended => Err(Ending::Client),
                (From::Server, _) => Err(Ending::Server),
            };
        }
        self.feed_all(from, bytes).await?;
        // What the session would not take before, it may take now.
        if matches!(from, From::Server) && self.client.holds() && self.session.accepts_client() {
            let held = self.client.take_back();
            self.feed_all(From::Client, held).await?;
        }
        // What the server said behind its consent waits for the client's proof, and more may not come.
        if matches!(from, From::Client) && !self.session.is_ready() && self.session.accepts_server() {
            let held = self.server.as_mut().filter(|server| server.holds()).map(Side::take_back);
            if let Some(held) = held {
                self.feed_all(From::Server, held).await?;
            }
        }
        Ok(())
    }

    async fn feed_all(&mut self, from: From, bytes: Vec<u8>) -> Result<(), Ending> {
        let consumed = self.feed(from, &bytes).await?;
        if let Some(side) = self.side(from) {
            side.give_back(bytes, consumed);
        }
        Ok(())
    }

    /// Feeds the session until it takes no more; how much it took.
    async fn feed(&mut self, from: From, bytes: &[u8]) -> Result<usize, Ending> {
        let mut consumed = 0;
        loop {
            let (count, loaded) = self.handle(from, &bytes[consumed..]).await?;
            consumed += count;
            let accepts = match from {
                From::Client => self.session.accepts_client(),
                From::Server => self.session.accepts_server(),
            };
            if consumed == bytes.len() || count == 0 && !loaded || !accepts {
                return Ok(consumed);
            }
        }
    }

    /// One call of the session; the bytes it took, and whether it was given a snapshot since.
    async fn handle(&mut self, from: From, bytes: &[u8]) -> Result<(usize, bool), Ending> {
        if self.shared.spool.is_broken() {
            return Err(Ending::Audit);
        }
        self.out.clear();
        self.out.now = clock();
        let input = match from {
            From::Client => Input::Client(bytes),
            From::Server => Input::Server(bytes),
        };
        let result = self.session.handle(input, &mut self.out);
        self.shared.spool.append(Some(self.subject), &self.out.events).map_err(|_| Ending::Audit)?;
        if !self.out.client.is_empty() {
            self.client.send_to_client(&self.out.client, bytes)?;
        }
        if self.out.wants.contains(&Want::Withdraw) {
            self.withdrawal = Some(self.shared.catalogs.withdraw());
        } else if self.withdrawal.is_some() && self.session.is_idle() {
            self.withdrawal = None;
        }
        if !self.out.server.is_empty() {
            if self.server.is_none() {
                self.dial().await?;
            }
            if let Some(server) = &mut self.server {
                server.send_to_server(&self.out.server, bytes)?;
            }
        }
        let mut loaded = false;
        if !self.out.wants.is_empty() {
            for want in std::mem::take(&mut self.out.wants) {
                loaded |= self.fulfil(want, bytes).await?;
            }
        }
        Ok((result?, loaded))
    }

    /// Ends the query that the server is running for nobody.
    async fn cancel_own(&mut self) {
        let Some((to, key)) = self.cancel.as_ref().and_then(|key| self.shared.cancels.find(key)) else {
            return;
        };
        if let Err(error) = cancel(self.shared, &to, &key).await {
            tracing::warn!(%error, %to, "the query of a client that vanished could not be cancelled");
        }
    }

    async fn dial(&mut self) -> Result<(), Ending> {
        if self.failed.is_none() {
            self.connect().await?;
        }
        match self.failed {
            Some(fault) => self.inject(Input::DialFailed(fault)),
            None => Ok(()),
        }
    }

    /// Connects to the server; a failure is for whoever needs it.
    async fn connect(&mut self) -> Result<(), Ending> {
        let to = &self.target;
        // As large as a handshake is long, and every connection would have room for it all its life.
        let dialed = match self.upstream.take() {
            Some(socket) => Box::pin(self.shared.upstreams.dial_on(to, socket)).await,
            None => Box::pin(self.shared.upstreams.dial(to)).await,
        };
        match dialed {
            Ok(dialed) => {
                if matches!(dialed.stream, Stream::Plain(_)) {
                    self.target.name = None;
                }
                if let Some(name) = self.target.name.clone() {
                    let event = Event::DatabaseNamed { name };
                    self.shared.spool.append(Some(self.subject), &[event]).map_err(|_| Ending::Audit)?;
                }
                self.server = Some(Side::new(dialed.stream));
                self.inject(Input::Connected(dialed.binding))
            }
            Err(error) => {
                match error.fault {
                    DialFault::Changed | DialFault::Downgraded => {
                        tracing::error!(%error, %to, "the database may be somebody else, and is refused");
                    }
                    _ => tracing::warn!(%error, %to, "upstream cannot be reached"),
                }
                self.failed = Some(error.fault);
                Ok(())
            }
        }
    }

    /// Encrypts the client's connection.
    async fn secure(&mut self, handshake: Handshake, first: &[u8]) -> Result<(), Ending> {
        // The answer is out before the handshake begins.
        poll_fn(|cx| self.client.poll_flush(cx)).await?;
        let greeted = Box::pin(server::greet(self.client.stream(), handshake, first)).await;
        let greeted = greeted.map_err(Ending::Handshake)?;
        if let Some(name) = greeted.name() {
            self.target = self.shared.upstreams.called(&self.target, &name);
        }
        let to = self.target.clone();
        // A client may expect a name that only the server's certificate tells.
        if self.server.is_none() && self.shared.upstreams.names(&to).is_none() {
            self.connect().await?;
        }
        let binding = Box::pin(server::secure(self.shared, self.client.stream(), greeted, Some(&to)))
            .await
            .map_err(Ending::Handshake)?;
        self.inject(Input::Encrypted(binding))
    }

    /// Tells the session what no peer sent.
    fn inject(&mut self, input: Input<'_>) -> Result<(), Ending> {
        let mut out = Outbox { now: clock(), ..Outbox::default() };
        let result = self.session.handle(input, &mut out);
        self.shared.spool.append(Some(self.subject), &out.events).map_err(|_| Ending::Audit)?;
        self.client.send_to_client(&out.client, &[])?;
        result?;
        Ok(())
    }

    /// Does what the session wants, having been fed these bytes; whether it was given a snapshot.
    async fn fulfil(&mut self, want: Want, bytes: &[u8]) -> Result<bool, Ending> {
        match want {
            Want::Cancel { pid, key } => {
                if let Some((server, key)) = self.shared.cancels.find(&CancelKey { pid, key }) {
                    cancel(self.shared, &server, &key).await?;
                }
                Ok(false)
            }
            Want::LoadCatalog { freshness } => self.load_catalog(freshness).await,
            Want::StartTls(handshake) => {
                self.secure(handshake, bytes).await?;
                Ok(false)
            }
            Want::Taint(taints) => {
                let Some(login) = self.session.login().cloned() else { return Ok(false) };
                let taken = self.shared.catalogs.taint(&self.target, &login, &taints);
                match taken.map_err(|_| Ending::Audit)? {
                    Some(taken) => self.inject(taken.input())?,
                    None => self.inject(Input::SnapshotFailed)?,
                }
                Ok(true)
            }
            Want::FollowCopy(copied) => {
                let Some(login) = self.session.login().cloned() else { return Ok(false) };
                let taken = self.shared.catalogs.follow_copy(&self.target, &login, &copied);
                match taken.map_err(|_| Ending::Audit)? {
                    Some(taken) => self.inject(taken.input())?,
                    None => self.inject(Input::SnapshotFailed)?,
                }
                Ok(true)
            }
            // Done before the server was told anything.
            Want::Withdraw => Ok(false),
            Want::RegisterCancel { client, server } => {
                self.shared.cancels.insert(client.clone(), self.target.clone(), server);
                self.cancel = Some(client);
                Ok(false)
            }
        }
    }

    /// Loads a snapshot that comes as news, whether or not anybody waits for it.
    fn load_beside(&self, to: Target, login: Login) -> JoinHandle<Option<Taken>> {
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let loaded = shared.catalogs.load(&to, &login, Instant::now()).await;
            // The session asks again, and refuses once what it has is too old.
            loaded
                .inspect_err(|error| tracing::warn!(%error, %to, "the catalog could not be loaded again"))
                .ok()
        })
    }

    /// Gives the session a snapshot; one that may be late comes as news later, and nobody waits for it.
    async fn load_catalog(&mut self, freshness: Freshness) -> Result<bool, Ending> {
        let Some(login) = self.session.login().cloned() else { return Ok(false) };
        let to = self.target.clone();
        if self.presence.is_none() && !self.client.ended {
            self.presence = Some(self.shared.catalogs.enter(&to, &login));
        }
        if freshness == Freshness::Cached
            && let Some(recent) = self.shared.catalogs.recent(&to, &login)
        {
            self.inject(recent.input())?;
            return Ok(true);
        }
        if freshness != Freshness::Fresh && self.session.is_ready() {
            let loading = self.load_beside(to, login);
            if freshness == Freshness::Cached {
                return Ok(false);
            }
            // The statement goes on without it, and who asks next may find it loaded.
            let input = match timeout(CHECK_DEADLINE, loading).await {
                Ok(Ok(Some(taken))) => taken.input(),
                Ok(_) | Err(_) => Input::Unchecked,
            };
            self.inject(input)?;
            return Ok(true);
        }
        // As large as its queries are many, and every connection would have room for it all its life.
        let input = match Box::pin(self.shared.catalogs.load(&to, &login, Instant::now())).await {
            Ok(taken) => taken.input(),
            Err(error) => {
                tracing::error!(%error, %to, "the catalog could not be loaded");
                Input::SnapshotFailed
            }
        };
        self.inject(input)?;
        Ok(true)
    }
}

/// Forwards a cancel request and waits until the server has taken it: a late one would hit the next query.
pub(crate) async fn cancel(shared: &Shared, to: &Target, key: &CancelKey) -> io::Result<()> {
    let mut stream = Box::pin(shared.upstreams.dial(to)).await.map_err(io::Error::other)?.stream;
    let length = u32::try_from(12 + key.key.len()).map_err(io::Error::other)?;
    let mut packet = Vec::with_capacity(12 + key.key.len());
    for field in [length, 80_877_102, key.pid] {
        packet.extend_from_slice(&field.to_be_bytes());
    }
    packet.extend_from_slice(&key.key);
    stream.write_all(&packet).await?;
    let mut end = [0; 1];
    let closed = stream.read(&mut end);
    timeout(CANCEL_DEADLINE, closed).await??;
    Ok(())
}

impl Cancels {
    /// Compares keys without an early exit, so that timing tells nothing about them.
    pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
        a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}
