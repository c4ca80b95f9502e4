//! Why the host did not do something.

use std::fmt;
use std::time::Duration;

use crate::sys::why;

/// The result of a call to the host.
pub type Result<T> = std::result::Result<T, Error>;

/// What could not be done, and why, in one line; the kind is what decisions look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The class of the failure.
    pub kind: Kind,
    /// What was tried: a program's arguments, or a call and its object.
    pub doing: String,
    /// What came back: errno's text, the program's status and last words.
    pub why: String,
}

/// Classes of failure that decisions tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody else uses it.
    Busy,
    /// It is not there.
    NotFound,
    /// A program is not in the image.
    ProgramMissing,
    /// A program or the kernel answered something that cannot be understood.
    Nonsense,
    /// Given up after the time limit.
    TimedOut(Duration),
    /// A program ran and failed.
    Refused,
    /// A system call failed with this errno(2).
    Errno(i32),
}

impl Error {
    /// An error of `kind`: `doing` what failed, and `why`.
    pub fn new(kind: Kind, doing: impl Into<String>, why: impl Into<String>) -> Self {
        Error { kind, doing: doing.into(), why: why.into() }
    }

    /// From a failed system call. EBUSY and ENOENT get kinds of their own.
    pub fn io(doing: impl Into<String>, error: &std::io::Error) -> Self {
        let kind = match error.raw_os_error() {
            Some(libc::EBUSY) => Kind::Busy,
            Some(libc::ENOENT) => Kind::NotFound,
            Some(errno) => Kind::Errno(errno),
            None => Kind::Refused,
        };
        Error::new(kind, doing, why(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.why)
    }
}

impl std::error::Error for Error {}
