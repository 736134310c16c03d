//! A socket, in clear or encrypted.
//!
//! In clear nothing is added to the socket. Encrypted, what is sent is sealed at once, up to what rustls keeps for a
//! socket that takes nothing (64 KiB); the rest stays with the caller.

use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll},
};

use rustls::ConnectionCommon;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

/// A connection to a client or to a server.
pub(crate) enum Stream {
    /// From a client, who is shown our certificate.
    Accepted(Box<server::TlsStream<TcpStream>>),
    /// Its socket is in a handshake, or was lost in one.
    Away,
    /// To a server that has shown its own.
    Dialed(Box<client::TlsStream<TcpStream>>),
    /// In clear.
    Plain(TcpStream),
}

impl Stream {
    /// Sends what the socket takes now; [`io::ErrorKind::WouldBlock`] where that is nothing.
    pub(crate) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => match slices {
                [slice] => socket.try_write(slice),
                _ => socket.try_write_vectored(slices),
            },
            Self::Accepted(stream) => {
                let (socket, session) = stream.get_mut();
                seal(socket, session, slices)
            }
            Self::Dialed(stream) => {
                let (socket, session) = stream.get_mut();
                seal(socket, session, slices)
            }
            Self::Away => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether sealed bytes wait for the socket.
    pub(crate) fn holds(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Away => false,
            Self::Accepted(stream) => stream.get_ref().1.wants_write(),
            Self::Dialed(stream) => stream.get_ref().1.wants_write(),
        }
    }

    /// Takes the socket out, for a handshake; none where it is encrypted already.
    pub(crate) fn take_plain(&mut self) -> Option<TcpStream> {
        match std::mem::replace(self, Self::Away) {
            Self::Plain(socket) => Some(socket),
            other => {
                *self = other;
                None
            }
        }
    }
}

fn seal<D>(
    socket: &TcpStream,
    session: &mut ConnectionCommon<D>,
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    let taken = session.writer().write_vectored(slices)?;
    while session.wants_write() {
        match session.write_tls(&mut Socket(socket)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
}

/// A socket that is written to now or not at all.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Many peers close without a farewell. What that could cut off is a message, which its length tells.
fn lenient(read: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    match read {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
        read => read,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Accepted(stream) => lenient(Pin::new(stream).poll_read(cx, buffer)),
            Self::Dialed(stream) => lenient(Pin::new(stream).poll_read(cx, buffer)),
            Self::Away => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Accepted(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Dialed(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Away => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Accepted(stream) => Pin::new(stream).poll_flush(cx),
            Self::Dialed(stream) => Pin::new(stream).poll_flush(cx),
            Self::Away => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Accepted(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Dialed(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Away => Poll::Ready(Ok(())),
        }
    }
}
