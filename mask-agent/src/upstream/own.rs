//! Our own sessions at a database, by the same way as a client's.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_postgres::{
    Client, Config, Connection,
    config::{SslMode, SslNegotiation},
};

use super::{Dialed, Upstreams};
use crate::tls::{Bound, Established, Stream};

/// How long the server may take to let a session go.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

impl Upstreams {
    /// Logs in as `config` says; what it says of TLS is replaced.
    pub(crate) async fn log_in(
        &self,
        to: SocketAddr,
        config: &mut Config,
    ) -> anyhow::Result<(Client, Connection<Session, Bound<Session>>)> {
        let Dialed { stream, binding } = self.dial(to).await?;
        // The handshake is over, so the driver is told that there is none, or that it is to begin at once.
        let mode = if matches!(stream, Stream::Plain(_)) { SslMode::Disable } else { SslMode::Require };
        config.ssl_mode(mode).ssl_negotiation(SslNegotiation::Direct);
        Ok(config.connect_raw(Session { stream, deadline: None }, Established(binding)).await?)
    }
}

/// A session's bytes. Closing it lasts until the server has closed it, and counts it no longer, or the deadline.
pub(crate) struct Session {
    stream: Stream,
    /// Of its closing, once that has begun.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Session {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
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
