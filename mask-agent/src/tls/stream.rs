//! A socket, in clear or encrypted.
//!
//! In clear nothing is added to the socket. Encrypted, what is sent is sealed at once, up to what rustls keeps for a
//! socket that takes nothing (64 KiB); the rest stays with the caller.

use std::{
    cell::Cell,
    io::{self, BufRead, IoSlice, Write},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use rustls::ConnectionCommon;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

/// Sealed bytes of one read; larger ones gained nothing.
const SEALED_BYTES: usize = 32 << 10;
/// What they may open to, with a record (RFC 8446, 5.2) of which all but the last byte was there before.
const ROOM_BYTES: usize = SEALED_BYTES + (16 << 10) + 256 + 5;

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

    /// The socket; none where it is in a handshake.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Accepted(stream) => Some(stream.get_ref().0),
            Self::Dialed(stream) => Some(stream.get_ref().0),
            Self::Away => None,
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

thread_local! {
    /// Shared by the connections of a worker thread, so that an idle connection holds no buffer.
    static SEALED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Opens what the socket has now. rustls by itself reads 4 KiB at a time, some three calls for a record.
fn unseal<D>(
    socket: &mut TcpStream,
    session: &mut ConnectionCommon<D>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let before = buffer.filled().len();
    loop {
        if drain(session, buffer)? || buffer.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        let mut sealed = SEALED.take();
        sealed.clear();
        sealed.reserve_exact(SEALED_BYTES);
        // A read that does not fill its room tells tokio that the socket is empty, which saves asking again.
        let read = match pin!(socket.read_buf(&mut sealed)).poll(cx) {
            Poll::Ready(read) => read,
            Poll::Pending => {
                SEALED.set(sealed);
                return Poll::Pending;
            }
        };
        let opened = read.and_then(|count| open(socket, session, &sealed, buffer).map(|()| count));
        SEALED.set(sealed);
        if opened? == 0 {
            return Poll::Ready(Ok(()));
        }
    }
}

fn open<D>(
    socket: &TcpStream,
    session: &mut ConnectionCommon<D>,
    mut sealed: &[u8],
    buffer: &mut ReadBuf<'_>,
) -> io::Result<()> {
    while !sealed.is_empty() {
        session.read_tls(&mut sealed)?;
        if let Err(error) = session.process_new_packets() {
            // The peer is told why, if its socket takes it.
            let _ = session.write_tls(&mut Socket(socket));
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        if drain(session, buffer)? {
            break;
        }
    }
    Ok(())
}

/// Takes what is open; whether the peer has said farewell.
fn drain<D>(session: &mut ConnectionCommon<D>, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
    let mut reader = session.reader();
    loop {
        let count = match reader.fill_buf() {
            Ok([]) => return Ok(true),
            Ok(chunk) => {
                let count = chunk.len().min(buffer.remaining());
                buffer.put_slice(&chunk[..count]);
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        if count == 0 {
            return Ok(false);
        }
        reader.consume(count);
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
            Self::Accepted(stream) if buffer.remaining() >= ROOM_BYTES => {
                let (socket, session) = stream.get_mut();
                unseal(socket, session, cx, buffer)
            }
            Self::Dialed(stream) if buffer.remaining() >= ROOM_BYTES => {
                let (socket, session) = stream.get_mut();
                unseal(socket, session, cx, buffer)
            }
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
