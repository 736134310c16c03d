//! One socket of a connection: what was read and not consumed, what is to be sent and was not taken.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use mask_core::{masking::gate::ClientBytes, session::ServerBytes};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::vanished;
use crate::tls::Stream;

/// One read; larger ones gained nothing on loopback.
const READ_BYTES: usize = 64 << 10;
/// Slices of one vectored write.
const SLICES_MAX: usize = 16;

thread_local! {
    /// Shared by the connections of a worker thread, so that an idle connection holds no buffer.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A socket and its two buffers, which are empty most of the time.
pub(super) struct Side {
    stream: Stream,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    /// How much of `unsent` has been sent.
    sent: usize,
    /// Nothing more will be sent once `unsent` is empty.
    finished: bool,
    /// Nothing more will be read.
    pub(super) ended: bool,
}

impl Side {
    pub(super) fn new(stream: Stream) -> Self {
        Self::begun(stream, Vec::new())
    }

    /// One of which some bytes were read.
    pub(super) fn begun(stream: Stream, unread: Vec<u8>) -> Self {
        Self { stream, unread, unsent: Vec::new(), sent: 0, finished: false, ended: false }
    }

    /// Whether everything was taken.
    pub(super) fn is_flushed(&self) -> bool {
        self.unsent.is_empty() && !self.stream.holds()
    }

    /// The stream, for a handshake: nothing is unread or unsent then.
    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Sends to the client what masking let pass; `input` is what it was made from.
    pub(super) fn send_to_client(&mut self, bytes: &ClientBytes, input: &[u8]) -> io::Result<()> {
        self.send(bytes.slices(input))
    }

    /// Sends to the upstream.
    pub(super) fn send_to_server(&mut self, bytes: &ServerBytes, input: &[u8]) -> io::Result<()> {
        self.send(bytes.slices(input))
    }

    /// Sends what the socket takes now, and keeps the rest.
    fn send<'a>(&mut self, mut slices: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        while self.unsent.is_empty() {
            let mut group = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (place, slice) in group.iter_mut().zip(slices.by_ref()) {
                *place = IoSlice::new(slice);
                count += 1;
            }
            let group = &group[..count];
            if group.is_empty() {
                return Ok(());
            }
            let mut sent = match self.stream.try_write_vectored(group) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            for slice in group {
                let skip = sent.min(slice.len());
                self.unsent.extend_from_slice(&slice[skip..]);
                sent -= skip;
            }
        }
        for slice in slices {
            self.unsent.extend_from_slice(slice);
        }
        Ok(())
    }

    /// Goes on sending; ready once everything was taken.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            self.sent += ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.sent..]))?;
        }
        self.unsent = Vec::new();
        self.sent = 0;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.finished {
            self.finished = false;
            return Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// Closes the direction to the peer once everything was taken.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.unsent[self.sent..]).await?;
        self.unsent = Vec::new();
        self.sent = 0;
        self.stream.shutdown().await
    }

    /// The same, by whoever polls next.
    pub(super) fn finish_when_flushed(&mut self) {
        self.finished = true;
    }

    /// Whether [`Side::poll_flush`] has anything to do.
    pub(super) fn is_sending(&self) -> bool {
        self.finished || !self.is_flushed()
    }

    /// What was left of earlier reads with more behind it; nothing more means the peer has ended.
    ///
    /// A long frame grows in its own buffer; what is short moves to the worker's.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let held = self.unread.len();
        if held >= READ_BYTES / 2 {
            self.unread.reserve(READ_BYTES);
            let count = ready!(pin!(self.stream.read_buf(&mut self.unread)).poll(cx))?;
            let read = std::mem::take(&mut self.unread);
            return Poll::Ready(Ok(if count == 0 { Vec::new() } else { read }));
        }
        let mut buffer = SCRATCH.take();
        if buffer.capacity() == 0 {
            buffer.reserve_exact(READ_BYTES);
        }
        buffer.extend_from_slice(&self.unread);
        let polled = pin!(self.stream.read_buf(&mut buffer)).poll(cx);
        match polled {
            Poll::Ready(Ok(1..)) => {
                self.unread = Vec::new();
                Poll::Ready(Ok(buffer))
            }
            Poll::Ready(Ok(0)) => {
                keep(buffer);
                Poll::Ready(Ok(Vec::new()))
            }
            Poll::Ready(Err(error)) => {
                keep(buffer);
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                keep(buffer);
                Poll::Pending
            }
        }
    }

    /// Whether nobody holds the peer's socket any more, as far as the kernel can tell.
    pub(super) fn is_gone(&self) -> bool {
        let socket = self.stream.socket();
        let gone = socket.map(|socket| vanished::is_gone(socket.local_addr(), socket.peer_addr()));
        gone.unwrap_or(Ok(false)).unwrap_or_else(|error| {
            tracing::debug!(%error, "nobody knows whether a client is still there");
            false
        })
    }

    /// Whether bytes were read that nobody has consumed.
    pub(super) fn holds(&self) -> bool {
        !self.unread.is_empty()
    }

    /// What was read and not consumed, to be tried again.
    pub(super) fn take_back(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// Takes a buffer back with what of it was not consumed.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>, consumed: usize) {
        if buffer.len() - consumed >= READ_BYTES / 2 {
            buffer.drain(..consumed);
            self.unread = buffer;
        } else {
            self.unread = buffer[consumed..].to_vec();
            keep(buffer);
        }
    }
}

/// Puts a buffer where the next read finds it; one that held a long frame is freed.
fn keep(mut buffer: Vec<u8>) {
    if buffer.capacity() <= 2 * READ_BYTES {
        buffer.clear();
        SCRATCH.set(buffer);
    }
}
