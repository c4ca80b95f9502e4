//! The power goes at every effect of every story, and every effect fails once.
//!
//! For each run of nanozfs in a story the machine is taken as it is before the run, the power is
//! cut before the first effect, before the second, and so on, each time with unsynced writes lost,
//! kept and torn where there are any, and the machine is booted again. Then it must be as it would be
//! without the cut. After two boots in a row that were cut off the machine leaves its pools alone, and
//! must: then it is told to forget them, and booted once more.

mod changes;
mod history;
mod scene;
mod switches;

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Lab;
use super::play::{Player, boot_command, settle_command};
use super::statement::Statement;
use super::story::Story;
use scene::{Scene, fresh};

/// What an effect fails with, one after the other.
const ERRNOS: [(i32, &str); 3] =
    [(libc::EIO, "EIO"), (libc::ENOSPC, "ENOSPC"), (libc::EBUSY, "EBUSY")];
/// The names of stories about switches between slots begin like this.
const SWITCHES: char = 'a';
/// The names of stories about `status` begin like this. It changes nothing; what else they do is
/// done, cut and failed in other stories.
const STATUS: char = 'b';
/// The names of stories about the history of the configuration begin like this.
const HISTORY: char = 'd';
/// The names of stories about commands that are typed again after a power cut begin like this.
const TYPED_AGAIN: char = 'g';
/// The names of stories about changes of the configuration begin like this.
const CHANGES: char = 'e';
/// As many failures of one kind are told.
const TOLD: usize = 40;

/// What became of all that was tried.
#[derive(Debug, Default)]
pub struct Report {
    /// Power cuts tried.
    pub cuts: usize,
    /// Those after which everything was as it should be.
    pub survived: usize,
    /// Failing effects tried.
    pub errors: usize,
    /// Those after which everything was as it should be.
    pub endured: usize,
    /// Effects that were tried without an answer.
    pub hangs: usize,
    /// Those after which everything was as it should be.
    pub outlasted: usize,
    /// Those of them in which the guard of a trial restarted the machine.
    pub guarded: usize,
    /// What was not as it should be, one line each.
    pub failures: Vec<String>,
}

impl Report {
    fn add(&mut self, other: Report) {
        self.cuts += other.cuts;
        self.survived += other.survived;
        self.errors += other.errors;
        self.endured += other.endured;
        self.hangs += other.hangs;
        self.outlasted += other.outlasted;
        self.guarded += other.guarded;
        self.failures.extend(other.failures);
    }
}

/// Cuts and fails its way through all stories, on all processors, in directories below `root`.
///
/// # Errors
///
/// When the directories cannot be used.
pub fn all(stories: &[Story], root: &Path) -> io::Result<Report> {
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Ok(Report::default()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (next, total) = (&next, &total);
            scope.spawn(move || {
                while let Some(story) = stories.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = one(story, &root.join(format!("w{worker}")));
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    match (report, total.as_mut()) {
                        (Ok(report), Ok(sum)) => sum.add(report),
                        (Err(error), Ok(_)) => *total = Err(error),
                        (_, Err(_)) => {}
                    }
                }
            });
        }
    });
    let mut report = total.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    report.failures.sort();
    Ok(report)
}

/// How the runs of a story are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boots,
    Status,
    Switches,
    History,
    Changes,
    TypedAgain,
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name.chars().next() {
            Some(SWITCHES) => Kind::Switches,
            Some(STATUS) => Kind::Status,
            Some(HISTORY) => Kind::History,
            Some(CHANGES) => Kind::Changes,
            Some(TYPED_AGAIN) => Kind::TypedAgain,
            _ => Kind::Boots,
        }
    }

    /// What of nanozfs a line of the story runs, and how much later.
    fn run(self, lab: &Lab, statement: &Statement) -> Option<(Vec<String>, Duration)> {
        let none = Duration::ZERO;
        match statement {
            Statement::Run(words) => {
                let elsewhere = self == Kind::Status && !words.iter().any(|one| one == "status");
                (!elsewhere).then(|| (words.clone(), none))
            }
            _ if self == Kind::Status => None,
            Statement::Boot => Some((boot_command(), none)),
            Statement::Settle => Some((settle_command(), none)),
            // What was left in the background.
            Statement::Wait(time) if self == Kind::Changes => {
                lab.lock().due(*time).map(|words| (words, *time))
            }
            _ => None,
        }
    }

    fn explore(self, scene: &Scene<'_>, report: &mut Report) -> io::Result<()> {
        match self {
            Kind::Switches => switches::explore(scene, report),
            Kind::History => history::explore(scene, report),
            Kind::Changes => changes::explore(scene, report),
            Kind::Boots | Kind::Status | Kind::TypedAgain => {
                report.add(scene.explore()?);
                Ok(())
            }
        }
    }
}

/// Cuts and fails its way through one story.
///
/// # Errors
///
/// When the directory cannot be used.
pub fn one(story: &Story, root: &Path) -> io::Result<Report> {
    let kind = Kind::of(&story.name);
    let mut report = Report::default();
    let lab = Lab::create(&root.join("story"))?;
    let mut player = Player::new(&lab);
    for (number, statement) in &story.lines {
        if let Some((words, later)) = kind.run(&lab, statement) {
            let is_boot = matches!(statement, Statement::Boot);
            let under_rc = is_boot || matches!(statement, Statement::Settle);
            if matches!(statement, Statement::Run(_)) {
                lab.rc_ends();
            }
            if is_boot && !lab.lock().machine.on {
                lab.power_on()?;
            }
            let place = format!("{}:{number}", story.file);
            let before = fresh(&lab, &root.join("before"))?;
            before.lock().time_passes(later);
            let scene = Scene {
                before: &before,
                root,
                words: &words,
                is_boot,
                under_rc,
                typed_again: kind == Kind::TypedAgain && !is_boot,
                place: &place,
                certain: Cell::new(false),
            };
            kind.explore(&scene, &mut report)?;
        }
        // What a story expects is another test's business.
        if !matches!(statement, Statement::Expect(_))
            && let Err(error) = player.perform(statement)
        {
            report.failures.push(format!("{}:{number}: {error}", story.file));
        }
    }
    std::fs::remove_dir_all(root)?;
    report.failures.truncate(TOLD);
    Ok(report)
}

/// Where many small files are made fastest: in memory, when there is such a place.
pub fn fast_directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() }
}
