//! `nanozfs cfg recovery save`: the recovery copy is made like `/cfg`, in the files that it should
//! have.
//!
//! Each file is written beside its place, brought to disk and renamed into it: when the power goes,
//! its place holds the old content or the new. What is gone from `/cfg` is removed last.

use std::path::{Path, PathBuf};

use super::difference::Files;
use super::{Result, copy};
use crate::boot::action::megabytes;
use crate::boot::cfg::CFG;
use crate::boot::tree::is_reserved;
use crate::boot::{Boot, overlay};
use crate::configuration::confirm;
use crate::configuration::look::IMAGE;
use crate::configuration::mirror::{Difference, Scope};
use crate::configuration::names::shown;
use crate::host;
use crate::report::{Code, Exit, Finding};

/// What the machine runs with.
const ETC: &str = "/etc";
/// Without these nobody gets in: they do not go from the copy because `/cfg` lost them.
const NEEDED: [&str; 2] = ["rc.conf", "master.passwd"];
/// What to type when `/cfg` has not got them.
const LOOK: &str = "ls -l /cfg; nanozfs cfg log; nanozfs cfg save";
/// Names told one by one.
const TOLD: usize = 5;

/// Refreshes the copy.
pub(super) fn run(boot: &mut Boot<'_, '_>) -> Result<Exit> {
    let mut copy = copy::find(boot)?;
    let cfg = copy::live(boot)?;
    if let Some(waits) = confirm::waiting(boot) {
        // What may lock everybody out tomorrow must not be what the machine is reached by then.
        return Err(Box::new(waits));
    }
    if !has_any(boot.host.files(), &Files(&boot.config.recovery_files), &cfg, Path::new("")) {
        let finding = copy::refused(format!("{CFG} has none of the recovery_files"));
        return Err(Box::new(finding.next(LOOK)));
    }
    if boot.act {
        boot.host.services().see_it_through();
    }
    copy.repair(boot)?;
    let (name, drive) = (copy.name(), copy.drive.clone());
    let done = copy.with(boot, false, |boot, at| write(boot, &name, &cfg, at))?;
    let Some(failed) = done else {
        boot.console.say("what differs is known once it is mounted: nanozfs cfg recovery diff");
        return Ok(Exit::Done);
    };
    tell_unsaved(boot, &cfg);
    if failed.is_empty() {
        return Ok(Exit::Done);
    }
    overlay::tell(boot, Code::E98, &format!("not put on the recovery copy of {drive}"), &failed);
    Ok(Exit::Failed)
}

/// Below this directory there is a file that the copy should have.
fn has_any(files: &dyn host::Files, scope: &dyn Scope, cfg: &Path, below: &Path) -> bool {
    files.list(&cfg.join(below)).unwrap_or_default().into_iter().any(|name| {
        let path = below.join(&name);
        match is_reserved(below, &name) || !scope.leads_to(&path) {
            true => false,
            false if files.is_directory(&cfg.join(&path)) => has_any(files, scope, cfg, &path),
            false => scope.holds(&path),
        }
    })
}

/// Makes what is mounted at `at` like `cfg`. What could not be done, with why.
fn write(boot: &mut Boot<'_, '_>, name: &str, cfg: &Path, at: &Path) -> Result<Vec<String>> {
    let files = boot.host.files();
    let found = Difference::find(files, &Files(&boot.config.recovery_files), cfg, at);
    if let Some(path) =
        found.gone.iter().find(|path| NEEDED.iter().any(|one| path.as_path() == Path::new(one)))
    {
        let name = shown(path);
        let finding =
            copy::refused(format!("{CFG} has no {name}, and the {name} of the copy stays"));
        return Err(Box::new(finding.next(LOOK)));
    }
    let (need, free, same) = (found.room(files, cfg, at), files.free_space(at), found.same);
    if let Ok(free) = free
        && need > free
    {
        let (free, need) = (megabytes(free), megabytes(need));
        let what = format!("the {name} has {free} free, and writing takes up to {need}");
        let finding = Finding::new(Code::E98, what).detail("nothing", "was written");
        let advice = "fewer recovery_files in nanozfs.conf; nanozfs cfg recovery show";
        return Err(Box::new(finding.next(advice)));
    }
    let done = found.mirror(files, cfg, at);
    for change in &done.written {
        boot.console.detail(&format!("{} is on the {name}", shown(&change.path)));
    }
    boot.changed(done.written.len() + done.removed);
    let failed: Vec<_> = done.failed.iter().chain(&done.refused).collect();
    let line = match (done.written.len(), done.removed, failed.len()) {
        (0, 0, 0) => format!("{name}: already as /cfg, in {same} files"),
        (written, removed, _) => {
            format!("{name}: {written} written, {removed} removed, {same} unchanged")
        }
    };
    boot.console.say(&line);
    Ok(failed.into_iter().map(|(path, why)| format!("{}: {why}", shown(path))).collect())
}

/// Says which of the files are in `/etc` in a state that `/cfg` does not have: what the machine
/// answers with now, and would not answer with after its next boot either.
fn tell_unsaved(boot: &mut Boot<'_, '_>, cfg: &Path) {
    let unsaved = unsaved(boot, cfg);
    if unsaved.is_empty() {
        return;
    }
    let names: Vec<_> = unsaved.iter().take(TOLD).map(|path| shown(path)).collect();
    let rest = match unsaved.len().saturating_sub(TOLD) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let names = names.join(", ");
    boot.console.say(&format!("in /etc, but not so in /cfg: {names}{rest}"));
    boot.console.say("next: nanozfs cfg save; nanozfs cfg recovery save");
}

fn unsaved(boot: &Boot<'_, '_>, cfg: &Path) -> Vec<PathBuf> {
    let files = boot.host.files();
    let scope = Files(&boot.config.recovery_files);
    let mut unsaved = Vec::new();
    let mut open = vec![PathBuf::new()];
    let etc = Path::new(ETC);
    while let Some(directory) = open.pop() {
        for name in files.list(&etc.join(&directory)).unwrap_or_default() {
            let path = directory.join(&name);
            if !scope.leads_to(&path) {
                continue;
            }
            if files.is_directory(&etc.join(&path)) {
                open.push(path);
                continue;
            }
            let is_there = |path: &PathBuf| matches!(files.find(path), Ok(Some(_)));
            let origins = IMAGE.iter().rev().map(|image| Path::new(image).join(&path));
            let origin = std::iter::once(cfg.join(&path)).chain(origins).find(is_there);
            let same = match origin {
                Some(origin) => files.same_content(&origin, &etc.join(&path)).unwrap_or(true),
                // Without the image's own at hand nobody can tell what is new.
                None => !IMAGE.iter().any(|image| files.is_directory(Path::new(image))),
            };
            if scope.holds(&path) && !same {
                unsaved.push(path);
            }
        }
    }
    unsaved.sort();
    unsaved
}
