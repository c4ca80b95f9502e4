//! The running system as a health check sees it, and the way out of it.

use std::path::Path;
use std::time::Duration;

use super::Result;

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` when a signal or the time limit ended it.
    pub code: Option<i32>,
    /// The last line it printed that is not empty.
    pub last_line: String,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "lab", derive(serde::Serialize, serde::Deserialize))]
pub struct Interface {
    /// `em0`.
    pub name: String,
    /// It is up.
    pub up: bool,
    /// It has an address that is not a link-local one.
    pub has_address: bool,
}

/// The running system.
pub trait Services: Send + Sync {
    /// The kernel's message buffer (`kern.msgbuf`), in which rc's console output is, too.
    fn console_log(&self) -> Result<Vec<u8>>;

    /// What rc.conf(5) says of the network, defaults included: name and value.
    fn settings(&self) -> Result<Vec<(String, String)>>;

    /// The network interfaces (getifaddrs(3)).
    fn interfaces(&self) -> Result<Vec<Interface>>;

    /// There is a default route (`route -n get default`).
    fn has_default_route(&self) -> Result<bool>;

    /// Runs an executable of the machine, without a terminal, for at most `limit`.
    fn run(&self, executable: &Path, limit: Duration) -> Result<Ended>;

    /// The rc(8) scripts of the services that rc.conf(5) enables, in the order in which rc starts
    /// them, by their paths (`service -e`).
    fn enabled(&self) -> Result<Vec<String>>;

    /// Has rc(8)'s script for a service do something (`service NAME ACTION`), for at most `limit`.
    fn service(&self, name: &str, action: &str, limit: Duration) -> Result<Ended>;

    /// Starts a process that reboots this machine at `deadline` (uptime), unless
    /// [`Services::stand_down`] comes first; it outlives this one. A second one takes the place
    /// of the first.
    fn guard(&self, deadline: Duration) -> Result<()>;

    /// [`Services::guard`] is at work.
    fn is_guarded(&self) -> bool;

    /// Ends what [`Services::guard`] started. True when there was something to end.
    fn stand_down(&self) -> Result<bool>;

    /// rc(8) started this process, at boot; false when a person did.
    fn started_by_rc(&self) -> bool;

    /// Writes a line to syslogd(8), as one that was said earlier; `warns` makes it a warning.
    /// Without a syslogd it is lost.
    fn log_late(&self, text: &str, warns: bool);

    /// Starts a process that takes the change `id` of `/cfg` back at `deadline` (uptime;
    /// `nanozfs cfg watch`); it outlives this one.
    fn watch(&self, id: &str, deadline: Duration) -> Result<()>;

    /// rc(8), which started this process, has not come to its end yet. False when it did not
    /// start us.
    fn rc_is_running(&self) -> bool;

    /// Leaves the session and the terminal of whoever started this process; what that one ignored
    /// ([`Services::see_it_through`]), this one heeds.
    fn detach(&self);

    /// From now on neither a terminal that goes away nor ^C nor a request to end ends this process:
    /// what it has begun takes seconds, and is to be finished.
    fn see_it_through(&self);

    /// Seconds since 1970, by a clock that may be wrong.
    fn now(&self) -> i64;

    /// Waits.
    fn sleep(&self, time: Duration);

    /// Restarts the machine in an orderly way (shutdown(8)), or, as the last resort, without
    /// waiting for anybody (`reboot -q`).
    fn reboot(&self, orderly: bool) -> Result<()>;
}
