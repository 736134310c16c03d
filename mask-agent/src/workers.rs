//! Threads that serve connections, one runtime each.
//!
//! A connection stays on its thread, so waking it never wakes another thread: with a work-stealing runtime the
//! futex calls between threads cost more than masking.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use mask_core::lineage;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle},
};

/// More than any host of clients keeps busy.
const WORKERS_MAX: usize = 16;

struct Worker {
    runtime: Handle,
    /// Connections it serves.
    load: Arc<AtomicUsize>,
}

/// The threads.
pub(crate) struct Workers(Vec<Worker>);

impl Workers {
    /// One thread per processor. With fewer, each sleeps less between events and so costs less, but under many
    /// clients the kernel gives them too small a share: 0.6 of the throughput at 32 clients on two processors.
    pub(crate) fn start() -> io::Result<Self> {
        let count = thread::available_parallelism()?.get().min(WORKERS_MAX);
        let workers = (0..count).map(|number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            thread::Builder::new()
                .name(format!("worker-{number}"))
                // Touched by deep statements only.
                .stack_size(2 * lineage::STACK_BYTES)
                .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
            Ok(Worker { runtime: handle, load: Arc::default() })
        });
        Ok(Self(workers.collect::<io::Result<_>>()?))
    }

    /// Serves an accepted connection on the thread that has the fewest.
    pub(crate) fn serve<F>(
        &self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send,
    {
        let worker = self.0.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let worker = worker.ok_or_else(|| io::Error::other("no worker"))?;
        // It moves from the accepting thread's poller to the worker's.
        let stream = stream.into_std()?;
        let load = worker.load.clone();
        load.fetch_add(1, Ordering::Relaxed);
        worker.runtime.spawn(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::error!(%error, "an accepted connection cannot be polled"),
            }
            load.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(())
    }
}
