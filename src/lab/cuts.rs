//! The power goes at every effect of every story, and every effect fails once.
//!
//! For each run of nanozfs in a story the machine is taken as it is before the run, the power is
//! cut before the first effect, before the second, and so on, each time with unsynced writes lost,
//! kept and torn where there are any, and the machine is booted again. Then it must be as it would be without the cut.
//! After two boots in a row that were cut off the machine leaves its pools alone, and must: then it is
//! told to forget them, and booted once more.

mod changes;
mod history;
mod switches;

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::play::{End, Player, boot_command, run, settle_command};
use super::state::State;
use super::statement::Statement;
use super::story::Story;
use super::{Cut, Lab, Plan};
use crate::boot::past;
use crate::configuration::confirm;
use crate::format::boots::TOO_MANY;
use crate::report::Exit;

/// What an effect fails with, one after the other.
const ERRNOS: [(i32, &str); 3] =
    [(libc::EIO, "EIO"), (libc::ENOSPC, "ENOSPC"), (libc::EBUSY, "EBUSY")];
/// What nanozfs itself leaves in the kernel's environment.
const OURS: [&str; 4] = [
    crate::boot::record::STATE,
    crate::boot::past::BOOT,
    crate::boot::laid::VARIABLE,
    confirm::VARIABLE,
];
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

/// The same machine once more, in this directory alone.
fn fresh(lab: &Lab, root: &Path) -> io::Result<Lab> {
    if root.exists() {
        std::fs::remove_dir_all(root)?;
    }
    lab.copy_to(root)
}

/// One run of nanozfs, on a machine that waits for it.
struct Scene<'a> {
    before: &'a Lab,
    root: &'a Path,
    words: &'a [String],
    is_boot: bool,
    under_rc: bool,
    /// Whoever typed it types it once more after a power cut or an error.
    typed_again: bool,
    place: &'a str,
    /// When the power went, all was on disk: the other cuts at that effect are the same cut.
    certain: Cell<bool>,
}

/// What the run does when nothing goes wrong, and where that leads.
struct Usual {
    effects: usize,
    /// What is on the disks before it.
    first: State,
    /// What is on the disks after it.
    last: State,
    /// The machine after it, or after the boot that follows it.
    settled: State,
    /// That boot leaves the pools alone, after two that did not come to their end.
    stopped: bool,
}

/// The code that says so.
const STOPPED: &str = "nanozfs: E15 ";

/// A boot that leaves the pools alone by design: why it should not have, or what is wrong with it.
/// Then somebody types what it asks for.
fn after_two(lab: &Lab, end: &End, row: u32) -> Option<String> {
    if row < TOO_MANY {
        return Some(format!("pools left alone after {row} boots without an end"));
    }
    if lab.lock().machine.pools.iter().any(|pool| pool.imported) || *end != End::Exit(5) {
        return Some(format!("not a recovery without pools: {end:?}"));
    }
    match run(lab, &clear_command(), false, Plan::Nothing) {
        (End::Exit(0), _) => None,
        (end, output) => Some(format!("boot --clear: {end:?}: {output}")),
    }
}

/// Boots in a row without an end, as the machine remembers them.
fn row(lab: &Lab) -> u32 {
    past::unfinished(lab, lab.os_drive().as_ref())
}

/// What a recovery after two such boots asks for.
fn clear_command() -> Vec<String> {
    ["nanozfs", "boot", "--clear"].map(str::to_owned).to_vec()
}

impl Scene<'_> {
    fn explore(&self) -> io::Result<Report> {
        let mut report = Report::default();
        let usual = match self.usual()? {
            Ok(usual) => usual,
            Err(why) => {
                report.failures.push(format!("{}: {why}", self.place));
                return Ok(report);
            }
        };
        for number in 1..=usual.effects + 1 {
            for cut in Cut::ALL {
                report.cuts += 1;
                match self.cut(number as u64, cut, &usual)? {
                    None => report.survived += 1,
                    Some(why) => report.failures.push(format!(
                        "{}: cut before effect {number}, {}: {why}",
                        self.place,
                        cut.name()
                    )),
                }
                if self.certain.get() {
                    break;
                }
            }
        }
        for number in 1..=usual.effects {
            for (errno, name) in ERRNOS {
                report.errors += 1;
                match self.fail(number as u64, errno, &usual)? {
                    None => report.endured += 1,
                    Some(why) => report
                        .failures
                        .push(format!("{}: effect {number} fails with {name}: {why}", self.place)),
                }
            }
        }
        Ok(report)
    }

    /// The same machine once more.
    fn copy(&self, name: &str) -> io::Result<Lab> {
        let lab = fresh(self.before, &self.root.join(name))?;
        // What happened before this run happened long before it.
        lab.lock().lose(Cut::Kept)?;
        Ok(lab)
    }

    /// What was typed at the loader is typed again.
    fn retype(&self, lab: &Lab) {
        let typed = self.before.lock().machine.kenv.clone();
        let typed = typed
            .into_iter()
            .filter(|(name, _)| name.starts_with("nanozfs.") && !OURS.contains(&name.as_str()));
        lab.lock().machine.loader.extend(typed);
    }

    fn run(&self, lab: &Lab, plan: Plan) -> (End, String) {
        let is_cut = matches!(plan, Plan::CutAt(_));
        let ended = run(lab, self.words, self.under_rc, plan);
        if is_cut {
            self.certain.set(lab.is_all_on_disk());
        }
        ended
    }

    /// The power goes, the machine boots: how that ended, and how the machine is then.
    fn again(&self, lab: &Lab, cut: Cut) -> io::Result<(End, State)> {
        lab.power_cut(cut)?;
        self.retype(lab);
        lab.power_on()?;
        let (end, _) = run(lab, &boot_command(), true, Plan::Nothing);
        Ok((end, lab.state()?))
    }

    /// Types the same command once more, with the same answers; why it did not end well.
    fn type_again(&self, lab: &Lab) -> Option<String> {
        lab.lock().machine.answers = self.before.lock().machine.answers.clone();
        match self.run(lab, Plan::Nothing).0 {
            End::Exit(code) if in_table(code) => None,
            end => Some(format!("typed again it ended with {end:?}")),
        }
    }

    fn usual(&self) -> io::Result<Result<Usual, String>> {
        let lab = self.copy("usual")?;
        let first = lab.disk_state()?;
        let (end, output) = self.run(&lab, Plan::Nothing);
        let End::Exit(_) = end else { return Ok(Err(format!("without a cut: {end:?}"))) };
        let effects = lab.effects().len();
        let last = lab.disk_state()?;
        let (output, settled) = match self.is_boot {
            true => (output, lab.state()?),
            false => {
                lab.power_cut(Cut::Kept)?;
                self.retype(&lab);
                lab.power_on()?;
                (run(&lab, &boot_command(), true, Plan::Nothing).1, lab.state()?)
            }
        };
        let stopped = output.contains(STOPPED);
        Ok(Ok(Usual { effects, first, last, settled, stopped }))
    }

    /// The machine boots, undisturbed; why it is not as usual then. When it leaves the pools alone
    /// after two boots without an end, and usually would not, it is told to forget them.
    fn boots_as_usual(&self, lab: &Lab, usual: &Usual) -> io::Result<Option<String>> {
        self.retype(lab);
        lab.power_on()?;
        let before = row(lab);
        let (mut end, mut output) = run(lab, &boot_command(), true, Plan::Nothing);
        if output.contains(STOPPED) && !usual.stopped {
            if let Some(why) = after_two(lab, &end, before) {
                return Ok(Some(why));
            }
            lab.power_cut(Cut::Kept)?;
            self.retype(lab);
            lab.power_on()?;
            (end, output) = run(lab, &boot_command(), true, Plan::Nothing);
        }
        if output.contains(STOPPED) != usual.stopped {
            return Ok(Some("the next boot decides otherwise about the pools".to_owned()));
        }
        match end {
            End::Exit(code) if in_table(code) => {}
            end => return Ok(Some(format!("the next boot ended with {end:?}"))),
        }
        let difference = usual.settled.differences(&lab.state()?).into_iter().next();
        Ok(difference.map(|difference| format!("the next boot ends otherwise: {difference}")))
    }

    /// Cuts the power before effect `number`; why that was not survived.
    fn cut(&self, number: u64, cut: Cut, usual: &Usual) -> io::Result<Option<String>> {
        let lab = self.copy("cut")?;
        let (end, _) = self.run(&lab, Plan::CutAt(number));
        let at = lab.effects().last().map_or_else(String::new, |last| format!(" (after {last})"));
        let wrong = |why: String| Ok(Some(format!("{why}{at}")));
        match end {
            End::Cut | End::Hung | End::Exit(_) => {}
            End::Panic(message) => return wrong(format!("it panicked: {message}")),
        }
        lab.power_cut(cut)?;
        if let Some(loss) = lost(usual, &lab.disk_state()?, true) {
            return wrong(format!("lost or torn: {loss}"));
        }
        if self.typed_again {
            self.retype(&lab);
            lab.power_on()?;
            run(&lab, &boot_command(), true, Plan::Nothing);
            if let Some(why) = self.type_again(&lab) {
                return wrong(why);
            }
            lab.power_cut(Cut::Kept)?;
        }
        match self.boots_as_usual(&lab, usual)? {
            None => Ok(None),
            Some(why) => wrong(why),
        }
    }

    /// Lets effect `number` fail; why that was not endured.
    fn fail(&self, number: u64, errno: i32, usual: &Usual) -> io::Result<Option<String>> {
        let lab = self.copy("fail")?;
        let (end, _) = self.run(&lab, Plan::FailAt(number, errno));
        let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let at = at.and_then(|at| lab.effects().get(at).cloned());
        let at = at.map_or_else(String::new, |effect| format!(" ({effect})"));
        let wrong = |why: String| Ok(Some(format!("{why}{at}")));
        match end {
            End::Exit(code) if in_table(code) => {}
            end => return wrong(format!("it ended with {end:?}")),
        }
        if let Some(loss) = lost(usual, &lab.disk_state()?, false) {
            return wrong(format!("lost or torn: {loss}"));
        }
        if let Some(why) = self.typed_again.then(|| self.type_again(&lab)).flatten() {
            return wrong(why);
        }
        lab.power_cut(Cut::Kept)?;
        match self.boots_as_usual(&lab, usual)? {
            None => Ok(None),
            Some(why) => wrong(why),
        }
    }
}

/// True when nanozfs(8) lists this exit code, and it is none that means a defect.
fn in_table(code: u8) -> bool {
    Exit::ALL.iter().any(|(exit, _)| exit.code() == code && *exit != Exit::Internal)
}

/// A file that was on a disk and is now neither as it was nor as it should become. Directories
/// may be on their way to another place. `/etc` on a root that can be written to may hold a
/// recovery's files when that is what an error led to; that they come back is checked later.
fn lost(usual: &Usual, found: &State, with_etc: bool) -> Option<String> {
    let before = usual.first.lines.iter().filter(|(name, line)| {
        let of_files = name.starts_with("os/") || name.starts_with("pools/");
        let etc = name.starts_with("os/") && name.contains(" etc/");
        of_files && !line.starts_with("directory") && (with_etc || !etc)
    });
    for (name, line) in before {
        let now = found.lines.get(name);
        if now != Some(line) && now != usual.last.lines.get(name) && !aside(found, name, line) {
            let now = now.map_or("gone", String::as_str);
            return Some(format!("{name}: {line} -> {now}"));
        }
    }
    None
}

/// True when the dataset of this file is not there and another one has the file: it was renamed.
fn aside(found: &State, name: &str, line: &str) -> bool {
    let Some((dataset, path)) = name.split_once(" ") else { return false };
    let Some((store, own)) = dataset.strip_prefix("pools/").and_then(|at| at.split_once("/@"))
    else {
        return false;
    };
    let start = format!("pools/{store}/@");
    let other = |(other, there): (&String, &String)| {
        other.starts_with(&start)
            && other.split_once(' ').map(|(_, path)| path) == Some(path)
            && there == line
    };
    let (start_of, end) = (format!("dataset {store} "), format!("/{}", own.replace('+', "/")));
    let is_there = |line: &String| line.starts_with(&start_of) && line.ends_with(&end);
    !found.lines.keys().any(is_there) && found.lines.iter().any(other)
}

/// Where many small files are made fastest: in memory, when there is such a place.
pub fn fast_directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() }
}
