//! The way to the real database: dial past our own hooks, encrypt, and prove a password.

/// What is configured of the way to databases.
mod settings;
/// Our own sessions there.
mod own;
/// Where names lead.
mod hosts;
mod target;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use mask_core::{
    protocol::postgres::{Answer, SSL_REQUEST},
    session::{Binding, ChannelBinding, DialFault, Disclosure, PasswordProof, SessionError},
};
use postgres_protocol::authentication::{
    md5_hash,
    sasl::{ChannelBinding as ScramBinding, ScramSha256},
};
use rustls::{ClientConfig, client::Resumption, crypto::CryptoProvider, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::TlsConnector;

pub(crate) use self::own::CLOSE_DEADLINE;
use self::settings::{Negotiation, Ready, TlsMode};
pub(crate) use self::{
    settings::{Unknown, Upstream, UpstreamTls, Ways, covers},
    target::Target,
};
use crate::{
    intercept::Peers,
    tls::{self, ALPN, Certificate, Name, Pins, Stream, Verifier},
};

/// A database on the same network answers in milliseconds; libpq itself waits without end. For the connection, and
/// again for its encryption.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Databases a host reaches. What is kept of one can be made anew, so beyond that all is.
const SERVERS_MAX: usize = 1024;
/// Sessions to take up again with a server; PostgreSQL itself gives none, proxies before it may.
const SESSIONS_MAX: usize = 8;

/// A connection to a database.
pub(crate) struct Dialed {
    pub(crate) stream: Stream,
    /// What a login can be bound to.
    pub(crate) binding: Option<ChannelBinding>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("{fault:?}: {source}")]
pub(crate) struct DialError {
    pub(crate) fault: DialFault,
    source: io::Error,
}

impl DialError {
    fn new(fault: DialFault, what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { fault, source: io::Error::other(what) }
    }
}

/// What is kept of a database's TLS.
struct Server {
    verifier: Arc<Verifier>,
    /// One for all connections, so that sessions are taken up again.
    config: Arc<ClientConfig>,
    /// Which of its names it is told to be meant.
    told: ServerName<'static>,
}

/// The ways to databases, by what is configured of them and what was seen.
pub(crate) struct Upstreams {
    peers: Peers,
    ways: Ways,
    pins: Arc<Pins>,
    provider: Arc<CryptoProvider>,
    /// A database that acknowledges nothing for so long is given up.
    silence: Duration,
    servers: Mutex<HashMap<Target, Arc<Server>>>,
    /// Names of the certificates shown last; none where a server has no TLS.
    names: Mutex<HashMap<Target, Arc<[Name]>>>,
}

impl Upstreams {
    pub(crate) fn new(peers: Peers, ways: Ways, pins: Pins, silence: Duration) -> Self {
        Self {
            peers,
            ways,
            pins: Arc::new(pins),
            provider: tls::provider(),
            silence,
            servers: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// Names of the certificate a database has shown; none where it was never asked.
    pub(crate) fn names(&self, to: &Target) -> Option<Arc<[Name]>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).get(to).cloned()
    }

    /// Whether a database may be told a password of the host's, or only be shown that we know it.
    pub(crate) fn disclosure(&self, to: &Target) -> Disclosure {
        if self.ways.of(to).tls.mode.is_certain() { Disclosure::Clear } else { Disclosure::Proof }
    }

    /// The database that is meant by a client which came for an address.
    pub(crate) async fn at(&self, address: SocketAddr) -> Target {
        self.ways.at(local(address)).await
    }

    /// The same once the client has called it something.
    pub(crate) fn called(&self, to: &Target, name: &str) -> Target {
        self.ways.called(to, &name.to_ascii_lowercase())
    }

    /// Connects to the database a client meant, and encrypts as is configured and agreed.
    pub(crate) async fn dial(&self, to: &Target) -> Result<Dialed, DialError> {
        self.check(to)?;
        let connected = tokio::time::timeout(CONNECT_DEADLINE, self.reach(to.address)).await;
        let socket = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        self.dial_on(to, socket).await
    }

    fn check(&self, to: &Target) -> Result<(), DialError> {
        let unknown = || DialError::new(DialFault::Unknown, "no entry of `upstreams` covers it");
        self.ways.allows(to).then_some(()).ok_or_else(unknown)
    }

    /// The same on a connection that there is already, or is not.
    pub(crate) async fn dial_on(
        &self,
        to: &Target,
        socket: io::Result<TcpStream>,
    ) -> Result<Dialed, DialError> {
        self.check(to)?;
        let socket = socket.map_err(|error| DialError::new(DialFault::Unreachable, error))?;
        let encrypted = tokio::time::timeout(CONNECT_DEADLINE, self.encrypt(to, socket)).await;
        encrypted.unwrap_or_else(|_| {
            Err(DialError::new(DialFault::Unreachable, "what answers there says nothing of TLS"))
        })
    }

    /// Encrypts a connection as is configured and agreed.
    async fn encrypt(&self, to: &Target, mut socket: TcpStream) -> Result<Dialed, DialError> {
        let settings = self.ways.of(to);
        let Some(trust) = settings.tls.mode.trust() else { return Ok(self.plain(to, socket)) };
        if settings.tls.negotiation == Negotiation::Request {
            match ask(&mut socket).await? {
                Answer::Accepted => {}
                Answer::Denied if settings.tls.mode != TlsMode::Prefer => {
                    return Err(DialError::new(DialFault::Unencrypted, "the server has no TLS"));
                }
                Answer::Denied if self.pins.is_known(to.address) => {
                    return Err(DialError::new(
                        DialFault::Downgraded,
                        "the server had TLS, and says it has none",
                    ));
                }
                Answer::Denied => return Ok(self.plain(to, socket)),
            }
        }
        let failed = |error: anyhow::Error| DialError::new(DialFault::Handshake, format!("{error:#}"));
        let server = self.server(to, settings, trust).map_err(failed)?;
        self.secure(to, socket, &server, settings.tls.negotiation).await
    }

    fn plain(&self, to: &Target, socket: TcpStream) -> Dialed {
        self.learn(to, Arc::new([]));
        Dialed { stream: Stream::Plain(socket), binding: None }
    }

    /// Connects past the hooks, and waits as long as the kernel does.
    pub(crate) async fn reach(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let to = local(to);
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        self.peers.exempt(socket.as_fd())?;
        self.notice_silence(&SockRef::from(&socket))?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The client's own probes end at us, so it would wait without end for a database that is cut off.
    fn notice_silence(&self, socket: &SockRef<'_>) -> io::Result<()> {
        let interval = (self.silence / 6).max(Duration::from_secs(1));
        socket.set_tcp_keepalive(
            &TcpKeepalive::new().with_time(self.silence / 2).with_interval(interval).with_retries(3),
        )?;
        socket.set_tcp_user_timeout(Some(self.silence))
    }

    async fn secure(
        &self,
        to: &Target,
        socket: TcpStream,
        server: &Server,
        negotiation: Negotiation,
    ) -> Result<Dialed, DialError> {
        let connector = TlsConnector::from(server.config.clone());
        let stream = connector
            .connect(server.told.clone(), socket)
            .await
            .map_err(|error| DialError::new(tls::fault(&error), error))?;
        let session = stream.get_ref().1;
        if negotiation == Negotiation::Direct && session.alpn_protocol() != Some(ALPN) {
            return Err(DialError::new(
                DialFault::Handshake,
                "what answers does not speak PostgreSQL inside TLS",
            ));
        }
        let shown = session.peer_certificates().unwrap_or_default();
        server
            .verifier
            .remember(shown)
            .map_err(|fault| DialError::new(fault, "its certificate is not believed"))?;
        let certificate = shown.first().and_then(|shown| Certificate::read(shown));
        let (names, binding) =
            certificate.map(|certificate| (certificate.names, certificate.binding)).unwrap_or_default();
        self.learn(to, names.into());
        Ok(Dialed { stream: Stream::Dialed(Box::new(stream)), binding })
    }

    fn learn(&self, to: &Target, names: Arc<[Name]>) {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERVERS_MAX && !known.contains_key(to) {
            known.clear();
        }
        known.insert(to.clone(), names);
    }

    fn server(&self, to: &Target, settings: &Ready, trust: tls::Trust) -> Result<Arc<Server>> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(to) {
            return Ok(server.clone());
        }
        if servers.len() >= SERVERS_MAX {
            servers.clear();
        }
        let name = settings.name.clone().unwrap_or_else(|| to.address.ip().into());
        // What the client says is passed on, as a proxy may tell databases apart by it, and not believed.
        let told = to.name.as_deref().map(|said| ServerName::try_from(said.to_owned())).transpose()?;
        let verifier = Arc::new(Verifier::new(
            trust,
            settings.authorities.as_deref(),
            name.clone(),
            to.address,
            self.pins.clone(),
            &self.provider,
        ));
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match &settings.identity {
            Some((chain, key)) => config
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .context("the client certificate and its key do not fit")?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        let told = told.unwrap_or(name);
        let server = Arc::new(Server { verifier, config: Arc::new(config), told });
        servers.insert(to.clone(), server.clone());
        Ok(server)
    }
}

/// Connecting to the unspecified address means this host.
fn local(to: SocketAddr) -> SocketAddr {
    let ip = match to.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, to.port())
}

/// Asks for TLS. One byte is read and not more: what came behind it in clear must not be taken for the handshake's
/// (CVE-2021-23222), and fails there.
async fn ask(socket: &mut TcpStream) -> Result<Answer, DialError> {
    let asked = async {
        socket.write_all(&SSL_REQUEST).await?;
        socket.read_u8().await
    };
    let answer = asked.await.map_err(|error| DialError::new(DialFault::Unreachable, error))?;
    let odd =
        |fault| DialError::new(fault, format!("the server answered a request for TLS by byte {answer}"));
    Answer::read(answer).map_err(odd)
}

/// Proves the client's own password to the server.
#[derive(Default)]
pub(crate) struct Proof(Option<ScramSha256>);

impl PasswordProof for Proof {
    fn md5(&self, user: &[u8], password: &[u8], salt: [u8; 4]) -> String {
        md5_hash(user, password, salt)
    }

    fn scram_first(&mut self, password: &[u8], binding: Binding<'_>) -> Vec<u8> {
        let binding = match binding {
            Binding::Bound(ChannelBinding(hash)) => ScramBinding::tls_server_end_point(hash.clone()),
            Binding::NotOffered => ScramBinding::unrequested(),
            Binding::Unsupported => ScramBinding::unsupported(),
        };
        let scram = ScramSha256::new(password, binding);
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
