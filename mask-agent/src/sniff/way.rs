//! One direction of a relayed connection.
//!
//! Memory is bounded by one read: nothing is read while anything that was read is not sent.

use std::{
    cell::RefCell,
    io, net,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::net::TcpStream;

/// One read; larger ones gained nothing on loopback.
const READ_BYTES: usize = 64 << 10;
/// Reads in a row, after which other connections of the thread have their turn.
const READS_MAX: u32 = 16;

thread_local! {
    /// Shared by the connections of a worker thread, so that an idle connection holds no buffer.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How far a direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flow {
    /// It goes on.
    #[default]
    Open,
    /// The sender has said everything, and that is to be passed on behind what it said.
    Ending,
    /// It has been.
    Ended,
    /// The receiver takes nothing more, though it was not all.
    Broken,
}

/// What was read and not sent, and how far the direction is.
#[derive(Default)]
pub(super) struct Way {
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes that were passed on.
    pub(super) passed: u64,
    pub(super) flow: Flow,
    reads: u32,
}

impl Way {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.flow, Flow::Ended | Flow::Broken)
    }

    /// Whether everything that was read has been sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Has bytes sent behind those that wait.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Sends what waits, and the end behind it; ready once more may be read.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<()> {
        while self.sent < self.unsent.len() {
            match to.try_write(&self.unsent[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if ready!(to.poll_write_ready(cx)).is_err() {
                        self.flow = Flow::Broken;
                        return Poll::Ready(());
                    }
                }
                Err(_) => {
                    self.flow = Flow::Broken;
                    return Poll::Ready(());
                }
            }
        }
        self.passed += self.sent as u64;
        self.sent = 0;
        self.unsent = Vec::new();
        if self.flow == Flow::Ending {
            let ended = SockRef::from(to).shutdown(net::Shutdown::Write);
            self.flow = if ended.is_ok() { Flow::Ended } else { Flow::Broken };
        }
        Poll::Ready(())
    }

    /// Reads once, and has `take` look at it; nothing means that the sender has said everything.
    pub(super) fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        take: impl FnOnce(&mut Self, &[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        if self.reads >= READS_MAX {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|buffer| {
            buffer.resize(READ_BYTES, 0);
            loop {
                let Poll::Ready(readable) = from.poll_read_ready(cx) else {
                    self.reads = 0;
                    return Poll::Pending;
                };
                readable?;
                match from.try_read(buffer) {
                    Ok(count) => {
                        self.reads += 1;
                        return Poll::Ready(Ok(take(self, &buffer[..count])));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
    }

    /// Sends what the receiver takes now, if there is one, and keeps the rest; nothing means the end.
    pub(super) fn pass(&mut self, to: Option<&TcpStream>, bytes: &[u8]) {
        if bytes.is_empty() {
            self.flow = Flow::Ending;
            return;
        }
        // What is wrong with it shows when the rest is sent.
        let sent = to.and_then(|to| to.try_write(bytes).ok()).unwrap_or_default();
        self.passed += sent as u64;
        self.put(&bytes[sent..]);
    }
}
