//! Time since the system was started: clock_gettime(2).

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::cannot;

#[cfg(target_os = "freebsd")]
const CLOCK: ClockId = ClockId::CLOCK_UPTIME;
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
#[cfg(not(any(target_os = "freebsd", target_os = "linux")))]
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

/// How long the system has been up. Never goes back; setting the date does not change it.
pub fn uptime() -> io::Result<Duration> {
    clock_gettime(CLOCK)
        .map(Duration::from)
        .map_err(|error| cannot("cannot read the uptime", &error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_does_not_go_back() {
        let first = uptime().unwrap();
        assert!(first > Duration::ZERO);
        assert!(uptime().unwrap() >= first);
    }
}
