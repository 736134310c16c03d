//! The accept loop, its limits, and what connections share.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mask_core::{audit::Event, session::CancelKey};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tracing::Instrument;

use crate::{
    audit::{Spool, Subject},
    catalog::Catalogs,
    connection,
    intercept::{Peers, identity},
};

/// More than `max_connections` of any database this host talks to.
const CONNECTIONS_MAX: u32 = 4096;
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which upstream key a client's cancel key stands for, by process number.
#[derive(Default)]
pub(crate) struct Cancels(Mutex<HashMap<u32, Vec<Issued>>>);

struct Issued {
    key: Vec<u8>,
    upstream: SocketAddr,
    server: CancelKey,
}

impl Cancels {
    pub(crate) fn insert(&self, client: CancelKey, upstream: SocketAddr, server: CancelKey) {
        let mut issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        issued.entry(client.pid).or_default().push(Issued { key: client.key, upstream, server });
    }

    pub(crate) fn find(&self, client: &CancelKey) -> Option<(SocketAddr, CancelKey)> {
        let issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let issued = issued.get(&client.pid)?.iter().find(|issued| Self::same(&issued.key, &client.key))?;
        Some((issued.upstream, issued.server.clone()))
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
    pub(crate) catalogs: Catalogs,
    pub(crate) spool: Spool,
    pub(crate) cancels: Cancels,
    pub(crate) mask_key: [u8; 32],
    random: Mutex<File>,
    connections: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        peers: Peers,
        catalogs: Catalogs,
        spool: Spool,
        mask_key: [u8; 32],
    ) -> io::Result<Self> {
        Ok(Self {
            peers,
            catalogs,
            spool,
            cancels: Cancels::default(),
            mask_key,
            random: Mutex::new(File::open("/dev/urandom")?),
            connections: AtomicU64::new(0),
        })
    }

    /// Random bytes of the kernel's generator.
    pub(crate) fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let mut file = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.read_exact(&mut bytes) {
            tracing::error!(%error, "no random bytes; cancel keys of this connection are not secret");
        }
        bytes
    }
}

/// Accepts until told to stop.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
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
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            refuse(&shared, "too many connections");
            continue;
        };
        let shared = shared.clone();
        let stop = stop.clone();
        tokio::spawn(async move {
            admit(&shared, stream, stop).await;
            drop(slot);
        });
    }
    // Sessions end by the same signal; this waits until the last has said so.
    let _ = slots.acquire_many(CONNECTIONS_MAX).await;
}

fn refuse(shared: &Shared, reason: &str) {
    tracing::warn!(reason, "connection refused");
    // Without a trail there is nothing to serve either; the spool has said so itself.
    let _ = shared.spool.append(None, &[Event::ConnectionRefused { reason: reason.to_owned() }]);
}

async fn admit(shared: &Arc<Shared>, stream: TcpStream, stop: watch::Receiver<bool>) {
    let Some(caller) = shared.peers.caller(stream.as_fd()) else {
        refuse(shared, "a connection that did not come through the redirect");
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "client is gone already");
    }
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    let subject = Subject::new(number, &caller, identity(caller.pid));
    if shared.spool.append(Some(&subject), &[Event::ConnectionOpened]).is_err() {
        return;
    }
    let span = tracing::info_span!("connection", number, caller = caller.pid, to = %caller.original);
    let ending = connection::serve(shared, &subject, &caller, stream, stop).instrument(span.clone()).await;
    span.in_scope(|| tracing::debug!(%ending, "closed"));
    let _ = shared.spool.append(Some(&subject), &[Event::ConnectionClosed { reason: ending.to_string() }]);
}
