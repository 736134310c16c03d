//! The spool: append-only JSON lines, one write for a batch, behind one lock.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use mask_core::audit::{Event, RECORD_VERSION};
use serde::Serialize;

use crate::intercept::{Caller, Identity};

/// Who a connection belongs to, written once for every record of it: members of a JSON object.
pub(crate) struct Subject(Box<str>);

#[derive(Serialize)]
struct SubjectRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
    /// None where the socket was refused before it could connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    caller: CallerRecord<'a>,
}

#[derive(Serialize)]
struct CallerRecord<'a> {
    pid: u32,
    uid: u32,
    gid: u32,
    comm: &'a str,
    cgroup_id: u64,
    netns: u64,
    #[serde(flatten)]
    identity: Identity,
}

impl Subject {
    /// A caller and its connection's number; none where there never was one.
    pub(crate) fn new(
        connection: Option<u64>,
        caller: &Caller,
        identity: Identity,
    ) -> serde_json::Result<Self> {
        let to = caller.original;
        let record = SubjectRecord {
            connection,
            to: (to.port() != 0).then(|| to.to_string()),
            caller: CallerRecord {
                pid: caller.pid,
                uid: caller.uid,
                gid: caller.gid,
                comm: &caller.comm,
                cgroup_id: caller.cgroup_id,
                netns: caller.netns,
                identity,
            },
        };
        let text = serde_json::to_string(&record)?;
        Ok(Self(text[1..text.len() - 1].into()))
    }
}

/// One line: a version, a number, microseconds since 1970-01-01 UTC, who, and what happened.
fn write_record(
    line: &mut Vec<u8>,
    seq: u64,
    time_us: u64,
    subject: Option<&Subject>,
    event: &Event,
) -> io::Result<()> {
    write!(line, "{{\"v\":{RECORD_VERSION},\"seq\":{seq},\"time_us\":{time_us}")?;
    if let Some(Subject(members)) = subject {
        line.push(b',');
        line.extend_from_slice(members.as_bytes());
    }
    let start = line.len();
    serde_json::to_writer(&mut *line, event)?;
    // An event is an object with at least its kind: its members follow ours.
    line[start] = b',';
    line.push(b'\n');
    Ok(())
}

/// Room for records that is kept between batches; a long statement gives the rest back.
const BATCH_BYTES_KEPT: usize = 64 << 10;

struct Writer {
    file: File,
    next: u64,
    batch: Vec<u8>,
}

/// The one writer of the audit trail.
pub(crate) struct Spool {
    writer: Mutex<Writer>,
    /// After a failed write nothing more is served: what cannot be recorded does not happen.
    broken: AtomicBool,
}

/// Where the trail of a state directory lies.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("audit").join("audit.jsonl")
}

/// How many records there are, a torn one included.
fn records(file: &File) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut count = 0;
    let mut in_record = false;
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(count + u64::from(in_record));
        }
        for byte in bytes {
            let ends = *byte == b'\n';
            count += u64::from(ends && in_record);
            in_record = !ends;
        }
        let length = bytes.len();
        reader.consume(length);
    }
}

/// What a person should look at is in the log as well.
fn warn(event: &Event) {
    if let Event::Alert { alert, user, database, column, asked, window_s } = event {
        tracing::warn!(?alert, user, database, column, asked, window_s, "alert");
    }
}

impl Spool {
    /// Opens the trail for appending; a torn last line is ended, so that it spoils no other.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let path = path(state_dir);
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir.join("audit"))?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        let next = records(&file)?;
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
        let writer = Mutex::new(Writer { file, next, batch: Vec::new() });
        let spool = Self { writer, broken: AtomicBool::new(false) };
        if torn {
            spool.append(None, &[Event::Recovered])?;
        }
        Ok(spool)
    }

    /// Whether a write has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Appends a batch with one write.
    pub(crate) fn append(&self, subject: Option<&Subject>, events: &[Event]) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let writer = &mut *self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_broken() {
            return Err(io::Error::other("an earlier write to the audit trail failed"));
        }
        writer.batch.clear();
        for (event, seq) in events.iter().zip(writer.next..) {
            write_record(&mut writer.batch, seq, time_us, subject, event)?;
        }
        if let Err(error) = writer.file.write_all(&writer.batch) {
            self.broken.store(true, Ordering::Relaxed);
            tracing::error!(%error, "the audit trail cannot be written; statements are refused from now on");
            return Err(error);
        }
        writer.next += events.len() as u64;
        events.iter().for_each(warn);
        writer.batch.shrink_to(BATCH_BYTES_KEPT);
        Ok(())
    }
}
