//! Running other programs: one process, its whole environment given, a time limit that holds.
//!
//! Code that needs a program asks a [`Runner`]. [`System`] starts it; `Replay` answers with what a
//! real system once printed, so that argument lists and parsers are tested against FreeBSD's words.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::sys::{siginfo, why};

#[cfg(any(test, feature = "lab"))]
mod replay;

#[cfg(any(test, feature = "lab"))]
pub use replay::Replay;

/// Where programs look for other programs.
const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin";

/// One program to run. Standard input is empty, the working directory is `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Absolute path of the program.
    pub program: String,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// How long it may take.
    pub limit: Duration,
}

impl Command {
    /// `program`, an absolute path, without arguments; it may take as long as `limit`.
    pub fn new(program: impl Into<String>, limit: Duration) -> Self {
        Self { program: program.into(), args: Vec::new(), limit }
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

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { argv } => write!(f, "cannot run: {argv}: not found"),
            Self::TimedOut { argv, after, killed } => {
                let end = if *killed { "and was stopped" } else { "and cannot be killed" };
                let after = seconds(*after);
                write!(f, "timed out: {argv}: took more than {after} s {end}")
            }
            Self::Spawn { argv, error } => write!(f, "cannot run: {argv}: {}", why(error)),
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

/// Runs programs on this system.
///
/// - One process per run, started without a shell, in a process group of its own: what is typed at
///   the terminal does not reach it.
/// - Its environment is `PATH`, `LC_ALL=C`, and `TZ` if that is set; standard input is empty; the
///   working directory is `/`.
/// - Both outputs are read while it runs, up to 16 MiB each; what goes beyond is read and dropped,
///   and [`Output::truncated`] says so.
/// - At the limit the group gets SIGTERM, one second later SIGKILL. After two more seconds a process
///   that is still there waits in the kernel, and is left behind: the call returns.
/// - The call returns when the program has ended, even when a process that it left behind keeps its
///   outputs open.
/// - When somebody asks how far things are ([`siginfo`]), one line on standard error names the
///   command and the time it has taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Runner for System {
    fn run(&self, command: &Command) -> Result<Output, RunError> {
        let result = run(command, &Bounds::SYSTEM, &send);
        match &result {
            Ok(output) => log::debug!(
                "{command}: {} after {:.3} s",
                output.status,
                output.elapsed.as_secs_f64()
            ),
            Err(error) => log::debug!("{error}"),
        }
        result
    }
}

/// How much and how long is enough.
struct Bounds {
    /// Bytes to keep of each output.
    keep: usize,
    /// From SIGTERM to SIGKILL.
    terminate: Duration,
    /// From SIGKILL to giving up.
    kill: Duration,
    /// The longest time between two looks at the process.
    nap: Duration,
}

impl Bounds {
    const SYSTEM: Self = Self {
        keep: 16 << 20,
        terminate: Duration::from_secs(1),
        kill: Duration::from_secs(2),
        nap: Duration::from_millis(50),
    };
}

const SHORTEST_NAP: Duration = Duration::from_millis(1);

/// The two ways to ask a process group to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Terminate,
    Kill,
}

/// Asks the process group `group`. Not an error: it may be gone already.
fn send(group: Pid, ask: Ask) {
    let result = match ask {
        // A stopped process takes SIGTERM only when it goes on.
        Ask::Terminate => {
            killpg(group, Signal::SIGTERM).and_then(|()| killpg(group, Signal::SIGCONT))
        }
        Ask::Kill => killpg(group, Signal::SIGKILL),
    };
    if let Err(errno) = result {
        log::debug!("cannot signal process group {group}: {}", errno.desc());
    }
}

fn run(command: &Command, bounds: &Bounds, send: &dyn Fn(Pid, Ask)) -> Result<Output, RunError> {
    let failed = |error: io::Error| RunError::Spawn { argv: command.argv(), error };
    let started = Instant::now();
    let mut child = spawn(command)?;
    let mut watch = Watch {
        stdout: Stream::new(child.stdout.take().map(OwnedFd::from), bounds.keep).map_err(failed)?,
        stderr: Stream::new(child.stderr.take().map(OwnedFd::from), bounds.keep).map_err(failed)?,
        child,
        exit: None,
    };
    match watch.until_end(command, started, bounds, send) {
        Ok(Some(status)) => Ok(Output {
            status,
            stdout: watch.stdout.bytes,
            stderr: watch.stderr.bytes,
            truncated: watch.stdout.truncated || watch.stderr.truncated,
            elapsed: started.elapsed(),
        }),
        Ok(None) => Err(RunError::TimedOut {
            argv: command.argv(),
            after: command.limit,
            killed: watch.exit.is_some(),
        }),
        Err(error) => Err(failed(error)),
    }
}

/// Starts the program.
///
/// The environment is given as a whole on purpose: in a static FreeBSD executable std of Rust 1.96
/// crashes when a child is to inherit it, and with options that make it fork(2) by itself.
fn spawn(command: &Command) -> Result<Child, RunError> {
    let argv = || command.argv();
    if !command.program.starts_with('/') {
        return Err(RunError::Spawn {
            argv: argv(),
            error: io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path"),
        });
    }
    let mut process = std::process::Command::new(&command.program);
    process
        .args(&command.args)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(zone) = std::env::var_os("TZ") {
        process.env("TZ", zone);
    }
    process.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RunError::Missing { argv: argv() },
        _ => RunError::Spawn { argv: argv(), error },
    })
}

/// How far stopping the program has come.
enum Stage {
    Running,
    Terminating,
    Killing,
}

/// A process that was started, and what it has said.
struct Watch {
    child: Child,
    stdout: Stream,
    stderr: Stream,
    exit: Option<Exit>,
}

impl Watch {
    /// Waits until the process has ended by itself, or was stopped because of its limit: `None`.
    fn until_end(
        &mut self,
        command: &Command,
        started: Instant,
        bounds: &Bounds,
        send: &dyn Fn(Pid, Ask),
    ) -> io::Result<Option<Exit>> {
        let group = Pid::from_raw(i32::try_from(self.child.id()).map_err(io::Error::other)?);
        let mut stage = Stage::Running;
        let mut deadline = started + command.limit;
        let mut nap = SHORTEST_NAP;
        let mut asked = siginfo::asked();
        loop {
            // In this order: what the program wrote before it ended is in the pipe by now.
            if self.exit.is_none() {
                self.exit = self.child.try_wait()?.map(Exit::from);
            }
            let open = !(self.stdout.closed() && self.stderr.closed());
            self.stdout.fill()?;
            self.stderr.fill()?;
            let closed = self.stdout.closed() && self.stderr.closed();
            if open && closed {
                // Its end is near, and nothing more will wake us.
                nap = SHORTEST_NAP;
            }
            if let Some(exit) = self.exit {
                match stage {
                    Stage::Running => return Ok(Some(exit)),
                    Stage::Killing => return Ok(None),
                    Stage::Terminating if closed => return Ok(None),
                    // Others of the group are still writing; they have their second.
                    Stage::Terminating => {}
                }
            }
            let now = Instant::now();
            if now >= deadline {
                match stage {
                    Stage::Running => {
                        send(group, Ask::Terminate);
                        stage = Stage::Terminating;
                        deadline = now + bounds.terminate;
                    }
                    Stage::Terminating => {
                        send(group, Ask::Kill);
                        stage = Stage::Killing;
                        deadline = now + bounds.kill;
                    }
                    Stage::Killing => return Ok(None),
                }
                nap = SHORTEST_NAP;
                continue;
            }
            if siginfo::asked() != asked {
                asked = siginfo::asked();
                eprintln!(
                    "nanozfs: running for {} s of {} s: {command}",
                    started.elapsed().as_secs(),
                    seconds(command.limit)
                );
            }
            let heard = self.listen(nap.min(deadline - now))?;
            nap = if heard { SHORTEST_NAP } else { (nap * 2).min(bounds.nap) };
        }
    }

    /// Waits until there is something to read, an output is closed, or `nap` is over; whether there
    /// was something.
    fn listen(&self, nap: Duration) -> io::Result<bool> {
        let pipes = [&self.stdout, &self.stderr];
        let mut waiting: Vec<PollFd<'_>> = pipes
            .iter()
            .filter_map(|stream| stream.pipe.as_ref())
            .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
            .collect();
        let nap = nap.max(SHORTEST_NAP);
        let nap = PollTimeout::try_from(nap).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, nap) {
            Ok(count) => Ok(count > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// One output of a process.
struct Stream {
    /// `None` once every process that could write has closed it.
    pipe: Option<File>,
    bytes: Vec<u8>,
    keep: usize,
    truncated: bool,
}

impl Stream {
    /// How much is read in one go, so that a flood does not hide a deadline. More than a pipe holds.
    const ROUND: usize = 1 << 20;

    fn new(pipe: Option<OwnedFd>, keep: usize) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { pipe: pipe.map(File::from), bytes: Vec::new(), keep, truncated: false })
    }

    fn closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads what is there, without waiting.
    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 16 << 10];
        let mut round = 0;
        while round < Self::ROUND {
            let Some(pipe) = &mut self.pipe else {
                return Ok(());
            };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    round += count;
                    let room = self.keep.saturating_sub(self.bytes.len());
                    self.truncated |= count > room;
                    let kept = buffer.get(..count.min(room)).unwrap_or_default();
                    self.bytes.extend_from_slice(kept);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
