//! Programs of this system.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Command, Exit, Output, RunError, Runner, seconds};
use crate::sys::{pty, siginfo};

/// Where programs look for other programs.
const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin";

/// Runs programs on this system.
///
/// - One process per run, started without a shell, in a process group of its own: what is typed at
///   the terminal does not reach it.
/// - Its environment is `PATH`, `LC_ALL=C`, and `TZ` if that is set; standard input is empty; the
///   working directory is `/`.
/// - Both outputs are read while it runs, up to 16 MiB each; what goes beyond is read and dropped,
///   and [`Output::truncated`] says so. Those of a program that starts daemons are one, and end with
///   the program: what a daemon says later is lost.
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
pub(super) struct Bounds {
    /// Bytes to keep of each output.
    pub(super) keep: usize,
    /// From SIGTERM to SIGKILL.
    pub(super) terminate: Duration,
    /// From SIGKILL to giving up.
    pub(super) kill: Duration,
    /// The longest time between two looks at the process.
    pub(super) nap: Duration,
}

impl Bounds {
    pub(super) const SYSTEM: Self = Self {
        keep: 16 << 20,
        terminate: Duration::from_secs(1),
        kill: Duration::from_secs(2),
        nap: Duration::from_millis(50),
    };
}

const SHORTEST_NAP: Duration = Duration::from_millis(1);

/// The two ways to ask a process group to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Terminate,
    Kill,
}

/// Asks the process group `group`. Not an error: it may be gone already.
pub(super) fn send(group: Pid, ask: Ask) {
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

pub(super) fn run(
    command: &Command,
    bounds: &Bounds,
    send: &dyn Fn(Pid, Ask),
) -> Result<Output, RunError> {
    let failed = |error: io::Error| RunError::Spawn { argv: command.argv(), error };
    let started = Instant::now();
    let (mut child, terminal) = spawn(command)?;
    let stdout = terminal.or(child.stdout.take().map(OwnedFd::from));
    let mut watch = Watch {
        stdout: Stream::new(stdout, bounds.keep).map_err(failed)?,
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

/// Starts the program; with the terminal that it writes to, if it has one.
fn spawn(command: &Command) -> Result<(Child, Option<OwnedFd>), RunError> {
    let mut process = process(command)?;
    let mut terminal = None;
    if command.starts_daemons {
        let opened = pty::open().and_then(|(ours, theirs)| Ok((ours, theirs.try_clone()?, theirs)));
        match opened {
            Ok((ours, one, other)) => {
                process.stdout(one).stderr(other);
                terminal = Some(ours);
            }
            Err(error) => {
                log::warn!("no terminal for {command}, what it says is lost: {error}");
                process.stdout(Stdio::null()).stderr(Stdio::null());
            }
        }
    }
    Ok((start(command, process.stdin(Stdio::null()))?, terminal))
}

/// The program as it is to be started, with both outputs to be read; what it reads is not set yet.
///
/// The environment is given as a whole on purpose: in a static FreeBSD executable std of Rust 1.96
/// crashes when a child is to inherit it, and with options that make it fork(2) by itself.
pub(super) fn process(command: &Command) -> Result<std::process::Command, RunError> {
    if !command.program.starts_with('/') {
        return Err(RunError::Spawn {
            argv: command.argv(),
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
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(zone) = std::env::var_os("TZ") {
        process.env("TZ", zone);
    }
    Ok(process)
}

pub(super) fn start(
    command: &Command,
    process: &mut std::process::Command,
) -> Result<Child, RunError> {
    process.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RunError::Missing { argv: command.argv() },
        _ => RunError::Spawn { argv: command.argv(), error },
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
                    // What it started is not asked to end with it.
                    Stage::Terminating if closed || command.starts_daemons => return Ok(None),
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
pub(super) struct Stream {
    /// `None` once every process that could write has closed it.
    pub(super) pipe: Option<File>,
    pub(super) bytes: Vec<u8>,
    keep: usize,
    truncated: bool,
}

impl Stream {
    /// How much is read in one go, so that a flood does not hide a deadline. More than a pipe holds.
    const ROUND: usize = 1 << 20;

    pub(super) fn new(pipe: Option<OwnedFd>, keep: usize) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { pipe: pipe.map(File::from), bytes: Vec::new(), keep, truncated: false })
    }

    fn closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads what is there, without waiting.
    pub(super) fn fill(&mut self) -> io::Result<()> {
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
                // The other side of a terminal is gone.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => self.pipe = None,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
