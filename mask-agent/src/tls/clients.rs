//! The client's leg: a leaf for the names it may expect, and the handshake.
//!
//! A client checks that the certificate has the name it connected to. That is one of the server's own, the one it says
//! in the handshake (SNI), or the address, so a leaf has all of them.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use mask_core::session::{ChannelBinding, Handshake};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    server::{
        Accepted, Acceptor, ClientHello, NoServerSessionStorage, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::{
    ALPN, Certificate, Name, Stream,
    authority::{Authority, LEAF_VALID},
    certificates, provider,
};

/// More names than the databases of a host have. Clients choose what they say in the handshake, so it can be reached;
/// then all are made anew.
const LEAVES_MAX: usize = 1024;
/// Half of its time, so that none expires in the hands of a client that checks it late.
const LEAF_AGE_MAX: Duration = Duration::from_secs(LEAF_VALID.as_secs() / 2);

/// What clients are shown.
struct Leaf {
    made: Instant,
    /// For those that name the protocol inside TLS.
    named: Arc<ServerConfig>,
    /// For those that do not, or name others, which PostgreSQL has ignored until version 17.
    unnamed: Arc<ServerConfig>,
    /// What a login can be bound to.
    binding: Option<ChannelBinding>,
}

/// Gives clients TLS.
pub(crate) struct Clients {
    authority: Authority,
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    leaves: Mutex<HashMap<BTreeSet<Name>, Leaf>>,
}

impl Clients {
    /// Opens the host's authority, or makes it. With a file of authorities, clients have to show a certificate of one.
    pub(crate) fn open(state_dir: &Path, client_ca: Option<&Path>) -> Result<Self> {
        let provider = provider();
        let verifier = match client_ca {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots
                        .add(certificate)
                        .with_context(|| format!("{} has no authorities", path.display()))?;
                }
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build()?
            }
        };
        Ok(Self { authority: Authority::open(state_dir)?, provider, verifier, leaves: Mutex::default() })
    }

    /// Encrypts a client's connection, and says what a login on it can be bound to. `names` are the server's.
    pub(crate) async fn accept(
        &self,
        greeted: Greeted,
        names: &[Name],
        address: Option<IpAddr>,
    ) -> io::Result<(Stream, Option<ChannelBinding>)> {
        let Greeted { start, handshake } = greeted;
        let (config, binding) = self.config(&start.client_hello(), handshake, names, address)?;
        Ok((Stream::Accepted(Box::new(start.into_stream(config).await?)), binding))
    }

    fn config(
        &self,
        hello: &ClientHello<'_>,
        handshake: Handshake,
        names: &[Name],
        address: Option<IpAddr>,
    ) -> io::Result<(Arc<ServerConfig>, Option<ChannelBinding>)> {
        let is_named = hello.alpn().is_some_and(|mut offered| offered.any(|name| name == ALPN));
        if handshake == Handshake::Direct && !is_named {
            return Err(io::Error::other("a direct handshake that does not name the protocol (ALPN)"));
        }
        let mut all: BTreeSet<Name> = names.iter().cloned().collect();
        all.extend(hello.server_name().map(|name| Name::Host(name.to_ascii_lowercase())));
        all.extend(address.map(Name::Address));
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if leaves.get(&all).is_none_or(|leaf| leaf.made.elapsed() > LEAF_AGE_MAX) {
            if leaves.len() >= LEAVES_MAX {
                leaves.clear();
            }
            let names: Vec<Name> = all.iter().cloned().collect();
            let key = self.authority.certify(&names).map_err(io::Error::other)?;
            leaves.insert(all.clone(), self.leaf(&key).map_err(io::Error::other)?);
        }
        let leaf = leaves.get(&all).ok_or(io::ErrorKind::NotFound)?;
        let config = if is_named { leaf.named.clone() } else { leaf.unnamed.clone() };
        Ok((config, leaf.binding.clone()))
    }

    fn leaf(&self, key: &Arc<CertifiedKey>) -> Result<Leaf, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(self.verifier.clone())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from((**key).clone())));
        // Of its own: a client that takes up its session again binds its login to the certificate it was shown first.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A client that connects again takes the newest; more would be bytes for nothing.
        config.send_tls13_tickets = 1;
        let unnamed = Arc::new(config.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        let binding = key.cert.first().and_then(|shown| Certificate::read(shown)?.binding);
        Ok(Leaf { made: Instant::now(), named: Arc::new(config), unnamed, binding })
    }
}

/// A handshake of which the client's first message was read.
pub(crate) struct Greeted {
    start: StartHandshake<TcpStream>,
    handshake: Handshake,
}

impl Greeted {
    /// Reads that message; `first` of it was read already.
    pub(crate) async fn read(socket: TcpStream, handshake: Handshake, first: &[u8]) -> io::Result<Self> {
        Ok(Self { start: hello(socket, first).await?, handshake })
    }

    /// What the client calls whom it means (SNI).
    pub(crate) fn name(&self) -> Option<String> {
        self.start.client_hello().server_name().map(str::to_owned)
    }
}

/// Reads the client's first message.
async fn hello(socket: TcpStream, mut first: &[u8]) -> io::Result<StartHandshake<TcpStream>> {
    let mut acceptor = Acceptor::default();
    while !first.is_empty() {
        acceptor.read_tls(&mut first)?;
        if let Some(accepted) = accepted(&mut acceptor)? {
            // Nobody goes on before he is answered, so the rest would be no handshake.
            return if first.is_empty() {
                Ok(StartHandshake::from_parts(accepted, socket))
            } else {
                Err(io::Error::other("bytes behind the first message of a handshake"))
            };
        }
    }
    LazyConfigAcceptor::new(acceptor, socket).await
}

fn accepted(acceptor: &mut Acceptor) -> io::Result<Option<Accepted>> {
    acceptor.accept().map_err(|(error, _)| io::Error::new(io::ErrorKind::InvalidData, error))
}
