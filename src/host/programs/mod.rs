//! The programs of the base system that the suite runs: one small file each, machine-readable
//! output only. Each function makes one command line, runs it by a [`Runner`] and reads the answer,
//! so that the transcripts of real systems test both.

pub mod databases;
pub mod gpart;
pub mod rc;
pub mod snapshots;
pub mod ufs;
pub mod zfs;
pub mod zpool;

use super::command::{Command, Runner};
use super::{Error, Kind, Result};
use crate::format::ParseError;

/// Runs a command that must succeed; its standard output.
fn run(runner: &dyn Runner, command: &Command) -> Result<String> {
    let output = runner.run(command).map_err(|error| error.of(command))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let kind = match &stderr {
        text if text.contains("does not exist") => Kind::NotFound,
        text if text.contains("is busy") => Kind::Busy,
        _ => Kind::Refused,
    };
    let why = stderr.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    Err(Error::new(kind, command.argv(), why.unwrap_or_else(|| output.status.to_string())))
}

/// What a program printed could not be understood.
fn nonsense(command: &Command, error: &ParseError) -> Error {
    Error::new(Kind::Nonsense, command.argv(), error.to_string())
}
