//! A terminal of our own making: pts(4).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname, unlockpt};

/// Held while a name is asked for: the C library keeps it in one place.
static NAME: Mutex<()> = Mutex::new(());

/// A pair: what is written to the second is read from the first. When the first is closed, writing to
/// the second fails, and nobody gets a signal for that. It is nobody's controlling terminal.
pub fn open() -> io::Result<(OwnedFd, File)> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = {
        let _held = NAME.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: nothing else here calls it, and the name is copied before the lock is let go.
        unsafe { ptsname(&master) }?
    };
    let slave = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name)?;
    Ok((master.as_fd().try_clone_to_owned()?, slave))
}
