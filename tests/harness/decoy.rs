//! A listener that plays the database reached directly, or an impostor on the proxy's port.

use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use anyhow::{Context, Result};

use crate::{Netns, wait_for};

/// A connection that arrived: from where, and to which address of ours.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    from: SocketAddr,
    /// The address the client connected to; IPv4-mapped addresses are IPv4 here.
    pub to: SocketAddr,
}

/// Accepts on every address, says nothing, and remembers who came.
pub struct Decoy<'a> {
    /// Its port.
    pub port: u16,
    listener: Arc<TcpListener>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    thread: Option<JoinHandle<()>>,
    netns: Option<&'a Netns>,
}

impl<'a> Decoy<'a> {
    /// Listens on a port of its own.
    pub fn start() -> Result<Self> {
        Self::listen(TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?, None)
    }

    /// Listens on a port that somebody else held.
    pub fn start_on(port: u16) -> Result<Self> {
        Self::listen(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?, None)
    }

    /// Listens in a network namespace.
    pub fn start_in(netns: &'a Netns) -> Result<Self> {
        Self::listen(netns.within(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)))??, Some(netns))
    }

    fn listen(listener: TcpListener, netns: Option<&'a Netns>) -> Result<Self> {
        let listener = Arc::new(listener);
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let thread = {
            let (listener, arrivals) = (listener.clone(), arrivals.clone());
            std::thread::spawn(move || accept(&listener, &arrivals))
        };
        Ok(Self { port: listener.local_addr()?.port(), listener, arrivals, thread: Some(thread), netns })
    }

    /// Who has come by now. Connections are accepted in the order they were made, so once ours has been, every
    /// earlier one has.
    pub fn arrivals(&self) -> Result<Vec<Arrival>> {
        let to = SocketAddr::from(([127, 0, 0, 1], self.port));
        let last = match self.netns {
            Some(netns) => netns.within(move || TcpStream::connect(to))??,
            None => TcpStream::connect(to)?,
        };
        let own = last.local_addr()?;
        let mut arrivals = Vec::new();
        wait_for("the decoy to see us", || {
            let mut seen = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(at) = seen.iter().position(|arrival| arrival.from == own) else { return false };
            seen.remove(at);
            arrivals = seen[..at].to_vec();
            true
        })?;
        Ok(arrivals)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn accept(listener: &TcpListener, arrivals: &Mutex<Vec<Arrival>>) {
    // Held open, because a socket whose peer has closed has no peer name.
    let mut held = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                if let Ok(to) = stream.local_addr() {
                    let arrival = Arrival { from: canonical(from), to: canonical(to) };
                    arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
                }
                held.push(stream);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            // Shut down.
            Err(_) => return,
        }
    }
}

impl Drop for Decoy<'_> {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open as long as the listener lives; this wakes accept.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
        let joined = self.thread.take().map(JoinHandle::join);
        drop(joined.context("joined once"));
    }
}
