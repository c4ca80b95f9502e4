//! One run of nanozfs that is cut off, or fails, at each of its effects.

use std::cell::Cell;
use std::io;
use std::path::Path;

use super::{ERRNOS, Report};
use crate::boot::past;
use crate::configuration::confirm;
use crate::format::boots::TOO_MANY;
use crate::lab::play::{End, boot_command, run};
use crate::lab::state::State;
use crate::lab::{Cut, Lab, Plan};
use crate::report::Exit;

/// What nanozfs itself leaves in the kernel's environment.
const OURS: [&str; 4] = [
    crate::boot::record::STATE,
    crate::boot::past::BOOT,
    crate::boot::laid::VARIABLE,
    confirm::VARIABLE,
];

/// The same machine once more, in this directory alone.
pub(super) fn fresh(lab: &Lab, root: &Path) -> io::Result<Lab> {
    if root.exists() {
        std::fs::remove_dir_all(root)?;
    }
    lab.copy_to(root)
}

/// One run of nanozfs, on a machine that waits for it.
pub(super) struct Scene<'a> {
    pub(super) before: &'a Lab,
    pub(super) root: &'a Path,
    pub(super) words: &'a [String],
    pub(super) is_boot: bool,
    pub(super) under_rc: bool,
    /// Whoever typed it types it once more after a power cut or an error.
    pub(super) typed_again: bool,
    pub(super) place: &'a str,
    /// When the power went, all was on disk: the other cuts at that effect are the same cut.
    pub(super) certain: Cell<bool>,
}

/// What the run does when nothing goes wrong, and where that leads.
pub(super) struct Usual {
    pub(super) effects: usize,
    /// What is on the disks before it.
    pub(super) first: State,
    /// What is on the disks after it.
    pub(super) last: State,
    /// The machine after it, or after the boot that follows it.
    pub(super) settled: State,
    /// That boot leaves the pools alone, after two that did not come to their end.
    pub(super) stopped: bool,
}

/// The code that says so.
pub(super) const STOPPED: &str = "nanozfs: E15 ";

/// A boot that leaves the pools alone by design: why it should not have, or what is wrong with it.
/// Then somebody types what it asks for.
pub(super) fn after_two(lab: &Lab, end: &End, row: u32) -> Option<String> {
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
pub(super) fn row(lab: &Lab) -> u32 {
    past::unfinished(lab, lab.os_drive().as_ref())
}

/// What a recovery after two such boots asks for.
pub(super) fn clear_command() -> Vec<String> {
    ["nanozfs", "boot", "--clear"].map(str::to_owned).to_vec()
}

impl Scene<'_> {
    pub(super) fn explore(&self) -> io::Result<Report> {
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
    pub(super) fn copy(&self, name: &str) -> io::Result<Lab> {
        let lab = fresh(self.before, &self.root.join(name))?;
        // What happened before this run happened long before it.
        lab.lock().lose(Cut::Kept)?;
        Ok(lab)
    }

    /// What was typed at the loader is typed again.
    pub(super) fn retype(&self, lab: &Lab) {
        let typed = self.before.lock().machine.kenv.clone();
        let typed = typed
            .into_iter()
            .filter(|(name, _)| name.starts_with("nanozfs.") && !OURS.contains(&name.as_str()));
        lab.lock().machine.loader.extend(typed);
    }

    pub(super) fn run(&self, lab: &Lab, plan: Plan) -> (End, String) {
        let is_cut = matches!(plan, Plan::CutAt(_));
        let ended = run(lab, self.words, self.under_rc, plan);
        if is_cut {
            self.certain.set(lab.is_all_on_disk());
        }
        ended
    }

    /// The power goes, the machine boots: how that ended, and how the machine is then.
    pub(super) fn again(&self, lab: &Lab, cut: Cut) -> io::Result<(End, State)> {
        lab.power_cut(cut)?;
        self.retype(lab);
        lab.power_on()?;
        let (end, _) = run(lab, &boot_command(), true, Plan::Nothing);
        Ok((end, lab.state()?))
    }

    /// Types the same command once more, with the same answers; why it did not end well.
    pub(super) fn type_again(&self, lab: &Lab) -> Option<String> {
        lab.lock().machine.answers = self.before.lock().machine.answers.clone();
        match self.run(lab, Plan::Nothing).0 {
            End::Exit(code) if in_table(code) => None,
            end => Some(format!("typed again it ended with {end:?}")),
        }
    }

    pub(super) fn usual(&self) -> io::Result<Result<Usual, String>> {
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
    pub(super) fn boots_as_usual(&self, lab: &Lab, usual: &Usual) -> io::Result<Option<String>> {
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
    pub(super) fn cut(&self, number: u64, cut: Cut, usual: &Usual) -> io::Result<Option<String>> {
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
    pub(super) fn fail(
        &self,
        number: u64,
        errno: i32,
        usual: &Usual,
    ) -> io::Result<Option<String>> {
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
pub(super) fn in_table(code: u8) -> bool {
    Exit::ALL.iter().any(|(exit, _)| exit.code() == code && *exit != Exit::Internal)
}

/// A file that was on a disk and is now neither as it was nor as it should become. Directories
/// may be on their way to another place. `/etc` on a root that can be written to may hold a
/// recovery's files when that is what an error led to; that they come back is checked later.
pub(super) fn lost(usual: &Usual, found: &State, with_etc: bool) -> Option<String> {
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
pub(super) fn aside(found: &State, name: &str, line: &str) -> bool {
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
