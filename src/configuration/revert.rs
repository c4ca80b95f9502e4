//! `nanozfs cfg revert @SNAPSHOT`: `/cfg`, and with it `/etc`, as they were.
//!
//! ```text
//! 1  /cfg      what is in /etc and not saved yet; @cfg-ID: so a revert can be reverted
//! 2  /cfg      what the snapshot has, file by file
//! 3  /etc      the same there; where the snapshot has nothing, as in the image
//! 4  /cfg      what the snapshot has not is removed
//! 5  @cfg-ID   the record of this revert
//! ```
//!
//! Nothing is rolled back in place: all snapshots stay. `revert PATH` is step 3 alone, from what
//! `/cfg` has.

use std::path::{Path, PathBuf};

use super::back::{Back, From};
use super::command::Order;
use super::history::{self, Home};
use super::names::{Named, shown};
use super::plan::Plan;
use super::rewind::Rewind;
use super::walk::Walk;
use super::{act, save};
use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::boot::overlay;
use crate::boot::tree::{Change, Comparison};
use crate::host::mount_of;
use crate::report::{Code, Exit, Finding};

/// Said at the end.
const RUNNING: &str = "what runs goes on with what it read: restart it, or: reboot";

/// Reverts.
pub(super) fn run(boot: &mut Boot<'_, '_>, order: &Order) -> Exit {
    let (typed, named) = match history::named(&order.operands) {
        Ok(meant) => meant,
        Err(why) => {
            boot.console.say(&format!("cfg revert: {why}"));
            return Exit::Usage;
        }
    };
    let mut home = match history::find(boot) {
        Ok(home) => home,
        Err(exit) => return exit,
    };
    let Some(typed) = typed else { return of_etc(boot, &named) };
    let Some(chosen) = home.snapshot(&typed).cloned() else {
        boot.find(Finding::new(Code::E93, format!("{CFG} has no snapshot {typed}")));
        return Exit::Failed;
    };
    let source = history::directory(&chosen);
    let files = boot.host.files();
    let walk = Walk::new(files, &named, home.snapshots.last(), Some(&chosen));
    if save::is_unknown(boot, &walk, &named) {
        return Exit::Failed;
    }
    let files = boot.host.files();
    let unsaved = walk.unsaved(files);
    let back = walk.back(files, &unsaved);
    let Some((unsaved, looked)) = save::plan(boot, &home, &named, &unsaved, false) else {
        return Exit::Failed;
    };
    let Some(back) = Back::find(boot, &back, &named, true) else { return Exit::Failed };
    show(boot, &back);
    // Nothing of /etc is replaced that was not kept before.
    let kept = |path: &Path| {
        let near = |one: &Path| one.starts_with(path) || path.starts_with(one);
        !unsaved.refused.iter().any(|(one, _)| near(one))
    };
    if !looked || !back.lines.keys().all(|path| kept(path)) {
        act::tell(boot, Code::E91, "not kept", &unsaved.refused);
        boot.console.say("nothing was changed: what is in /etc could not be kept first");
        return Exit::Failed;
    }
    let files = boot.host.files();
    let rewind = Rewind::find(files, &named, walk.rewind(files));
    let ahead = walk.is_ahead(files);
    let to = format!("@{}", chosen.name);
    let paths: Vec<_> = named.0.iter().map(|path| shown(path)).collect();
    let which = if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
    let note = order.option("message").map(|why| format!("; {why}")).unwrap_or_default();
    let note = format!("back to {to}{which}{note}");
    let complete = back.refused.is_empty();
    if back.lines.is_empty() && rewind.is_empty() {
        let all = if complete { "all" } else { "all else" };
        boot.console.say(&format!("{all} is as in {to} already"));
        let exit = unrecorded(boot, &mut home, ahead, complete.then_some(&named), &note);
        return if complete { exit } else { Exit::Failed };
    }
    if !boot.act {
        let count = save::count(back.lines.len());
        boot.console.say(&format!("would go back to {to}: {count} in /etc"));
        return Exit::Done;
    }
    let room = unsaved.bytes + rewind.bytes(boot, &source);
    if !act::has_room(boot, room) || !keep_present(boot, &mut home, &unsaved, ahead, &to) {
        return Exit::Failed;
    }
    // What was just saved is in /cfg now, too.
    let mut rewind = match unsaved.is_empty() {
        true => rewind,
        false => Rewind::look(boot.host.files(), &source, &named),
    };
    let written = rewind.write(boot, &source);
    let (laid, stayed) = lay(boot, &source, back);
    // What could not go from /etc has to be known the next time: /cfg still has it.
    rewind.extra.retain(|(path, _)| !stayed.iter().any(|one| one.starts_with(path)));
    let done = rewind.remove(boot) && written && laid;
    let Some(snapshot) = home.record(boot, &note) else { return Exit::Failed };
    if !done {
        boot.console.say("not all of it is back: the same command again goes on with it");
        return Exit::Failed;
    }
    if !complete {
        let name = &snapshot.name;
        boot.console.say(&format!("back to {to}{which} but for what is named above, as @{name}"));
        return Exit::Failed;
    }
    if looked && unsaved.refused.is_empty() {
        save::step(boot, &home, &named);
    }
    boot.console.say(&format!("back to {to}{which}, as @{}", snapshot.name));
    boot.console.say(RUNNING);
    Exit::Done
}

/// Nothing is left to do: what is in `/cfg` gets the record that an earlier revert did not come to.
/// `done`: what was named, all of which is back.
fn unrecorded(
    boot: &mut Boot<'_, '_>,
    home: &mut Home,
    ahead: bool,
    done: Option<&Named>,
    note: &str,
) -> Exit {
    if !boot.act || !ahead {
        return Exit::Nothing;
    }
    let Some(snapshot) = home.record(boot, note) else { return Exit::Failed };
    if let Some(named) = done {
        save::step(boot, home, named);
    }
    boot.console.say(&format!("recorded as @{}", snapshot.name));
    Exit::Done
}

/// Brings single files of `/etc` back to what `/cfg` has, or else the image. `/cfg` stays as it is.
fn of_etc(boot: &mut Boot<'_, '_>, named: &Named) -> Exit {
    let walk = Walk::new(boot.host.files(), named, None, None);
    if save::is_unknown(boot, &walk, named) {
        return Exit::Failed;
    }
    let look = walk.unsaved(boot.host.files());
    let Some(back) = Back::find(boot, &look, named, false) else { return Exit::Failed };
    show(boot, &back);
    if let Some(path) = back.unknown.first() {
        let what = format!("{}: neither /cfg nor the image has it", shown(path));
        let next = format!("rm /etc/{}", shown(path));
        boot.find(Finding::new(Code::E93, what).next(next));
        return Exit::Failed;
    }
    if back.lines.is_empty() {
        boot.console.say("/etc has it as it was saved already");
        return if back.refused.is_empty() { Exit::Nothing } else { Exit::Failed };
    }
    if !boot.act {
        return Exit::Done;
    }
    let complete = back.refused.is_empty();
    if !lay(boot, Path::new(CFG), back).0 || !complete {
        return Exit::Failed;
    }
    boot.console.say(RUNNING);
    Exit::Done
}

/// Shows what becomes of `/etc`.
fn show(boot: &mut Boot<'_, '_>, back: &Back) {
    for (path, sign) in &back.lines {
        boot.console.entry(*sign, &shown(path));
    }
    act::tell(boot, Code::E95, "not brought back", &back.refused);
}

/// Saves what is in `/etc` and not saved yet, with a snapshot. True when all of it is kept.
fn keep_present(
    boot: &mut Boot<'_, '_>,
    home: &mut Home,
    unsaved: &Plan,
    ahead: bool,
    to: &str,
) -> bool {
    let why = format!("before going back to {to}");
    match unsaved.is_empty() {
        false => save::keep(boot, home, unsaved, ahead, &why),
        true => !ahead || home.record(boot, &why).is_some(),
    }
}

/// Brings `/etc` there. True when all of it was done; what was not is a finding. With what could
/// not be removed.
fn lay(boot: &mut Boot<'_, '_>, source: &Path, back: Back) -> (bool, Vec<PathBuf>) {
    let etc = Path::new("/etc");
    let mounts = boot.host.mounts().unwrap_or_default();
    let durable = mount_of(&mounts, etc).is_none_or(|mount| !mount.in_memory());
    let known = boot.findings().len();
    for (from, changes) in back.writes {
        let source = match from {
            From::Snapshot => source.to_owned(),
            From::Image(tree) => tree,
        };
        let changes = changes.into_iter().map(|(path, what)| Change { path, what }).collect();
        let mut comparison = Comparison { changes, ..Comparison::default() };
        overlay::put(boot, &source, &mut comparison, durable);
    }
    let failed = act::remove(boot, etc, &back.gone);
    act::tell(boot, Code::E95, "not removed from /etc", &failed);
    // A file that could not be written is a finding, and so is a database that was not rebuilt.
    let done = boot.findings().len() == known;
    (done, failed.into_iter().map(|(path, _)| path).collect())
}
