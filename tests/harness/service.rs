//! A server of something else than a database.

use std::{
    io::{ErrorKind, Read},
    net::{Ipv6Addr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use anyhow::Result;

/// Serves each connection on a thread of its own.
pub struct Service {
    /// Its port, on every address.
    pub port: u16,
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts one on a port of its own.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Result<Self> {
        let listener = Arc::new(TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?);
        let serve = Arc::new(serve);
        let thread = {
            let listener = listener.clone();
            std::thread::spawn(move || {
                loop {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            let serve = serve.clone();
                            std::thread::spawn(move || serve(stream));
                        }
                        Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                        // Shut down.
                        Err(_) => return,
                    }
                }
            })
        };
        Ok(Self { port: listener.local_addr()?.port(), listener, thread: Some(thread) })
    }

    /// Starts one that says something first, and then only listens; what each connection said is in the list once it
    /// has ended, and whether it was reset.
    pub fn listening(greeting: &'static [u8]) -> Result<(Self, Heard)> {
        let heard = Heard::default();
        let service = {
            let heard = heard.clone();
            Self::start(move |mut stream| {
                let mut said = Vec::new();
                let greeted = std::io::Write::write_all(&mut stream, greeting);
                let read = greeted.and_then(|()| stream.read_to_end(&mut said));
                heard.0.lock().unwrap_or_else(PoisonError::into_inner).push((said, read.is_err()));
            })?
        };
        Ok((service, heard))
    }
}

/// What connections said that have ended.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Said>>>);

/// What a connection said, and whether it was reset.
pub type Said = (Vec<u8>, bool);

impl Heard {
    /// All of it until now.
    pub fn all(&self) -> Vec<Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open as long as the listener lives; this wakes accept.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
        drop(self.thread.take().map(JoinHandle::join));
    }
}
