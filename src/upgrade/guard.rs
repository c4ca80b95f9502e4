//! The process that a trial starts, so that a machine that hangs goes back by itself.

use std::time::Duration;

use crate::host::Host;
use crate::report::{Console, Exit};

/// How long after a trial's limit its guard acts. At the limit `settle` gives the trial up by itself
/// and writes down why; the guard is for a machine on which it cannot. Two restarts at once would end
/// rc.shutdown(8) before the services have stopped.
pub const GRACE: Duration = Duration::from_secs(30);
/// From asking for a restart until it has happened.
const SHUTDOWN: Duration = Duration::from_secs(180);

/// The uptime that the operands name, in seconds.
///
/// # Errors
///
/// That there is none, in words.
pub fn deadline(operands: &[String]) -> Result<Duration, String> {
    let seconds = operands.first().and_then(|word| word.parse().ok());
    seconds.map(Duration::from_secs).ok_or("guard: at how many seconds after the start?".to_owned())
}

/// `nanozfs guard`: restarts the machine at that uptime, and again, less kindly, when that does not
/// help. Comes back only when it cannot.
pub fn run(host: &dyn Host, console: &mut Console<'_>, deadline: Duration) -> Exit {
    let services = host.services();
    services.detach();
    while let Some(left) = deadline.checked_sub(host.uptime()).filter(|left| !left.is_zero()) {
        services.sleep(left);
    }
    console.say("guard: the trial was not kept in time: restarting");
    for orderly in [true, false] {
        match services.reboot(orderly) {
            Ok(()) => services.sleep(SHUTDOWN),
            Err(error) => console.say(&format!("guard: {error}")),
        }
    }
    Exit::Failed
}
