//! Connections of callers whose every connection is looked into: to a database, or to anything else.
//!
//! The server is dialled at once, and what it says is passed on at once, so nobody waits: who listens first (SMTP, SSH)
//! hears the server as soon as it would direct, and what a client says goes on as soon as it is no database's
//! protocol, which its first byte mostly tells. To wait for the client for a while instead would make each such
//! protocol slower, and take a database's client for none that is slower still. That the server speaks first decides
//! nothing therefore. A database's does not, so a client that speaks its protocol afterwards is closed.
//!
//! ```text
//! Looking ──PostgreSQL──▶ `connection`, on the socket that was dialled
//!    ├─other, or all was said──▶ Relaying ──both have said everything──▶ closed
//!    │                              └──one of them is gone──▶ the other is reset
//!    └─PostgreSQL where bytes have passed, start-up that takes too long, no server──▶ reset
//! ```
//!
//! Promise: no byte of a client's passes that a server could read as its database's protocol.

/// One direction.
mod way;

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use mask_core::{
    audit::{Event, Relayed},
    protocol::detect::{Detected, Detector},
};
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep},
};

use self::way::{Flow, Way};
use crate::{
    audit::Subject,
    connection::{self, Begun, LOOK_PAUSE, is_gone, stopped},
    intercept::Caller,
    server::{DRAIN_DEADLINE, Shared},
};

/// Why a connection ended that was no database's.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("client closed")]
    Client,
    #[error("client: {0}")]
    ClientFailed(io::Error),
    #[error("shutting down")]
    Drained,
    #[error("PostgreSQL was spoken where something else had passed")]
    Mixed,
    #[error("server closed")]
    Server,
    #[error("server: {0}")]
    ServerFailed(io::Error),
    #[error("start-up took too long")]
    Slow,
    #[error("client vanished")]
    Vanished,
}

/// What has happened between a client and a server.
enum Step {
    /// What the client says is a database's protocol.
    Found,
    /// Both have said everything.
    Over,
    /// There is something else to wait for.
    Waiting,
}

/// What is waited for besides bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Waits {
    /// That what the client says becomes certain.
    decision: bool,
    /// That a client which has said everything is gone.
    farewell: bool,
}

/// A client, and the server it meant.
struct Relay {
    client: TcpStream,
    server: Option<TcpStream>,
    /// From the client.
    forth: Way,
    /// From the server.
    back: Way,
    /// None once it is certain that the client speaks no database's protocol.
    detector: Option<Detector>,
    /// What the client said that may not pass yet.
    undecided: Vec<u8>,
    /// How much it said before.
    decided: usize,
    waits: Waits,
    /// Whether it was the server that said everything first.
    server_first: Option<bool>,
}

/// Serves one connection to its end, and says how it ended.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    subject: &Subject,
    caller: &Caller,
    stream: TcpStream,
    stop: &mut watch::Receiver<bool>,
) -> Event {
    let mut relay = Relay::new(stream);
    match relay.run(shared, caller, stop).await {
        Ok(dialled) => {
            tracing::info!(pid = caller.pid, to = %caller.original, "a client speaks to a database here");
            let reason = if shared.spool.append(Some(subject), &[Event::DatabaseFound]).is_err() {
                connection::Ending::Audit.to_string()
            } else {
                let begun = Begun { stream: relay.client, first: relay.undecided, upstream: Some(dialled) };
                // As large as a connection is, and every relay would have room for it all its life.
                Box::pin(connection::serve(shared, subject, caller, begun, stop)).await.to_string()
            };
            Event::ConnectionClosed { reason, relayed: None }
        }
        Err(end) => {
            relay.close(&end);
            let relayed = Relayed { sent: relay.forth.passed, received: relay.back.passed };
            Event::ConnectionClosed { reason: end.to_string(), relayed: Some(relayed) }
        }
    }
}

impl Relay {
    fn new(client: TcpStream) -> Self {
        Self {
            client,
            server: None,
            forth: Way::default(),
            back: Way::default(),
            detector: Some(Detector::default()),
            undecided: Vec::new(),
            decided: 0,
            waits: Waits::default(),
            server_first: None,
        }
    }

    /// Relays until it is over, or until a database is found: then what came of dialling it.
    async fn run(
        &mut self,
        shared: &Shared,
        caller: &Caller,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<io::Result<TcpStream>, End> {
        let mut dial = pin!(shared.upstreams.reach(caller.original));
        let mut stopped = pin!(stopped(stop));
        let (mut slow, mut look) = (pin!(sleep(Duration::MAX)), pin!(sleep(Duration::MAX)));
        let mut deadline = pin!(sleep(DRAIN_DEADLINE));
        let (mut found, mut stopping) = (false, false);
        loop {
            tokio::select! {
                biased;
                dialled = &mut dial, if self.server.is_none() => match dialled {
                    // Its session says why there is none.
                    dialled if found => return Ok(dialled),
                    Ok(server) => self.server = Some(server),
                    Err(error) => return Err(End::ServerFailed(error)),
                },
                happened = poll_fn(|cx| self.poll(cx)), if !found => match happened? {
                    Step::Found => match self.server.take() {
                        Some(server) => return Ok(Ok(server)),
                        None => found = true,
                    },
                    Step::Over if self.server_first == Some(true) => return Err(End::Server),
                    Step::Over => return Err(End::Client),
                    Step::Waiting => {
                        let now = Instant::now();
                        slow.as_mut().reset(now + shared.login_timeout);
                        look.as_mut().reset(now + LOOK_PAUSE);
                    }
                },
                () = &mut stopped, if !stopping => {
                    stopping = true;
                    deadline.as_mut().reset(Instant::now() + DRAIN_DEADLINE);
                }
                () = &mut deadline, if stopping => return Err(End::Drained),
                () = &mut slow, if found || self.waits.decision => {
                    return if found { Ok(Err(io::ErrorKind::TimedOut.into())) } else { Err(End::Slow) };
                }
                () = &mut look, if self.waits.farewell => {
                    if self.says_nothing() && self.client_is_gone() {
                        return Err(End::Vanished);
                    }
                    look.as_mut().reset(Instant::now() + LOOK_PAUSE);
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, End>> {
        if self.forward(cx)? {
            return Poll::Ready(Ok(Step::Found));
        }
        self.backward(cx)?;
        if self.server_first.is_none() && (self.forth.is_over() || self.back.is_over()) {
            self.server_first = Some(self.back.is_over());
        }
        if self.forth.is_over() && self.back.is_over() {
            return Poll::Ready(Ok(Step::Over));
        }
        let waits = Waits { decision: !self.undecided.is_empty(), farewell: self.forth.flow != Flow::Open };
        if waits == self.waits {
            return Poll::Pending;
        }
        self.waits = waits;
        Poll::Ready(Ok(Step::Waiting))
    }

    /// Passes on what the client says; whether it is a database's protocol, of which nothing has passed.
    fn forward(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        loop {
            if let Some(server) = &self.server
                && self.forth.poll_send(cx, server).is_pending()
            {
                return Ok(false);
            }
            // Until there is a server, one read is held.
            if self.forth.flow != Flow::Open || !self.forth.is_flushed() {
                return Ok(false);
            }
            let is_silent = self.back.flow == Flow::Open && self.back.passed == 0 && self.back.is_flushed();
            let Self { client, server, forth, detector, undecided, decided, .. } = self;
            let read = forth.poll_read(cx, client, |forth, bytes| {
                let Some(looking) = detector else {
                    forth.pass(server.as_ref(), bytes);
                    return Ok(false);
                };
                undecided.extend_from_slice(bytes);
                // Of what is cut off, no server makes anything.
                let detected = if bytes.is_empty() { Detected::Other } else { looking.feed(bytes) };
                match detected {
                    Detected::More(count) => {
                        forth.put(&undecided[..count - *decided]);
                        undecided.drain(..count - *decided);
                        *decided = count;
                    }
                    Detected::Other => {
                        *detector = None;
                        forth.put(undecided);
                        *undecided = Vec::new();
                        if bytes.is_empty() {
                            forth.flow = Flow::Ending;
                        }
                    }
                    Detected::Postgres if is_silent => return Ok(true),
                    Detected::Postgres | Detected::PostgresBehind => return Err(End::Mixed),
                }
                Ok(false)
            });
            match read {
                Poll::Ready(Ok(found)) => {
                    if found? {
                        return Ok(true);
                    }
                }
                Poll::Ready(Err(error)) => return Err(End::ClientFailed(error)),
                Poll::Pending => return Ok(false),
            }
        }
    }

    /// Passes on what the server says.
    fn backward(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Self { client, server: Some(server), back, .. } = self else { return Ok(()) };
        loop {
            if back.poll_send(cx, client).is_pending() || back.flow != Flow::Open {
                return Ok(());
            }
            match back.poll_read(cx, server, |back, bytes| back.pass(Some(client), bytes)) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(End::ServerFailed(error)),
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Whether nothing that the client has said waits for anybody.
    fn says_nothing(&self) -> bool {
        self.forth.is_over() || self.server.is_none() && self.forth.is_flushed()
    }

    fn client_is_gone(&self) -> bool {
        is_gone(self.client.local_addr(), self.client.peer_addr()).unwrap_or_else(|error| {
            tracing::debug!(%error, "nobody knows whether a client is still there");
            false
        })
    }

    /// Has both sides see what they would see of each other: an end, or a reset.
    fn close(&self, end: &End) {
        let is_broken = self.forth.flow == Flow::Broken || self.back.flow == Flow::Broken;
        if matches!(end, End::Client | End::Server | End::Vanished) && !is_broken {
            return;
        }
        for socket in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
            // A socket that is gone already needs none.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}
