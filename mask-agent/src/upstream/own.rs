//! Our own sessions at a database, by the same way as a client's.

use std::{
    future::{Ready, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use mask_core::session::ChannelBinding;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Client, Config, Connection,
    config::{SslMode, SslNegotiation},
    tls::{ChannelBinding as LoginBinding, TlsConnect, TlsStream},
};

use super::{Dialed, Upstreams};
use crate::tls::Stream;

impl Upstreams {
    /// Logs in as `config` says; what it says of TLS is replaced.
    pub(crate) async fn log_in(
        &self,
        to: SocketAddr,
        config: &mut Config,
    ) -> anyhow::Result<(Client, Connection<Stream, Encrypted>)> {
        let Dialed { stream, binding } = self.dial(to).await?;
        // The handshake is over, so the driver is told that there is none, or that it is to begin at once.
        let mode = if matches!(stream, Stream::Plain(_)) { SslMode::Disable } else { SslMode::Require };
        config.ssl_mode(mode).ssl_negotiation(SslNegotiation::Direct);
        Ok(config.connect_raw(stream, Established(binding)).await?)
    }
}

/// A handshake that is over.
struct Established(Option<ChannelBinding>);

impl TlsConnect<Stream> for Established {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Ready<io::Result<Encrypted>>;

    fn connect(self, stream: Stream) -> Self::Future {
        ready(Ok(Encrypted { stream, binding: self.0 }))
    }
}

/// A stream that was encrypted by us.
pub(crate) struct Encrypted {
    stream: Stream,
    binding: Option<ChannelBinding>,
}

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> LoginBinding {
        match &self.binding {
            Some(ChannelBinding(hash)) => LoginBinding::tls_server_end_point(hash.clone()),
            None => LoginBinding::none(),
        }
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
