//! A program between a stream and whoever takes what it makes of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::system::{Ask, Stream, process, send, start};
use super::{Command, Exit, RunError};
use crate::host::{Error, Kind, Result};

/// Bytes of the input that are held for the program. What it makes of them keeps its taker busy
/// while it waits for more.
const BUFFER: usize = 128 << 10;
/// Bytes of standard error that are kept: enough for some lines.
const WORDS: usize = 16 << 10;
/// How long a program may take to end after its last byte, and to be gone after it was killed.
const LAST: Duration = Duration::from_secs(10);
const NAP: Duration = Duration::from_millis(2);

/// What takes a stream, up to its end.
pub type Consume<'a> = dyn FnMut(&mut (dyn Read + Send)) -> io::Result<()> + 'a;

/// Runs `command` with `input` on its standard input, and lets `consume` take its standard output,
/// to the end. The limit of the command is the longest time in which it neither takes a byte nor
/// gives one; how long all of it takes, and how long `input` and `consume` take, is not limited.
///
/// The program is started as [`super::System`] starts one. It is killed when anything fails, and
/// gone when this returns. No thread is started: the program is given input while `consume` reads,
/// so that neither can wait for the other, and none is left waiting for `input`.
///
/// To `consume` the stream ends only when the program has said that all is well. When it fails, the
/// next read fails.
///
/// # Errors
///
/// [`Kind::ProgramMissing`]; [`Kind::TimedOut`]; [`Kind::Refused`] when the program failed, with its
/// last words, and when `input` or `consume` did; [`Kind::Nonsense`] when `consume` left something,
/// or the program left some of its input.
pub fn filter(
    command: &Command,
    input: &mut (dyn Read + Send),
    consume: &mut Consume<'_>,
) -> Result<()> {
    let mut running = Filter::start(command, input).map_err(|error| error.of(command))?;
    let result = consume(&mut running);
    let surplus = result.is_ok() && !matches!(running.read(&mut [0]), Ok(0));
    match (running.failed.take(), result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(taking(&command.argv(), &error)),
        (None, Ok(())) if surplus => Err(surplus_of(&command.argv())),
        (None, Ok(())) => Ok(()),
    }
}

/// That `consume` failed with what comes from `source`.
pub(super) fn taking(source: &str, error: &io::Error) -> Error {
    Error::io(format!("what {source} gives"), error)
}

/// That there is more than `consume` took.
pub(super) fn surplus_of(source: &str) -> Error {
    Error::new(Kind::Nonsense, format!("what {source} gives"), "more than there should be")
}

/// A running program. Reading from it gives its standard output.
struct Filter<'a> {
    command: &'a Command,
    input: &'a mut (dyn Read + Send),
    /// What was read of the input; the program was given it up to `given`.
    buffer: Vec<u8>,
    given: usize,
    /// The input has ended.
    ended: bool,
    /// `None` once there is nothing more to give, or the program takes no more.
    stdin: Option<File>,
    /// `None` once the program has closed it.
    stdout: Option<File>,
    stderr: Stream,
    child: Child,
    /// The program is gone.
    exit: Option<Exit>,
    failed: Option<Error>,
}

impl<'a> Filter<'a> {
    fn start(
        command: &'a Command,
        input: &'a mut (dyn Read + Send),
    ) -> std::result::Result<Filter<'a>, RunError> {
        let failed = |error: io::Error| RunError::Spawn { argv: command.argv(), error };
        let mut child = start(command, process(command)?.stdin(Stdio::piped()))?;
        let stdin = child.stdin.take().map(OwnedFd::from);
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        let mut filter = Filter {
            command,
            input,
            buffer: Vec::with_capacity(BUFFER),
            given: 0,
            ended: false,
            stdin: stdin.map(File::from),
            stdout: stdout.map(File::from),
            // From here on the program is stopped when something fails.
            stderr: Stream::new(None, WORDS).map_err(failed)?,
            child,
            exit: None,
            failed: None,
        };
        for pipe in filter.stdin.iter().chain(&filter.stdout) {
            let flags = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
            fcntl(pipe, flags).map_err(|errno| failed(errno.into()))?;
        }
        filter.stderr = Stream::new(stderr, WORDS).map_err(failed)?;
        Ok(filter)
    }

    /// Some of the program's output; 0 at its end, when all is well.
    fn take(&mut self, room: &mut [u8]) -> Result<usize> {
        let failed = |error: &io::Error| Error::io(self.command.argv(), error);
        loop {
            self.stderr.fill().map_err(|error| failed(&error))?;
            let given = self.give().map_err(|error| failed(&error))?;
            let Some(stdout) = &mut self.stdout else {
                return Ok(0);
            };
            match stdout.read(room) {
                Ok(0) => {
                    self.stdout = None;
                    return self.finish().map(|()| 0);
                }
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(&error)),
            }
            if self.stdin.is_some() && self.given == self.buffer.len() {
                self.refill()?;
            } else if !given {
                self.wait()?;
            }
        }
    }

    /// Gives the program what it takes without waiting; whether it took anything.
    fn give(&mut self) -> io::Result<bool> {
        let rest = self.buffer.get(self.given..).unwrap_or_default();
        let Some(stdin) = self.stdin.as_mut().filter(|_| !rest.is_empty()) else {
            return Ok(false);
        };
        match stdin.write(rest) {
            Ok(count) => self.given += count,
            // Why it takes no more, its exit status will tell.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.stdin = None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Reads more of the input. At its end the program's standard input is closed.
    fn refill(&mut self) -> Result<()> {
        self.buffer.resize(BUFFER, 0);
        self.given = 0;
        let count = loop {
            match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer.truncate(*count.as_ref().unwrap_or(&0));
        match count {
            Ok(0) => {
                self.ended = true;
                self.stdin = None;
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(Error::io(format!("input of {}", self.command), &error)),
        }
    }

    /// Waits until the program gives or takes something.
    fn wait(&self) -> Result<()> {
        let wanted = [
            self.stdout.as_ref().map(|pipe| (pipe, PollFlags::POLLIN)),
            self.stderr.pipe.as_ref().map(|pipe| (pipe, PollFlags::POLLIN)),
            self.stdin.as_ref().map(|pipe| (pipe, PollFlags::POLLOUT)),
        ];
        let mut waiting: Vec<PollFd<'_>> = wanted
            .into_iter()
            .flatten()
            .map(|(pipe, flags)| PollFd::new(pipe.as_fd(), flags))
            .collect();
        let limit = PollTimeout::try_from(self.command.limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, limit) {
            Ok(0) => {
                let why = format!("no byte for {} s", super::seconds(self.command.limit));
                Err(Error::new(Kind::TimedOut(self.command.limit), self.command.argv(), why))
            }
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::io(self.command.argv(), &errno.into())),
        }
    }

    /// After the last byte of the output: how the program ended, and whether it read all.
    fn finish(&mut self) -> Result<()> {
        self.stdin = None;
        let argv = self.command.argv();
        match self.reap(LAST) {
            Some(exit) if exit.success() => {}
            Some(exit) => {
                let words = String::from_utf8_lossy(&self.stderr.bytes);
                let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
                let why = match last {
                    Some(words) => format!("{exit}: {words}"),
                    None => exit.to_string(),
                };
                return Err(Error::new(Kind::Refused, argv, why));
            }
            None => return Err(Error::new(Kind::TimedOut(LAST), argv, "does not end")),
        }
        let all = self.given == self.buffer.len() && (self.ended || self.refill().is_ok());
        match all && self.ended {
            true => Ok(()),
            false => Err(Error::new(Kind::Nonsense, argv, "ended before its input did")),
        }
    }

    /// Waits until the program is gone, at most `limit`; what it says last is kept.
    fn reap(&mut self, limit: Duration) -> Option<Exit> {
        let started = Instant::now();
        while self.exit.is_none() && started.elapsed() < limit {
            // In this order: what it wrote before it ended is in the pipe by now.
            let status = self.child.try_wait();
            if let Err(error) = self.stderr.fill() {
                log::debug!("{}: {error}", self.command);
            }
            match status {
                Ok(None) => std::thread::sleep(NAP),
                Ok(Some(status)) => self.exit = Some(status.into()),
                Err(error) => {
                    log::debug!("{}: {error}", self.command);
                    return None;
                }
            }
        }
        self.exit
    }
}

impl Read for Filter<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if room.is_empty() {
            return Ok(0);
        }
        let result = match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.take(room),
        };
        result.map_err(|error| {
            let told = io::Error::other(error.to_string());
            self.failed = Some(error);
            told
        })
    }
}

impl Drop for Filter<'_> {
    fn drop(&mut self) {
        if self.exit.is_none()
            && let Ok(id) = i32::try_from(self.child.id())
        {
            send(Pid::from_raw(id), Ask::Kill);
            self.reap(LAST);
        }
    }
}

#[cfg(test)]
mod tests;
