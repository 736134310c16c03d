//! The way to the real database: dial past our own hooks, and prove a password.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
    time::Duration,
};

use mask_core::session::{PasswordProof, SessionError};
use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding, ScramSha256},
};
use tokio::net::{TcpSocket, TcpStream};

use crate::intercept::Peers;

/// A database on the same network answers in milliseconds; libpq itself waits without end.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Connects to the database a client meant.
pub(crate) async fn dial(peers: &Peers, to: SocketAddr) -> io::Result<TcpStream> {
    // Connecting to the unspecified address means this host.
    let ip = match to.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    peers.exempt(socket.as_fd())?;
    socket.set_keepalive(true)?;
    let connect = socket.connect(SocketAddr::new(ip, to.port()));
    let stream = tokio::time::timeout(CONNECT_DEADLINE, connect).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Proves the client's own password to the server.
#[derive(Default)]
pub(crate) struct Proof(Option<ScramSha256>);

impl PasswordProof for Proof {
    fn md5(&self, user: &[u8], password: &[u8], salt: [u8; 4]) -> String {
        md5_hash(user, password, salt)
    }

    fn scram_first(&mut self, password: &[u8]) -> Vec<u8> {
        let scram = ScramSha256::new(password, ChannelBinding::unsupported());
        let first = scram.message().to_vec();
        self.0 = Some(scram);
        first
    }

    fn scram_next(&mut self, server_first: &[u8]) -> Result<Vec<u8>, SessionError> {
        let scram = self.0.as_mut().ok_or(SessionError::Authentication("SCRAM out of order"))?;
        scram.update(server_first).map_err(|_| SessionError::Authentication("malformed SCRAM challenge"))?;
        Ok(scram.message().to_vec())
    }

    fn scram_finish(&mut self, server_final: &[u8]) -> Result<(), SessionError> {
        let scram = self.0.as_mut().ok_or(SessionError::Authentication("SCRAM out of order"))?;
        scram.finish(server_final).map_err(|_| SessionError::Authentication("server signature is wrong"))
    }
}
