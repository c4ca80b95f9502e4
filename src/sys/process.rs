//! The running process, signals to others, the network it is in: geteuid(2), kill(2), getifaddrs(3).

use std::io;

pub use nix::sys::signal::Signal;
use nix::sys::signal::{SigHandler, kill};
use nix::unistd::{Pid, geteuid};

use super::cannot;

/// Whether the process acts with root's rights.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Sends `signal` to the process `pid`, and to no other: process groups, `init` and the kernel
/// (numbers below 2) are refused with `InvalidInput`.
///
/// `SIGALRM` to `$RC_PID` makes rc(8) read rc.conf again after the script that runs.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let target =
        i32::try_from(pid).ok().filter(|target| *target > 1).map(Pid::from_raw).ok_or_else(
            || {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("cannot send {signal} to process {pid}: not a process to signal"),
                )
            },
        )?;
    kill(target, signal).map_err(|error| {
        cannot(format_args!("cannot send {signal} to process {pid}"), &error.into())
    })
}

/// Whether there is a process with this number.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1).map(Pid::from_raw);
    pid.is_some_and(|pid| kill(pid, None).is_ok())
}

/// A descriptor that whoever started this process left open for it. Closing the file that comes
/// back does not close it.
pub fn descriptor(fd: i32) -> io::Result<std::fs::File> {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: fcntl(2) takes any number, and says when it is no open descriptor.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        let what = format_args!("descriptor {fd}");
        return Err(cannot(what, &io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just given it, so it is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) }.into())
}

/// Leaves the session and the terminal of whoever started this process (setsid(2)).
pub fn detach() -> io::Result<()> {
    nix::unistd::setsid().map(drop).map_err(|error| cannot("leave the session", &error.into()))
}

/// From now on SIGHUP, SIGINT and SIGTERM do nothing to this process, nor to those it starts.
pub fn ignore_requests_to_end() -> io::Result<()> {
    requests_to_end(SigHandler::SigIgn)
}

/// From now on they end it, whatever the process that started it ignored.
pub fn heed_requests_to_end() -> io::Result<()> {
    requests_to_end(SigHandler::SigDfl)
}

fn requests_to_end(handler: SigHandler) -> io::Result<()> {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: it is no function of ours: the kernel drops the signal, or ends the process.
        unsafe { nix::sys::signal::signal(signal, handler) }
            .map_err(|error| cannot(format_args!("what {signal} does"), &error.into()))?;
    }
    Ok(())
}

/// The network interfaces, each once, whatever addresses it has.
pub fn interfaces() -> io::Result<Vec<crate::host::Interface>> {
    use nix::net::if_::InterfaceFlags;
    let mut found = Vec::<crate::host::Interface>::new();
    let all = nix::ifaddrs::getifaddrs().map_err(|error| cannot("interfaces", &error.into()))?;
    for one in all {
        let at = found.iter().position(|other| other.name == one.interface_name);
        let at = at.unwrap_or_else(|| {
            let up = one.flags.contains(InterfaceFlags::IFF_UP);
            let name = one.interface_name.clone();
            found.push(crate::host::Interface { name, up, has_address: false });
            found.len() - 1
        });
        let is_global = one.address.is_some_and(|address| {
            let v6 = address.as_sockaddr_in6().is_some_and(|v6| !v6.ip().is_unicast_link_local());
            v6 || address.as_sockaddr_in().is_some()
        });
        if let Some(entry) = found.get_mut(at) {
            entry.has_address |= is_global;
        }
    }
    Ok(found)
}

/// The name that the session's user logged in with (getlogin(2)).
#[must_use]
pub fn login() -> Option<String> {
    // SAFETY: the name is in memory that only another getlogin changes, and nobody calls it
    // meanwhile: it is copied at once, by the only caller.
    let name = unsafe {
        let name = libc::getlogin();
        if name.is_null() { None } else { Some(std::ffi::CStr::from_ptr(name).to_owned()) }
    };
    let name = name?.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_signal_reaches_the_process_it_is_sent_to() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        signal(child.id(), Signal::SIGALRM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGALRM as i32));
    }

    #[test]
    fn groups_and_init_are_never_signalled() {
        for pid in [0, 1, u32::MAX] {
            let error = signal(pid, Signal::SIGALRM).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{pid}");
        }
    }

    #[test]
    fn a_process_that_is_not_there_is_named_in_the_error() {
        let mut child = Command::new("/bin/sleep").arg("0").spawn().unwrap();
        child.wait().unwrap();
        let error = signal(child.id(), Signal::SIGALRM).unwrap_err();
        assert!(error.to_string().contains(&child.id().to_string()), "{error}");
    }
}
