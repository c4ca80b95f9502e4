//! Waiting for devices of the real machine.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::sys::{siginfo, sysctl, time};

/// How often the kernel is asked whether devices came or went.
const POLL: Duration = Duration::from_millis(20);
/// How often the whole list of devices is compared: it tells of sizes, too, and costs more.
const LIST: Duration = Duration::from_secs(1);

/// What the kernel said of its devices when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Devices {
    seen: Mutex<Option<u64>>,
}

/// A number that grows whenever GEOM makes or removes a provider: each has a devstat(9) entry.
fn generation() -> Option<u64> {
    sysctl::u64("kern.devstat.generation").ok()
}

/// Every provider with its size, as short text. Asking for it waits for tasting that is under way.
fn list() -> Vec<u8> {
    sysctl::bytes("kern.geom.conftxt").unwrap_or_default()
}

impl Devices {
    /// They are about to be looked at: what changes from now on is news to [`Devices::wait`].
    pub(super) fn look(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = generation();
    }

    /// Sleeps until they have changed since they were looked at, until somebody asks for progress,
    /// or until `until`. False in the last case.
    pub(super) fn wait(&self, until: Duration) -> bool {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = || time::uptime().unwrap_or(until);
        let before = list();
        let mut compared = now();
        loop {
            if seen.is_some() && generation() != seen {
                return true;
            }
            if now().saturating_sub(compared) >= LIST {
                if list() != before {
                    return true;
                }
                compared = now();
            }
            let left = until.saturating_sub(now());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(POLL));
            if siginfo::asked() != 0 {
                return true;
            }
        }
    }
}
