//! What the kernel side refused, as it says.

use std::{io, path::Path, time::Duration};

use aya::maps::{Array, Map, MapData, MapError, RingBuf};
use mask_common::{Config, Refusal, Stat};
use tokio::io::{Interest, unix::AsyncFd};

use super::{Caller, InterceptError, Source};

/// A connection the kernel side refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Who, and where to; port 0 where the socket was refused before it could connect.
    pub caller: Caller,
    /// Why, in one sentence.
    pub reason: &'static str,
    /// When, since the host started.
    pub time: Duration,
}

/// The kernel's reports, in order.
pub struct Refusals {
    ring: AsyncFd<RingBuf<MapData>>,
    config: Array<MapData, Config>,
    proxy_port: u32,
}

impl Refusals {
    pub(super) fn open(pin_dir: &Path, proxy_port: u16) -> Result<Self, InterceptError> {
        let error = |map| move |source: Source| InterceptError::Map { map, source };
        let ring = pinned(pin_dir, "REFUSALS").and_then(|map| {
            let ring: RingBuf<_> = map.try_into().map_err(|error: MapError| Source::from(error))?;
            // SAFETY: the ring keeps its one descriptor open for as long as it lives.
            Ok(unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
                .map_err(io::Error::from)?)
        });
        let config = pinned(pin_dir, "CONFIG")
            .and_then(|map| map.try_into().map_err(|error: MapError| Source::from(error)));
        Ok(Self {
            ring: ring.map_err(error("REFUSALS"))?,
            config: config.map_err(error("CONFIG"))?,
            proxy_port: u32::from(proxy_port),
        })
    }

    /// The next one; none once another daemon has taken the hooks over and reads for itself.
    ///
    /// # Errors
    /// When the kernel's buffer cannot be polled or the settings not be read.
    pub async fn next(&mut self) -> io::Result<Option<Refused>> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            if self.config.get(&0, 0).map_err(io::Error::other)?.proxy_port != self.proxy_port {
                return Ok(None);
            }
            let ring = ready.get_inner_mut();
            while let Some(entry) = ring.next() {
                if let Some(refused) = decode(&entry) {
                    return Ok(Some(refused));
                }
            }
            ready.clear_ready();
        }
    }
}

fn pinned(pin_dir: &Path, name: &str) -> Result<Map, Source> {
    Ok(Map::from_map_data(MapData::from_pin(pin_dir.join(name))?)?)
}

fn decode(entry: &[u8]) -> Option<Refused> {
    if entry.len() < size_of::<Refusal>() {
        return None;
    }
    // SAFETY: there are enough bytes, every bit pattern is a value, and the read may be unaligned.
    let refusal = unsafe { entry.as_ptr().cast::<Refusal>().read_unaligned() };
    Some(Refused {
        caller: refusal.origin.into(),
        reason: reason(refusal.reason),
        time: Duration::from_nanos(refusal.time_ns),
    })
}

fn reason(stat: u32) -> &'static str {
    const NO_LISTENER: u32 = Stat::NoListener as u32;
    const FOREIGN_DEVICE: u32 = Stat::ForeignDevice as u32;
    const STORAGE_FAILED: u32 = Stat::StorageFailed as u32;
    const MPTCP_REFUSED: u32 = Stat::MptcpRefused as u32;
    match stat {
        NO_LISTENER => "no listener of the daemon in the caller's network namespace",
        FOREIGN_DEVICE => "bound to a device that cannot reach the daemon",
        STORAGE_FAILED => "the kernel could not remember where it was to go",
        MPTCP_REFUSED => "multipath TCP",
        _ => "refused in the kernel",
    }
}

/// Time since the host started, suspended time included.
pub fn since_boot() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_cut_short_is_none() {
        assert!(decode(&[0; size_of::<Refusal>() - 1]).is_none());
        let refused = decode(&[0; size_of::<Refusal>()]).unwrap();
        assert_eq!((refused.caller.pid, refused.caller.original.port()), (0, 0));
    }
}
