//! The spool: append-only JSON lines, one write for a batch, behind one lock.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use mask_core::audit::{Event, RECORD_VERSION};
use serde::Serialize;

use crate::intercept::{Caller, Identity};

/// Who a connection belongs to, for every record of it.
#[derive(Serialize)]
pub(crate) struct Subject {
    connection: u64,
    to: String,
    caller: CallerRecord,
}

#[derive(Serialize)]
struct CallerRecord {
    pid: u32,
    uid: u32,
    gid: u32,
    comm: String,
    cgroup_id: u64,
    netns: u64,
    #[serde(flatten)]
    identity: Identity,
}

impl Subject {
    pub(crate) fn new(connection: u64, caller: &Caller, identity: Identity) -> Self {
        Self {
            connection,
            to: caller.original.to_string(),
            caller: CallerRecord {
                pid: caller.pid,
                uid: caller.uid,
                gid: caller.gid,
                comm: caller.comm.clone(),
                cgroup_id: caller.cgroup_id,
                netns: caller.netns,
                identity,
            },
        }
    }
}

#[derive(Serialize)]
struct Record<'a> {
    v: u32,
    seq: u64,
    /// Microseconds since 1970-01-01 UTC.
    time_us: u64,
    #[serde(flatten)]
    subject: Option<&'a Subject>,
    #[serde(flatten)]
    event: &'a Event,
}

struct Writer {
    file: File,
    next: u64,
    /// After a failed write nothing more is served: what cannot be recorded does not happen.
    broken: bool,
}

/// The one writer of the audit trail.
pub(crate) struct Spool(Mutex<Writer>);

/// Where the trail of a state directory lies.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("audit").join("audit.jsonl")
}

impl Spool {
    /// Opens the trail for appending; a torn last line is ended, so that it spoils no other.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let path = path(state_dir);
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir.join("audit"))?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        let next = fs::read(&path)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        let mut torn = false;
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            torn = last != *b"\n";
            if torn {
                file.write_all(b"\n")?;
            }
        }
        let spool = Self(Mutex::new(Writer { file, next: next as u64, broken: false }));
        if torn {
            spool.append(None, &[Event::Recovered])?;
        }
        Ok(spool)
    }

    /// Appends a batch with one write.
    pub(crate) fn append(&self, subject: Option<&Subject>, events: &[Event]) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.broken {
            return Err(io::Error::other("an earlier write to the audit trail failed"));
        }
        let mut batch = Vec::with_capacity(1024);
        let mut seq = writer.next;
        for event in events {
            serde_json::to_writer(&mut batch, &Record { v: RECORD_VERSION, seq, time_us, subject, event })?;
            batch.push(b'\n');
            seq += 1;
        }
        if let Err(error) = writer.file.write_all(&batch) {
            writer.broken = true;
            tracing::error!(%error, "the audit trail cannot be written; statements are refused from now on");
            return Err(error);
        }
        writer.next = seq;
        Ok(())
    }
}
