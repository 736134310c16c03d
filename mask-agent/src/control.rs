//! The control socket: a running daemon says who it is, to root only.

use std::{
    fs,
    io::{self, Read},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener as StdListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, net::UnixListener};

use crate::server::Shared;

/// A daemon that has not said a word by then is stuck.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a daemon says of itself.
#[derive(Deserialize, Serialize)]
pub(crate) struct Report {
    /// Its process.
    pub(crate) pid: u32,
    /// Its version.
    pub(crate) version: String,
    /// The policy in force.
    pub(crate) policy: String,
    /// Connections open now.
    pub(crate) connections: u64,
    /// Connections served since it started.
    pub(crate) connections_total: u64,
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Binds the socket; a daemon that is taken over loses it to its successor.
pub(crate) fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    let path = path(state_dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = StdListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Answers whoever connects, until the daemon ends.
pub(crate) async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "nobody can ask for the status for a moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Between bind and the change of its mode, the socket was anybody's.
        let trusted = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own_uid());
        if !trusted {
            continue;
        }
        let Ok(report) = serde_json::to_vec(&shared.report()) else { continue };
        // One report fits the socket's buffer, so nobody can hold this up.
        if let Err(error) = stream.write_all(&report).await {
            tracing::debug!(%error, "whoever asked is gone");
        }
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Asks the daemon; none where none runs.
pub(crate) fn ask(state_dir: &Path) -> io::Result<Option<Report>> {
    let mut stream = match UnixStream::connect(path(state_dir)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        connected => connected?,
    };
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    let mut report = Vec::new();
    stream.read_to_end(&mut report)?;
    Ok(Some(serde_json::from_slice(&report)?))
}
