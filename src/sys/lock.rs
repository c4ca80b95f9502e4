//! One nanozfs at a time: flock(2).

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::why;

/// An exclusive lock on a file; it ends when this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    // Closing the file releases the lock.
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another process, or another part of this one, holds it.
    Busy {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The file cannot be opened or locked.
    Failed {
        /// The file that was to be locked.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Lock {
    /// Locks the file or directory at `path`, which must exist, without waiting.
    ///
    /// It is opened for reading only and nothing is written: this works on a file system that is
    /// mounted read-only, and on the running executable. Programs started later do not inherit it.
    ///
    /// # Errors
    ///
    /// [`LockError::Busy`] when somebody else holds the lock.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Failed { path: path.to_owned(), error };
        let file = File::open(path).map_err(failed)?;
        loop {
            // SAFETY: the descriptor is open as long as `file` lives, and the call takes no memory.
            if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
                return Ok(Self { _file: file });
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => {
                    return Err(LockError::Busy { path: path.to_owned() });
                }
                _ => return Err(failed(error)),
            }
        }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { path } => write!(f, "cannot lock: {}: held by another", path.display()),
            Self::Failed { path, error } => {
                write!(f, "cannot lock: {}: {}", path.display(), why(error))
            }
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Busy { .. } => None,
            Self::Failed { error, .. } => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// A program that another test is just starting has every open file for an instant.
    fn acquire_soon(path: &Path) -> Result<Lock, LockError> {
        let start = Instant::now();
        loop {
            match Lock::acquire(path) {
                Err(LockError::Busy { .. }) if start.elapsed() < Duration::from_secs(5) => {
                    thread::sleep(Duration::from_millis(1));
                }
                result => return result,
            }
        }
    }

    #[test]
    fn the_second_lock_on_a_file_is_busy_until_the_first_is_dropped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = Lock::acquire(file.path()).unwrap();
        let second = Lock::acquire(file.path());
        assert!(matches!(second, Err(LockError::Busy { .. })), "{second:?}");
        drop(first);
        acquire_soon(file.path()).unwrap();
    }

    #[test]
    fn a_file_that_may_only_be_read_can_be_locked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o400)).unwrap();
        Lock::acquire(file.path()).unwrap();
    }

    #[test]
    fn a_running_executable_and_a_directory_can_be_locked() {
        Lock::acquire(&std::env::current_exe().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Lock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_program_started_meanwhile_does_not_keep_the_lock() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lock = Lock::acquire(file.path()).unwrap();
        let mut child = Command::new("/bin/sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        drop(lock);
        let again = acquire_soon(file.path());
        child.kill().unwrap();
        child.wait().unwrap();
        again.unwrap();
    }

    #[test]
    fn a_missing_file_is_not_busy_and_is_named() {
        let error = Lock::acquire(Path::new("/nonexistent/nanozfs")).unwrap_err();
        assert!(matches!(error, LockError::Failed { .. }));
        assert!(error.to_string().contains("/nonexistent/nanozfs"), "{error}");
    }
}
