//! Puts what the kernel side refused into the trail, at a bounded pace.

use std::{sync::Arc, time::Duration};

use mask_core::audit::Event;
use tokio::time::{Instant, sleep_until};

use crate::{
    audit::Subject,
    intercept::{Refusals, Refused, identity_at, since_boot},
    server::Shared,
};

/// A client that tries again and again must not fill the disk; each record is about half a KiB.
const RECORDS_PER_WINDOW_MAX: u64 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Records within one window.
#[derive(Default)]
struct Pace {
    recorded: u64,
    omitted: u64,
}

impl Pace {
    /// Whether one more may be recorded; otherwise it is counted.
    fn admits(&mut self) -> bool {
        if self.recorded < RECORDS_PER_WINDOW_MAX {
            self.recorded += 1;
            return true;
        }
        self.omitted += 1;
        false
    }

    /// Whether nothing has come since the window began.
    fn is_idle(&self) -> bool {
        self.recorded == 0
    }

    /// Begins the next window; how many the last one omitted.
    fn renew(&mut self) -> u64 {
        std::mem::take(self).omitted
    }
}

/// Records until another daemon takes over.
pub(crate) async fn record(mut refusals: Refusals, shared: Arc<Shared>) {
    let mut pace = Pace::default();
    let mut window_end = Instant::now();
    loop {
        tokio::select! {
            next = refusals.next() => match next {
                Ok(Some(refused)) => {
                    if pace.is_idle() {
                        window_end = Instant::now() + WINDOW;
                    }
                    take(&mut pace, &shared, &refused);
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "refusals of the kernel are not recorded any more");
                    return;
                }
            },
            () = sleep_until(window_end), if !pace.is_idle() => {
                let count = pace.renew();
                if count > 0 {
                    // The spool tells by itself when it is broken.
                    let _ = shared.spool.append(None, &[Event::RefusalsOmitted { count }]);
                }
            }
        }
    }
}

fn take(pace: &mut Pace, shared: &Shared, refused: &Refused) {
    if !pace.admits() {
        return;
    }
    let caller = &refused.caller;
    let age = since_boot().saturating_sub(refused.time);
    let age_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    tracing::warn!(reason = refused.reason, pid = caller.pid, to = %caller.original, "connection refused");
    match Subject::new(None, caller, identity_at(caller.pid, refused.time)) {
        Ok(subject) => {
            let event = Event::ConnectionRefused { reason: refused.reason.to_owned(), age_ms };
            // The spool tells by itself when it is broken.
            let _ = shared.spool.append(Some(&subject), &[event]);
        }
        Err(error) => tracing::error!(%error, "the caller cannot be recorded"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_recorded_up_to_the_limit_and_the_rest_counted() {
        let mut pace = Pace::default();
        let admitted = (0..RECORDS_PER_WINDOW_MAX + 30).filter(|_| pace.admits()).count();
        assert_eq!(admitted as u64, RECORDS_PER_WINDOW_MAX);
        assert_eq!(pace.renew(), 30);
        assert!(pace.admits());
        assert_eq!(pace.renew(), 0);
    }
}
