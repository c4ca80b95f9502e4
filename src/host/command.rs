//! Running other programs: one process, its whole environment given, a time limit that holds.
//!
//! Code that needs a program asks a [`Runner`]. [`System`] starts it; `Replay` answers with what a
//! real system once printed, so that argument lists and parsers are tested against FreeBSD's words.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::Kind;
use crate::sys::why;

mod filter;
#[cfg(any(test, feature = "lab"))]
mod replay;
mod system;
mod unpack;

pub use filter::{Consume, filter};
#[cfg(any(test, feature = "lab"))]
pub use replay::Replay;
pub use system::System;
pub use unpack::{packer, unpack};

/// One program to run. Standard input is empty, the working directory is `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Absolute path of the program.
    pub program: String,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// How long it may take.
    pub limit: Duration,
    /// It starts daemons, which keep its outputs: it gets a terminal to write to, since a pipe that
    /// nobody reads any more would end them.
    pub starts_daemons: bool,
}

impl Command {
    /// `program`, an absolute path, without arguments; it may take as long as `limit`.
    pub fn new(program: impl Into<String>, limit: Duration) -> Self {
        Self { program: program.into(), args: Vec::new(), limit, starts_daemons: false }
    }

    /// The same, for a program that starts daemons.
    #[must_use]
    pub fn starts_daemons(mut self) -> Self {
        self.starts_daemons = true;
        self
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The same with more arguments.
    #[must_use]
    pub fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The line that a person would type in a shell to run the same.
    #[must_use]
    pub fn argv(&self) -> String {
        let mut line = quoted(&self.program);
        for arg in &self.args {
            line.push(' ');
            line.push_str(&quoted(arg));
        }
        line
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.argv())
    }
}

/// `word` as sh(1) reads it back, on one line.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''").replace('\n', "\\n"))
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this exit status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Whether the program says that all is well.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// What a program that ended has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Exit,
    /// What it wrote to standard output, up to the bound.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, up to the bound.
    pub stderr: Vec<u8>,
    /// Whether it wrote more than was kept.
    pub truncated: bool,
    /// How long it took.
    pub elapsed: Duration,
}

impl Output {
    /// Standard output of a program that succeeded.
    ///
    /// # Errors
    ///
    /// [`CommandError`] when its exit status is not 0, or when it wrote more than was kept: half an
    /// answer is none.
    pub fn ok(self, command: &Command) -> Result<Vec<u8>, CommandError> {
        if self.status.success() && !self.truncated {
            return Ok(self.stdout);
        }
        Err(CommandError {
            argv: command.argv(),
            status: self.status,
            stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
            truncated: self.truncated,
        })
    }
}

/// A program ran and reported failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// The command as a line for the shell.
    pub argv: String,
    /// How the program ended.
    pub status: Exit,
    /// All that it wrote to standard error.
    pub stderr: String,
    /// Whether it wrote more than was kept.
    pub truncated: bool,
}

impl CommandError {
    /// The last line of standard error that says something.
    #[must_use]
    pub fn last_line(&self) -> Option<&str> {
        let lines = self.stderr.lines().map(str::trim_end);
        lines.rev().find(|line| !line.is_empty())
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed: {}: {}", self.argv, self.status)?;
        if self.truncated {
            f.write_str(": more output than can be kept")?;
        }
        match self.last_line() {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CommandError {}

/// Why there is no output.
#[derive(Debug)]
pub enum RunError {
    /// There is no such program, or its interpreter is missing.
    Missing {
        /// The command as a line for the shell.
        argv: String,
    },
    /// It did not end within its limit.
    TimedOut {
        /// The command as a line for the shell.
        argv: String,
        /// The limit.
        after: Duration,
        /// Whether it is gone. One that waits in the kernel cannot be killed and was left behind.
        killed: bool,
    },
    /// It could not be started, or not be waited for.
    Spawn {
        /// The command as a line for the shell.
        argv: String,
        /// What the system says.
        error: io::Error,
    },
}

impl RunError {
    /// The same as an error of the host that ran `command`.
    pub(super) fn of(&self, command: &Command) -> super::Error {
        let kind = match self {
            Self::Missing { .. } => Kind::ProgramMissing,
            Self::TimedOut { after, .. } => Kind::TimedOut(*after),
            Self::Spawn { .. } => Kind::Refused,
        };
        super::Error::new(kind, command.argv(), format!("{}: {}", command.program, self.why()))
    }

    /// Why, without the command.
    fn why(&self) -> String {
        match self {
            Self::Missing { .. } => "not found".to_owned(),
            Self::TimedOut { after, killed, .. } => {
                let end = if *killed { "and was stopped" } else { "and cannot be killed" };
                format!("took more than {} s {end}", seconds(*after))
            }
            Self::Spawn { error, .. } => why(error),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { argv } | Self::Spawn { argv, .. } => {
                write!(f, "cannot run: {argv}: {}", self.why())
            }
            Self::TimedOut { argv, .. } => write!(f, "timed out: {argv}: {}", self.why()),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Missing { .. } | Self::TimedOut { .. } => None,
            Self::Spawn { error, .. } => Some(error),
        }
    }
}

/// A number of seconds without needless digits: `60`, `1.5`.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100.0).round() / 100.0
}

/// Something that runs programs.
pub trait Runner: Send + Sync {
    /// Runs `command` to its end and returns what it left, whatever its exit status.
    ///
    /// # Errors
    ///
    /// When there is no end to report: the program is missing, could not be started, or took longer
    /// than its limit.
    fn run(&self, command: &Command) -> Result<Output, RunError>;
}

#[cfg(test)]
mod tests;
