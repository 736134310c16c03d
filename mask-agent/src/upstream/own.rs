//! Our own sessions at a database, by the same way as a client's.

use std::net::SocketAddr;

use tokio_postgres::{
    Client, Config, Connection,
    config::{SslMode, SslNegotiation},
};

use super::{Dialed, Upstreams};
use crate::tls::{Bound, Established, Stream};

impl Upstreams {
    /// Logs in as `config` says; what it says of TLS is replaced.
    pub(crate) async fn log_in(
        &self,
        to: SocketAddr,
        config: &mut Config,
    ) -> anyhow::Result<(Client, Connection<Stream, Bound<Stream>>)> {
        let Dialed { stream, binding } = self.dial(to).await?;
        // The handshake is over, so the driver is told that there is none, or that it is to begin at once.
        let mode = if matches!(stream, Stream::Plain(_)) { SslMode::Disable } else { SslMode::Require };
        config.ssl_mode(mode).ssl_negotiation(SslNegotiation::Direct);
        Ok(config.connect_raw(stream, Established(binding)).await?)
    }
}
