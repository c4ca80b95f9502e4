//! The machine's mode and the exit codes.

use std::fmt;

/// How the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// `/cfg` and `/var` come from ZFS and nothing is impaired.
    Normal,
    /// `/cfg` comes from ZFS, but something is impaired.
    Degraded,
    /// `/cfg` does not come from ZFS.
    Recovery,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 3] = [Mode::Normal, Mode::Degraded, Mode::Recovery];

    /// One lower-case word, for files and variables.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Normal => "normal",
            Mode::Degraded => "degraded",
            Mode::Recovery => "recovery",
        }
    }

    /// The exit code that tells this mode.
    pub fn exit(self) -> Exit {
        match self {
            Mode::Normal => Exit::Done,
            Mode::Degraded => Exit::Degraded,
            Mode::Recovery => Exit::Recovery,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Every exit code of the executable; sysexits(3) where one fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or already so.
    Done = 0,
    /// Failed; nothing is lost.
    Failed = 1,
    /// There was nothing to do.
    Nothing = 2,
    /// A trial of a new image is pending.
    Trial = 3,
    /// The machine is degraded.
    Degraded = 4,
    /// The machine is in recovery.
    Recovery = 5,
    /// The command line could not be understood (EX_USAGE).
    Usage = 64,
    /// A defect in nanozfs (EX_SOFTWARE).
    Internal = 70,
    /// Another nanozfs holds the lock (EX_TEMPFAIL).
    Busy = 75,
    /// Not run by root (EX_NOPERM).
    NotRoot = 77,
    /// Bad configuration (EX_CONFIG).
    Config = 78,
}

impl Exit {
    /// All of them, with what they mean, as nanozfs(8) lists them.
    pub const ALL: [(Exit, &'static str); 11] = [
        (Exit::Done, "Done, or already so."),
        (Exit::Failed, "Failed; nothing is lost."),
        (Exit::Nothing, "There was nothing to do."),
        (Exit::Trial, "A trial of a new image is pending."),
        (Exit::Degraded, "The machine is degraded."),
        (Exit::Recovery, "The machine is in recovery."),
        (Exit::Usage, "The command line could not be understood."),
        (Exit::Internal, "A defect in nanozfs."),
        (Exit::Busy, "Another nanozfs holds the lock."),
        (Exit::NotRoot, "Not run by root."),
        (Exit::Config, "Bad configuration."),
    ];

    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }
}
