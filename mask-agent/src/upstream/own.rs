//! Our own sessions at a database, by the same way as a client's.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use mask_core::session::Disclosure;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_postgres::{
    Client, Config, Connection,
    config::{SslMode, SslNegotiation},
};

use super::{Dialed, Target, Upstreams};
use crate::tls::{Bound, Established, Stream};

/// How long the server may take to let a session go.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

impl Upstreams {
    /// Logs in as `config` says; what it says of TLS is replaced. The server may be told the password as it is, or not.
    pub(crate) async fn log_in(
        &self,
        to: &Target,
        config: &mut Config,
        disclosure: Disclosure,
    ) -> anyhow::Result<(Client, Connection<Session, Bound<Session>>)> {
        let Dialed { stream, binding } = self.dial(to).await?;
        // The handshake is over, so the driver is told that there is none, or that it is to begin at once.
        let mode = if matches!(stream, Stream::Plain(_)) { SslMode::Disable } else { SslMode::Require };
        config.ssl_mode(mode).ssl_negotiation(SslNegotiation::Direct);
        let guard = (disclosure == Disclosure::Proof).then(Guard::default);
        Ok(config.connect_raw(Session { stream, deadline: None, guard }, Established(binding)).await?)
    }
}

/// A session's bytes. Closing it lasts until the server has closed it, and counts it no longer, or the deadline.
pub(crate) struct Session {
    stream: Stream,
    /// Of its closing, once that has begun.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Until the server has let us in, where it may not be told the password.
    guard: Option<Guard>,
}

/// Reads along while a server asks for passwords: the driver would tell it ours.
#[derive(Default)]
struct Guard {
    /// Of the message whose begin is read: type, length, and for a request its kind.
    head: Vec<u8>,
    /// Bytes of it that are of no interest.
    skip: usize,
}

/// What a message begins with: type and length, and of a request for authentication its kind.
const HEAD_BYTES: usize = 5;
const REQUEST_BYTES: usize = 9;
/// Kinds of requests for authentication.
const LET_IN: u32 = 0;
const CLEAR_PASSWORD: u32 = 3;

impl Guard {
    /// Reads bytes of the server; whether it has let us in.
    fn read(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len());
                self.skip -= count;
                bytes = &bytes[count..];
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            let [kind, a, b, c, d, rest @ ..] = &self.head[..] else { continue };
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize + 1;
            if *kind != b'R' {
                self.skip = length.saturating_sub(HEAD_BYTES);
                self.head.clear();
            } else if let [a, b, c, d] = rest {
                match u32::from_be_bytes([*a, *b, *c, *d]) {
                    LET_IN => return Ok(true),
                    CLEAR_PASSWORD => {
                        return Err(io::Error::other("the server asks for the password itself"));
                    }
                    _ => self.skip = length.saturating_sub(REQUEST_BYTES),
                }
                self.head.clear();
            }
        }
        Ok(false)
    }
}

impl AsyncRead for Session {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(guard) = &mut self.guard
            && guard.read(&buffer.filled()[before..])?
        {
            self.guard = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Session {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(CLOSE_DEADLINE)));
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let mut room = [0; 512];
        loop {
            let mut buffer = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a guard says of messages that come in pieces of a size.
    fn guarded(messages: &[u8], size: usize) -> Option<bool> {
        let mut guard = Guard::default();
        let mut is_in = false;
        for piece in messages.chunks(size) {
            is_in |= guard.read(piece).ok()?;
        }
        Some(is_in)
    }

    #[test]
    fn a_server_that_asks_for_the_password_itself_is_found_out_however_its_messages_are_cut() {
        let notice = b"N\0\0\0\x0aR\0\0\0\0\x03";
        let clear = b"R\0\0\0\x08\0\0\0\x03";
        let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
        let let_in = b"R\0\0\0\x08\0\0\0\0";
        for size in 1..40 {
            assert_eq!(guarded(&[&notice[..], clear].concat(), size), None, "{size}");
            assert_eq!(guarded(&[&sasl[..], clear].concat(), size), None, "{size}");
            assert_eq!(guarded(&[&notice[..], sasl].concat(), size), Some(false), "{size}");
            assert_eq!(guarded(&[&sasl[..], let_in].concat(), size), Some(true), "{size}");
        }
    }
}
