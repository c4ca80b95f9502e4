//! The one gate that everything passes that changes the machine.
//!
//! It counts effects, writes them down, and makes them fail: by a fault that the story asks for, by
//! a plan of the tests ("the 17th"), or by the power going.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Inner;
use crate::host::{Error, Kind};

/// The panic payload of a power cut: caught by whoever runs the machine.
#[derive(Clone, Copy, Debug)]
pub struct PowerCut;

/// The panic payload of a run that never comes back: a write that the drive does not answer.
#[derive(Clone, Copy, Debug)]
pub struct Hung;

/// What becomes of writes that were not synced when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// None of them happened.
    Lost,
    /// All of them happened.
    Kept,
    /// Names and links are there, contents only to the half: shorter, or filled up with zeroes.
    Torn,
    /// Of the writes to slots and partition tables some happened and others did not, in no order;
    /// file systems keep the order of theirs.
    Reordered,
}

impl Cut {
    /// Every way that makes a difference to file systems.
    pub const ALL: [Cut; 3] = [Cut::Lost, Cut::Kept, Cut::Torn];
    /// Every way that makes a difference to a drive.
    pub const OF_DRIVES: [Cut; 4] = [Cut::Lost, Cut::Kept, Cut::Torn, Cut::Reordered];

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Cut::Lost => "lost",
            Cut::Kept => "kept",
            Cut::Torn => "torn",
            Cut::Reordered => "reordered",
        }
    }
}

/// How an effect fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// With this errno(2).
    Errno(i32),
    /// It never comes back.
    Hang,
    /// The program is not in the image.
    Missing,
    /// The program prints nonsense.
    Nonsense,
    /// The program prints this and fails.
    Says(String),
}

/// A fault that lasts until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it hits.
    pub at: Target,
    /// What happens then.
    pub how: Failure,
}

/// What a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The import of this pool.
    Import(String),
    /// Changing anything at or below this path.
    Write(PathBuf),
    /// Mounting this, by its source or its mount point.
    Mount(String),
    /// Running this program.
    Program(String),
    /// Asking the kernel for the list of disks.
    Geom,
}

/// What the tests do to one run of nanozfs.
#[derive(Clone, Debug, Default)]
pub enum Plan {
    /// Nothing.
    #[default]
    Nothing,
    /// The power goes before the effect with this number, counted from 1.
    CutAt(u64),
    /// The effect with this number fails.
    FailAt(u64, i32),
    /// The effect with this number does not come back: a program until its time is over, anything
    /// else for ever.
    HangAt(u64),
}

/// One run of nanozfs, from [`super::Lab::begin`] on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    plan: Plan,
    /// What was done, in order.
    pub(crate) done: Vec<Effect>,
    /// Time spent waiting for devices.
    pub(crate) waited: Duration,
    /// Programs that FreeBSD would have run.
    pub(crate) programs: usize,
    /// GUIDs of the pools that it has imported.
    pub(crate) imported: Vec<u64>,
    /// Set while a nanozfs is at work.
    pub(crate) lock: Arc<AtomicBool>,
}

/// One change of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What was done: `create`, `mount`, …
    pub verb: &'static str,
    /// To what.
    pub object: String,
}

impl Effect {
    /// This was done to that.
    pub(crate) fn new(verb: &'static str, object: impl std::fmt::Display) -> Self {
        Effect { verb, object: object.to_string() }
    }

    /// To a file.
    pub(crate) fn on(verb: &'static str, path: &Path) -> Self {
        Effect::new(verb, path.display())
    }

    fn is_hit(&self, target: &Target) -> bool {
        match target {
            Target::Import(pool) => self.verb == "import" && self.object == *pool,
            Target::Write(path) => self.of_files() && Path::new(&self.object).starts_with(path),
            Target::Mount(what) => {
                self.verb == "mount" && self.object.split(" on ").any(|part| part == what)
            }
            Target::Program(_) | Target::Geom => false,
        }
    }

    fn of_files(&self) -> bool {
        let other = ["import", "mount", "unmount", "set", "kenv", "run", "signal"];
        let of_pools = self.verb.starts_with("zfs ") || self.verb.starts_with("zpool ");
        !other.contains(&self.verb) && !of_pools
    }
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.object)
    }
}

impl super::Lab {
    /// From now on effects are counted anew, and `plan` is what happens to them.
    pub fn begin(&self, plan: Plan) {
        self.lock().run = Run { plan, ..Run::default() };
    }

    /// The effects since [`super::Lab::begin`].
    pub fn effects(&self) -> Vec<Effect> {
        self.lock().run.done.clone()
    }

    /// How many programs FreeBSD would have run since [`super::Lab::begin`].
    pub fn programs(&self) -> usize {
        self.lock().run.programs
    }

    /// Time that was spent waiting for devices since [`super::Lab::begin`].
    pub fn waited(&self) -> Duration {
        self.lock().run.waited
    }
}

impl Inner {
    /// `effect` is about to happen. Comes back with how it fails, if it does; when the power goes,
    /// it does not come back.
    pub(crate) fn gate(&mut self, effect: Effect) -> Option<Failure> {
        let number = self.run.done.len() as u64 + 1;
        // Once it went, it is gone for every thread.
        if matches!(self.run.plan, Plan::CutAt(at) if at <= number) {
            std::panic::resume_unwind(Box::new(PowerCut));
        }
        let planned = match self.run.plan {
            Plan::FailAt(at, errno) if at == number => Some(Failure::Errno(errno)),
            Plan::HangAt(at) if at == number => Some(Failure::Hang),
            _ => None,
        };
        let fault = || self.machine.faults.iter().find(|fault| effect.is_hit(&fault.at));
        let failure = planned.or_else(|| fault().map(|fault| fault.how.clone()));
        self.run.done.push(effect);
        failure
    }

    /// The same for a change of files: an error of the system.
    pub(crate) fn gate_io(&mut self, effect: Effect) -> io::Result<()> {
        match self.gate(effect) {
            None => Ok(()),
            Some(Failure::Hang) if self.is_planned_hang() => self.hang(),
            Some(failure) => Err(io::Error::from_raw_os_error(failure.errno())),
        }
    }

    /// The same for a call of the host.
    pub(crate) fn gate_host(&mut self, effect: Effect, limit: Duration) -> crate::host::Result<()> {
        let doing = effect.to_string();
        match self.gate(effect) {
            None => Ok(()),
            Some(Failure::Hang) if self.is_planned_hang() && limit.is_zero() => self.hang(),
            Some(failure) => Err(self.failed(&failure, &doing, limit)),
        }
    }

    /// The last effect is the one that was to hang.
    fn is_planned_hang(&self) -> bool {
        matches!(self.run.plan, Plan::HangAt(at) if at == self.run.done.len() as u64)
    }

    /// This run never comes back; what else is on the machine goes on.
    fn hang<T>(&mut self) -> T {
        std::panic::resume_unwind(Box::new(Hung))
    }

    /// What became of running `program`, if anything is wrong with it.
    pub(crate) fn program(&mut self, program: &str) -> Option<Failure> {
        self.run.programs += 1;
        let hit = |fault: &&Fault| matches!(&fault.at, Target::Program(name) if name == program);
        self.machine.faults.iter().find(hit).map(|fault| fault.how.clone())
    }

    /// The error that a failure is; a hang takes its time.
    pub(crate) fn failed(&mut self, failure: &Failure, doing: &str, limit: Duration) -> Error {
        match failure {
            Failure::Errno(errno) => Error::io(doing, &io::Error::from_raw_os_error(*errno)),
            Failure::Hang => {
                self.machine.uptime += limit;
                let guarded = self.machine.guard.is_some_and(|at| at <= self.machine.uptime);
                if guarded && self.is_planned_hang() {
                    // Nobody waits longer than the guard of a trial.
                    return self.hang();
                }
                let why = format!("no answer within {} s", limit.as_secs());
                Error::new(Kind::TimedOut(limit), doing, why)
            }
            Failure::Missing => {
                let program = doing.split(' ').next().unwrap_or_default();
                let why = format!("{program}: not found");
                Error::new(Kind::ProgramMissing, doing, why)
            }
            Failure::Nonsense => Error::new(Kind::Nonsense, doing, "its answer makes no sense"),
            Failure::Says(words) => Error::new(Kind::Refused, doing, words.clone()),
        }
    }
}

impl Failure {
    fn errno(&self) -> i32 {
        match self {
            Failure::Errno(errno) => *errno,
            Failure::Hang => libc::ETIMEDOUT,
            Failure::Missing => libc::ENOENT,
            Failure::Nonsense | Failure::Says(_) => libc::EIO,
        }
    }
}
