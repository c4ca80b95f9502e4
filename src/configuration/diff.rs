//! `nanozfs cfg diff`: what a save would do; with a snapshot, what has become of it.

use std::path::{Path, PathBuf};

use super::command::Order;
use super::history;
use super::look::{Differ, Trees, look};
use super::names::{Named, shown};
use super::plan::Line;
use super::walk::Walk;
use super::{act, lines, lists, save};
use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::format::zfs::Snapshot;
use crate::report::{Code, Exit, Finding};

/// Texts longer than this are not shown line by line.
const LONGEST: u64 = 256 << 10;

/// Shows the differences.
pub(super) fn run(boot: &mut Boot<'_, '_>, order: &Order) -> Exit {
    let (snapshot, named) = match history::named(&order.operands) {
        Ok(meant) => meant,
        Err(why) => {
            boot.console.say(&format!("cfg diff: {why}"));
            return Exit::Usage;
        }
    };
    let home = match history::find(boot) {
        Ok(home) => home,
        Err(exit) => return exit,
    };
    let files = boot.host.files();
    let etc = PathBuf::from("/etc");
    let (lines, before, after) = match &snapshot {
        None => {
            let walk = Walk::new(files, &named, None, None);
            if save::is_unknown(boot, &walk, &named) {
                return Exit::Failed;
            }
            let look = walk.unsaved(files);
            let planned = save::plan(boot, &home, &named, &look, false);
            let Some((plan, complete)) = planned else { return Exit::Failed };
            if plan.lines.is_empty() && !complete {
                return Exit::Failed;
            }
            act::tell(boot, Code::E91, "cannot be saved", &plan.refused);
            let mut before = vec![look.trees.cfg];
            before.extend(look.trees.image.into_iter().rev());
            (plan.lines, before, etc)
        }
        Some(typed) => {
            let Some(snapshot) = home.snapshot(typed) else {
                boot.find(Finding::new(Code::E93, format!("{CFG} has no snapshot {typed}")));
                return Exit::Failed;
            };
            if let Some(path) = unknown(boot, snapshot, &named) {
                let what = format!("{}: neither in {typed} nor in {CFG}", shown(path));
                boot.find(Finding::new(Code::E93, what).next("nanozfs cfg log; ls /cfg"));
                return Exit::Failed;
            }
            let lines = since(boot, snapshot, &named);
            (lines, vec![history::directory(snapshot)], PathBuf::from(CFG))
        }
    };
    if lines.is_empty() {
        boot.console.say("no difference");
        return Exit::Nothing;
    }
    for line in &lines {
        boot.console.entry(line.sign, &line.text());
        if boot.console.is_verbose() && line.sign != '?' {
            let before = before.iter().map(|tree| tree.join(&line.path));
            texts(boot, before.collect(), after.join(&line.path));
        }
    }
    Exit::Done
}

/// What was named, and is neither in the snapshot nor in `/cfg`, nor was hidden by either.
fn unknown<'a>(boot: &Boot<'_, '_>, snapshot: &Snapshot, named: &'a Named) -> Option<&'a Path> {
    let files = boot.host.files();
    let trees = [history::directory(snapshot), PathBuf::from(CFG)];
    let in_tree = |tree: &PathBuf, path: &Path| !matches!(files.find(&tree.join(path)), Ok(None));
    let hides = |tree: &PathBuf, path: &Path| {
        lists::deleted(files, tree).0.iter().any(|hidden| hidden.starts_with(path))
    };
    let known = |path: &Path| trees.iter().any(|tree| in_tree(tree, path) || hides(tree, path));
    named.0.iter().find(|path| !known(path)).map(PathBuf::as_path)
}

/// What `/cfg` has, and how the snapshot differs.
fn since(boot: &mut Boot<'_, '_>, snapshot: &Snapshot, named: &Named) -> Vec<Line> {
    let (files, cfg) = (boot.host.files(), PathBuf::from(CFG));
    let then = history::directory(snapshot);
    let (hidden, _) = lists::deleted(files, &cfg);
    let (was_hidden, _) = lists::deleted(files, &then);
    let look = look(files, Trees { etc: cfg, cfg: then, image: Vec::new() }, named);
    act::tell(boot, Code::E95, "not looked at", &look.failed);
    let mut lines = Vec::new();
    for fact in look.facts.into_iter().filter(|fact| named.means(&fact.path)) {
        let sign = match (fact.etc, fact.cfg, fact.differ) {
            (Some(_), Some(_), Differ::Nothing) | (None, None, _) => continue,
            (Some(_), Some(_), _) => 'M',
            (Some(_), None, _) => '+',
            (None, Some(_), _) => '-',
        };
        lines.push(Line { sign, path: fact.path, note: String::new() });
    }
    let mut list = |paths: Vec<&PathBuf>, sign, note: &str| {
        for path in paths.into_iter().filter(|path| named.means(path)) {
            lines.push(Line { sign, path: path.clone(), note: note.to_owned() });
        }
    };
    list(hidden.difference(&was_hidden).collect(), '-', "of the image; stays deleted");
    list(was_hidden.difference(&hidden).collect(), '+', "of the image; is back");
    lines
}

/// Shows two texts line by line, where they are texts: the first of `before` that is there, and
/// `after`. One that is not there is empty.
fn texts(boot: &mut Boot<'_, '_>, before: Vec<PathBuf>, after: PathBuf) {
    let files = boot.host.files();
    let read = |path: &Path| match files.find(path) {
        Ok(None) => Some(Vec::new()),
        Ok(Some(_)) => files.read(path, LONGEST).ok(),
        Err(_) => None,
    };
    let there = before.into_iter().find(|path| matches!(files.find(path), Ok(Some(_))));
    let old = there.map_or(Some(Vec::new()), |path| read(&path));
    let both = old.zip(read(&after));
    for line in both.and_then(|(old, new)| lines::unified(&old, &new)).unwrap_or_default() {
        boot.console.text(&line);
    }
}
