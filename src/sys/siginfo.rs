//! ^T: the user asks how far things are: SIGINFO in signal(3), stty(1).
//!
//! Systems without SIGINFO use SIGUSR1 in its place.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::cannot;

/// The signal that asks for progress.
#[cfg(target_os = "freebsd")]
pub const SIGNAL: Signal = Signal::SIGINFO;
/// The signal that asks for progress.
#[cfg(not(target_os = "freebsd"))]
pub const SIGNAL: Signal = Signal::SIGUSR1;

static ASKED: AtomicU32 = AtomicU32::new(0);
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// From now on [`SIGNAL`] is counted instead of ending or not reaching the process.
///
/// Calls that the signal interrupts are resumed where the system can (`SA_RESTART`). Calling it
/// again changes nothing. Programs that are started get the signal's default action back.
pub fn install() -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing but one atomic addition, which is async-signal-safe.
    unsafe { sigaction(SIGNAL, &action) }
        .map(drop)
        .map_err(|error| cannot(format_args!("cannot handle {SIGNAL}"), &error.into()))
}

/// Whether somebody asked since the last call.
pub fn take() -> bool {
    let asked = asked();
    TAKEN.swap(asked, Ordering::Relaxed) != asked
}

/// How often somebody has asked so far, for those who share the answer with others: a number that
/// has changed is a question.
pub fn asked() -> u32 {
    ASKED.load(Ordering::Relaxed)
}

extern "C" fn count(_signal: c_int) {
    ASKED.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_question_is_taken_once() {
        install().unwrap();
        install().unwrap();
        take();
        let before = asked();
        raise(SIGNAL).unwrap();
        assert_ne!(asked(), before);
        assert!(take());
        assert!(!take());
    }
}
