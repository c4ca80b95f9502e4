//! When `/cfg` was last laid over `/etc`, and whether all of it got there. Whoever saves `/etc` to
//! `/cfg` has to know: what changed in `/cfg` after that is the administrator's own work.

use std::time::Duration;

use crate::host::{Host, Timestamp};

/// The variable of the kernel's environment that remembers it until the machine stops.
pub const VARIABLE: &str = "nanozfs.laid";
/// A value has 128 bytes at most (kenv(2)).
const LONGEST: usize = 96;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laid {
    /// When, in time since the machine started: the clock may be set later.
    pub uptime: Duration,
    /// How many files of `/cfg` did not get there.
    pub failed: usize,
    /// What was mounted on `/cfg`, or the beginning of it.
    pub source: String,
}

impl Laid {
    /// That it happened now.
    pub fn now(host: &dyn Host, source: &str, failed: usize) -> Laid {
        Laid { uptime: host.uptime(), failed, source: short(source).to_owned() }
    }

    /// What is remembered, if anything is.
    pub fn read(host: &dyn Host) -> Option<Laid> {
        parse(&host.kenv(VARIABLE)?)
    }

    /// Remembers it.
    pub fn write(&self, host: &dyn Host) -> crate::host::Result<()> {
        let (seconds, rest) = (self.uptime.as_secs(), self.uptime.subsec_micros());
        let value = format!("{seconds}.{rest:06} {} {}", self.failed, self.source);
        host.set_kenv(VARIABLE, &value)
    }

    /// It was this that was laid.
    pub fn is_of(&self, source: &str) -> bool {
        self.source == short(source)
    }

    /// When it was, by the clock as it is set now; never too early, and less than two seconds late.
    pub fn time(&self, host: &dyn Host) -> Timestamp {
        let ago = host.uptime().saturating_sub(self.uptime);
        let seconds = host.services().now().saturating_sub_unsigned(ago.as_secs()) + 1;
        Timestamp { seconds, nanoseconds: 0 }
    }
}

fn short(source: &str) -> &str {
    source.get(..LONGEST).unwrap_or(source)
}

fn parse(value: &str) -> Option<Laid> {
    let mut words = value.splitn(3, ' ');
    let uptime = words.next()?.parse().ok()?;
    let uptime = Duration::try_from_secs_f64(uptime).ok()?;
    Some(Laid { uptime, failed: words.next()?.parse().ok()?, source: words.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_somebody_typed_is_no_memory() {
        let laid = Laid {
            uptime: Duration::from_micros(6_400_012),
            failed: 2,
            source: "tank/nano/cfg".to_owned(),
        };
        assert_eq!(parse("6.400012 2 tank/nano/cfg"), Some(laid));
        for value in ["", "6.4", "6.4 x y", "-1 0 tank", "NaN 0 tank", "inf 0 tank"] {
            assert_eq!(parse(value), None, "{value}");
        }
    }
}
