//! A line to a server that can be cut, reset, silenced and slowed down.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;

use crate::Netns;

/// What becomes of what the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Trouble {
    /// It arrives.
    None,
    /// A few bytes of it arrive, and then the end.
    Cut,
    /// A few bytes of it arrive, and then a reset.
    Reset,
    /// It does not arrive, and neither does what the client says.
    Silence,
    /// It arrives a few bytes at a time.
    Slow,
}

impl Trouble {
    const ALL: [Self; 5] = [Self::None, Self::Cut, Self::Reset, Self::Silence, Self::Slow];
}

/// Less than any message is long.
const BYTES_BEFORE_THE_END: usize = 3;
/// As slow as a line of some 100 kB/s.
const SLOW_BYTES: usize = 100;
const SLOW_PAUSE: Duration = Duration::from_millis(1);
/// How often a thread looks at what the trouble is.
const LOOK: Duration = Duration::from_millis(20);

/// The line.
pub struct Line {
    /// Where it is reached, on loopback.
    pub port: u16,
    listener: TcpListener,
    trouble: Arc<AtomicU8>,
    open: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// Leads to a port of this host.
    pub fn start(to: u16) -> Result<Self> {
        Self::listen(TcpListener::bind(("127.0.0.1", 0))?, to)
    }

    /// Leads out of a network namespace.
    pub fn start_in(netns: &Netns, to: u16) -> Result<Self> {
        Self::listen(netns.within(|| TcpListener::bind(("127.0.0.1", 0)))??, to)
    }

    fn listen(listener: TcpListener, to: u16) -> Result<Self> {
        let (trouble, open) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicUsize::new(0)));
        let line = Carrier { trouble: trouble.clone(), open: open.clone(), to: ([127, 0, 0, 1], to).into() };
        let accepting = listener.try_clone()?;
        let thread = thread::spawn(move || {
            while let Ok((client, _)) = accepting.accept() {
                let line = line.clone();
                thread::spawn(move || line.carry(&client));
            }
        });
        Ok(Self { port: listener.local_addr()?.port(), listener, trouble, open, thread: Some(thread) })
    }

    /// Begins trouble, for every connection.
    pub fn set(&self, trouble: Trouble) {
        self.trouble.store(trouble as u8, Ordering::SeqCst);
    }

    /// Connections that neither side has ended.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open as long as the listener lives; this wakes accept.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[derive(Clone)]
struct Carrier {
    trouble: Arc<AtomicU8>,
    open: Arc<AtomicUsize>,
    to: SocketAddr,
}

impl Carrier {
    fn trouble(&self) -> Trouble {
        Trouble::ALL[usize::from(self.trouble.load(Ordering::SeqCst))]
    }

    fn carry(&self, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.to) else { return };
        self.open.fetch_add(1, Ordering::SeqCst);
        thread::scope(|scope| {
            // Either side's end is the other's.
            scope.spawn(|| {
                let _ = self.copy(client, &server, false);
                let _ = server.shutdown(Shutdown::Write);
            });
            let _ = self.copy(&server, client, true);
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, is_answer: bool) -> io::Result<()> {
        from.set_read_timeout(Some(LOOK))?;
        let mut bytes = vec![0; 64 << 10];
        loop {
            let count = match from.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let bytes = &bytes[..count];
            match self.trouble() {
                Trouble::Cut if is_answer => return to.write_all(&bytes[..count.min(BYTES_BEFORE_THE_END)]),
                Trouble::Reset if is_answer => {
                    to.write_all(&bytes[..count.min(BYTES_BEFORE_THE_END)])?;
                    return reset(to);
                }
                Trouble::Silence => {}
                Trouble::Slow if is_answer => {
                    for part in bytes.chunks(SLOW_BYTES) {
                        to.write_all(part)?;
                        thread::sleep(SLOW_PAUSE);
                    }
                }
                Trouble::None | Trouble::Cut | Trouble::Reset | Trouble::Slow => to.write_all(bytes)?,
            }
        }
    }
}

/// Ends a connection so that the other side is told with a reset.
fn reset(stream: &TcpStream) -> io::Result<()> {
    // By connecting to nowhere, which no shutdown of ours can come before.
    let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and the address is as long as is said.
    match unsafe { libc::connect(stream.as_raw_fd(), &raw const nowhere, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
