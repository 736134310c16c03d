//! One connection: bytes between client, session and upstream. No decisions here.
//!
//! A side is read only while what its last bytes led to has been taken by the other, so memory is bounded by
//! one read and one held frame in each direction, and both directions always make progress.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    sync::Arc,
    time::{Duration, Instant},
};

use mask_core::{
    masking::MaskKey,
    protocol::postgres::{FRAME_BYTES_MAX, PostgresSession, Settings},
    session::{CancelKey, Input, Outbox, Session, SessionError, Want},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

use crate::{
    audit::Subject,
    intercept::Caller,
    server::{Cancels, Shared},
    upstream,
};

/// One read; larger ones gained nothing on loopback.
const READ_BYTES: usize = 64 << 10;
/// Start-up and login together; PostgreSQL's own `authentication_timeout` is as long.
const STARTUP_DEADLINE: Duration = Duration::from_secs(60);
/// A cancelled server answers by closing at once.
const CANCEL_DEADLINE: Duration = Duration::from_secs(10);
/// Slices of one vectored write.
const SLICES_MAX: usize = 64;

thread_local! {
    /// Shared by the connections of a worker thread, so that an idle connection holds no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// One side: its socket, what was read and not consumed, what is to be sent and was not taken.
struct Side {
    stream: TcpStream,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    ended: bool,
}

impl Side {
    fn new(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new(), unsent: Vec::new(), ended: false }
    }

    /// Sends what the socket takes now, and keeps the rest.
    fn send<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        let slices: Vec<&[u8]> = slices.collect();
        let mut sent = 0;
        if self.unsent.is_empty() {
            for group in slices.chunks(SLICES_MAX) {
                let vectors: Vec<IoSlice<'_>> = group.iter().map(|slice| IoSlice::new(slice)).collect();
                let length: usize = group.iter().map(|slice| slice.len()).sum();
                match self.stream.try_write_vectored(&vectors) {
                    Ok(count) => {
                        sent += count;
                        if count < length {
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        for slice in slices {
            let skip = sent.min(slice.len());
            self.unsent.extend_from_slice(&slice[skip..]);
            sent -= skip;
        }
        Ok(())
    }

    fn flush_some(&mut self) -> io::Result<()> {
        match self.stream.try_write(&self.unsent) {
            Ok(count) => {
                self.unsent.drain(..count);
                if self.unsent.is_empty() {
                    self.unsent = Vec::new();
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
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
    #[error("start-up took too long")]
    Slow,
    #[error("{0}")]
    Session(#[from] SessionError),
    #[error("server closed")]
    Server,
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    subject: &'a Subject,
    caller: &'a Caller,
    session: PostgresSession,
    client: Side,
    server: Option<Side>,
    out: Outbox,
    started: Instant,
    cancel: Option<CancelKey>,
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    subject: &Subject,
    caller: &Caller,
    stream: TcpStream,
    mut stop: watch::Receiver<bool>,
) -> Ending {
    let settings = Settings {
        key: MaskKey::new(shared.mask_key),
        cancel_secret: shared.random(),
        proof: Box::new(upstream::Proof::default()),
    };
    let mut connection = Connection {
        shared,
        subject,
        caller,
        session: PostgresSession::new(settings),
        client: Side::new(stream),
        server: None,
        out: Outbox::default(),
        started: Instant::now(),
        cancel: None,
    };
    let ending = tokio::select! {
        ending = connection.pump() => ending,
        _ = stop.wait_for(|stop| *stop) => Ending::Drained,
    };
    if let Some(key) = &connection.cancel {
        shared.cancels.remove(key);
    }
    connection.close().await;
    ending
}

impl Connection<'_> {
    async fn pump(&mut self) -> Ending {
        loop {
            let step = if self.session.is_ready() {
                self.step().await
            } else {
                let left = STARTUP_DEADLINE.saturating_sub(self.started.elapsed());
                tokio::time::timeout(left, self.step()).await.unwrap_or(Err(Ending::Slow))
            };
            if let Err(ending) = step {
                return ending;
            }
        }
    }

    /// Waits for one thing and does it.
    async fn step(&mut self) -> Result<(), Ending> {
        let Some(server) = &self.server else {
            self.client.stream.readable().await?;
            return self.read(From::Client).await;
        };
        let take_client = server.unsent.is_empty() && !self.client.ended && self.session.accepts_client();
        let take_server = self.client.unsent.is_empty() && self.session.accepts_server();
        tokio::select! {
            ready = self.client.stream.writable(), if !self.client.unsent.is_empty() => {
                ready?;
                self.client.flush_some()?;
            }
            ready = server.stream.readable(), if take_server => {
                ready?;
                self.read(From::Server).await?;
            }
            ready = server.stream.writable(), if !server.unsent.is_empty() => {
                ready?;
                if let Some(server) = &mut self.server {
                    server.flush_some()?;
                }
            }
            ready = self.client.stream.readable(), if take_client => {
                ready?;
                self.read(From::Client).await?;
            }
        }
        Ok(())
    }

    async fn read(&mut self, from: From) -> Result<(), Ending> {
        let side = match from {
            From::Client => &mut self.client,
            From::Server => match &mut self.server {
                Some(server) => server,
                None => return Ok(()),
            },
        };
        let unread = std::mem::take(&mut side.unread);
        let mut buffer = SCRATCH.with_borrow_mut(std::mem::take);
        let mut filled = unread.len();
        if buffer.len() < filled + READ_BYTES {
            buffer.resize((filled * 2).clamp(filled + READ_BYTES, FRAME_BYTES_MAX + 2 * READ_BYTES), 0);
        }
        buffer[..filled].copy_from_slice(&unread);
        let result = side.stream.try_read(&mut buffer[filled..]);
        let read = match result {
            Ok(0) => Err(match from {
                From::Client => Ending::Client,
                From::Server => Ending::Server,
            }),
            Ok(count) => {
                filled += count;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                side.unread = unread;
                buffer.truncate(READ_BYTES);
                SCRATCH.set(buffer);
                return Ok(());
            }
            Err(error) => Err(error.into()),
        };
        let result = match read {
            Ok(()) => self.feed(from, &buffer[..filled]).await,
            Err(ending) => Err(ending),
        };
        // A connection that held a long frame gives its memory back.
        buffer.truncate(READ_BYTES);
        buffer.shrink_to(READ_BYTES);
        if buffer.len() < READ_BYTES {
            buffer.resize(READ_BYTES, 0);
        }
        SCRATCH.set(buffer);
        match result {
            Err(Ending::Client) if self.server.is_some() && !self.client.ended => {
                self.client.ended = true;
                if let Some(server) = &mut self.server {
                    server.stream.shutdown().await?;
                }
                Ok(())
            }
            result => result,
        }
    }

    /// Feeds the session until it takes no more, and keeps the rest.
    async fn feed(&mut self, from: From, mut bytes: &[u8]) -> Result<(), Ending> {
        loop {
            let consumed = self.handle(from, bytes).await?;
            bytes = &bytes[consumed..];
            let accepts = match from {
                From::Client => self.session.accepts_client(),
                From::Server => self.session.accepts_server(),
            };
            if bytes.is_empty() || consumed == 0 && !self.fed_snapshot() || !accepts {
                break;
            }
        }
        let side = match from {
            From::Client => &mut self.client,
            From::Server => match &mut self.server {
                Some(server) => server,
                None => return Ok(()),
            },
        };
        side.unread = bytes.to_vec();
        Ok(())
    }

    /// Whether the last call loaded a snapshot, so that what was left may now be taken.
    fn fed_snapshot(&mut self) -> bool {
        std::mem::take(&mut self.out.wants).iter().any(|want| matches!(want, Want::LoadCatalog { .. }))
    }

    async fn handle(&mut self, from: From, bytes: &[u8]) -> Result<usize, Ending> {
        self.out.clear();
        self.out.now = self.started.elapsed();
        let input = match from {
            From::Client => Input::Client(bytes),
            From::Server => Input::Server(bytes),
        };
        let result = self.session.handle(input, &mut self.out);
        self.shared.spool.append(Some(self.subject), &self.out.events).map_err(|_| Ending::Audit)?;
        if !self.out.client.is_empty() {
            self.client.send(self.out.client.slices(bytes))?;
        }
        if !self.out.server.is_empty() {
            if self.server.is_none() {
                self.dial().await?;
            }
            if let Some(server) = &mut self.server {
                server.send(self.out.server.slices(bytes))?;
            }
        }
        let wants = std::mem::take(&mut self.out.wants);
        for want in &wants {
            self.fulfil(want).await?;
        }
        self.out.wants = wants;
        Ok(result?)
    }

    async fn dial(&mut self) -> Result<(), Ending> {
        match upstream::dial(&self.shared.peers, self.caller.original).await {
            Ok(stream) => {
                self.server = Some(Side::new(stream));
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, to = %self.caller.original, "upstream cannot be reached");
                self.inject(Input::DialFailed)
            }
        }
    }

    /// Tells the session what no peer sent.
    fn inject(&mut self, input: Input<'_>) -> Result<(), Ending> {
        let mut out = Outbox { now: self.started.elapsed(), ..Outbox::default() };
        let result = self.session.handle(input, &mut out);
        self.shared.spool.append(Some(self.subject), &out.events).map_err(|_| Ending::Audit)?;
        self.client.send(out.client.slices(&[]))?;
        result?;
        Ok(())
    }

    async fn fulfil(&mut self, want: &Want) -> Result<(), Ending> {
        match want {
            Want::Cancel { pid, key } => {
                let client = CancelKey { pid: *pid, key: key.clone() };
                if let Some((server, key)) = self.shared.cancels.find(&client) {
                    cancel(self.shared, server, &key).await?;
                }
                Ok(())
            }
            Want::LoadCatalog { freshness } => {
                let Some(login) = self.session.login().cloned() else { return Ok(()) };
                let loaded = self.shared.catalogs.snapshot(self.caller.original, &login, *freshness).await;
                let input = match loaded {
                    Ok(snapshot) => Input::Snapshot(snapshot),
                    Err(error) => {
                        tracing::error!(%error, "the catalog could not be loaded");
                        Input::SnapshotFailed
                    }
                };
                self.inject(input)
            }
            Want::RegisterCancel { client, server } => {
                self.shared.cancels.insert(client.clone(), self.caller.original, server.clone());
                self.cancel = Some(client.clone());
                Ok(())
            }
        }
    }

    /// Lets the client have what is meant for it, and takes leave in order.
    async fn close(&mut self) {
        let flush = async {
            self.client.stream.write_all(&self.client.unsent).await?;
            self.client.stream.shutdown().await
        };
        // A client that does not read has lost the rest.
        let _ = tokio::time::timeout(Duration::from_secs(2), flush).await;
    }
}

/// Forwards a cancel request and waits until the server has taken it: a late one would hit the next query.
async fn cancel(shared: &Shared, to: std::net::SocketAddr, key: &CancelKey) -> io::Result<()> {
    let mut stream = upstream::dial(&shared.peers, to).await?;
    let length = u32::try_from(12 + key.key.len()).map_err(io::Error::other)?;
    let mut packet = Vec::with_capacity(12 + key.key.len());
    for field in [length, 80_877_102, key.pid] {
        packet.extend_from_slice(&field.to_be_bytes());
    }
    packet.extend_from_slice(&key.key);
    stream.write_all(&packet).await?;
    let mut end = [0; 1];
    let closed = stream.read(&mut end);
    tokio::time::timeout(CANCEL_DEADLINE, closed).await??;
    Ok(())
}

impl Cancels {
    /// Compares keys without an early exit, so that timing tells nothing about them.
    pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
        a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}
