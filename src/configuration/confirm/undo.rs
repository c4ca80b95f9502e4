//! Taking a change back that nobody confirmed: `/cfg` as in the snapshot of before.
//!
//! Every step can be done again: whatever ends it half-way, the next boot finds the same record and
//! goes on. Nothing is lost: what was applied is in a snapshot, and so is what came on top of it.

use std::path::{Path, PathBuf};

use super::record::{Content, Record, State};
use crate::boot::cfg::CFG;
use crate::boot::tree::{Change, Comparison, What};
use crate::boot::{Boot, overlay};
use crate::configuration::look::IMAGE;
use crate::configuration::mirror::Difference;
use crate::configuration::names::shown;
use crate::configuration::{act, lists};
use crate::host::{FileKind, Files, mount_of, mounted_at, why};
use crate::report::{Code, Finding};

/// What `/cfg` is laid over.
const ETC: &str = "/etc";

/// Where a snapshot of `/cfg` is to be seen.
pub(super) fn snapshot(name: &str) -> PathBuf {
    Path::new(CFG).join(".zfs/snapshot").join(name)
}

/// The snapshot of what came on top of the change: the first, the second.
fn later(record: &Record, at: usize) -> String {
    match at {
        0 => format!("{}-later", record.applied),
        at => format!("{}-later-{}", record.applied, at + 1),
    }
}

/// Makes `/cfg` what it was before the change, and `/etc` where only the change had put something.
/// What is then to be laid over `/etc`: `/cfg`, or, when that could not be written, the snapshot.
/// `reason` says why the change is taken back.
pub(super) fn undo(boot: &mut Boot<'_, '_>, record: &Record, reason: &str) -> PathBuf {
    let (cfg, before) = (PathBuf::from(CFG), snapshot(&record.before));
    if !boot.host.files().is_directory(&before) {
        let what = format!("there is no snapshot @{} to go back to: {reason}", record.before);
        boot.find(Finding::new(Code::E88, what).next("nanozfs cfg log; nanozfs cfg confirm"));
        return cfg;
    }
    let done = back(boot, record, &before);
    clear_etc(boot, record, &before);
    let ended = done.and_then(|refused| {
        tell(boot, &refused);
        let ended = Record { state: State::Undone, end: reason.to_owned(), ..record.clone() };
        ended.write(boot.host.files(), &cfg).map_err(|error| format!("the record: {}", why(&error)))
    });
    match ended {
        Ok(()) => {
            let what = format!("the change of {} was taken back: {reason}", record.id);
            let finding = Finding::new(Code::E87, what);
            let finding = finding.detail("applied", format!("@{}", record.applied));
            boot.find(finding.detail("now", format!("@{}", record.before)));
            cfg
        }
        Err(why) => {
            let what = format!("the change of {} could not be taken back: {why}", record.id);
            let finding = Finding::new(Code::E88, what);
            boot.find(finding.detail("etc", format!("is laid from @{}", record.before)));
            before
        }
    }
}

/// What stays as it is, however often it is tried. The record ends all the same: a change that is
/// taken back at each start would undo all that is done after it.
fn tell(boot: &mut Boot<'_, '_>, refused: &[(PathBuf, String)]) {
    act::tell(boot, Code::E95, "not brought back to /cfg", refused);
}

/// `/cfg` as in the snapshot. What cannot be brought there, however often it is tried.
fn back(
    boot: &mut Boot<'_, '_>,
    record: &Record,
    before: &Path,
) -> Result<Vec<(PathBuf, String)>, String> {
    let (files, cfg) = (boot.host.files(), Path::new(CFG));
    let on_top = Difference::find(files, &Content, &snapshot(&record.applied), cfg);
    let way_back = Difference::find(files, &Content, before, cfg);
    if !on_top.is_surely_empty() && !way_back.is_empty() {
        keep(boot, record)?;
    }
    let done = way_back.mirror(boot.host.files(), before, cfg);
    boot.changed(done.written.len() + done.removed);
    match done.failed.first() {
        None => Ok(done.refused),
        Some((path, why)) => Err(format!("{}: {why}", shown(path))),
    }
}

/// Takes a snapshot of what is in `/cfg` now, unless the last one of this kind holds the same.
fn keep(boot: &mut Boot<'_, '_>, record: &Record) -> Result<(), String> {
    let files = boot.host.files();
    let mut count = 0;
    while files.is_directory(&snapshot(&later(record, count))) {
        count += 1;
    }
    let last = count.checked_sub(1).map(|at| snapshot(&later(record, at)));
    let has =
        |last: PathBuf| Difference::find(files, &Content, &last, Path::new(CFG)).is_surely_empty();
    if last.is_some_and(has) {
        return Ok(());
    }
    let mounts = boot.host.mounts().map_err(|error| error.to_string())?;
    let dataset = mounted_at(&mounts, Path::new(CFG)).map(|mount| mount.source.clone());
    let dataset = dataset.ok_or("nothing is mounted on /cfg")?;
    let why = "taken back: as it was then";
    super::record_snapshot(boot, &dataset, &later(record, count), why).map_err(|error| error.why)
}

/// Puts right in `/etc` what laying the old `/cfg` over it does not: a file that only the change
/// brought goes, or is the image's again; one of the image's that the change hid comes back.
fn clear_etc(boot: &mut Boot<'_, '_>, record: &Record, before: &Path) {
    let (files, etc) = (boot.host.files(), Path::new(ETC));
    let applied = snapshot(&record.applied);
    let brought = Difference::find(files, &Content, before, &applied).gone;
    let old = lists::deleted(files, before).0;
    let hidden = lists::deleted(files, &applied).0.into_iter().filter(|path| !old.contains(path));
    let mut gone = Vec::new();
    let mut from_image: Vec<(PathBuf, Vec<Change>)> = Vec::new();
    // Directories before what is in them.
    for path in hidden.chain(brought.into_iter().rev()) {
        if path.starts_with(lists::OURS) {
            continue;
        }
        match (origin(files, &path), files.find(&etc.join(&path))) {
            (Some((image, what)), _) => {
                let change = Change { path, what };
                match from_image.iter_mut().find(|(root, _)| *root == image) {
                    Some((_, changes)) => changes.push(change),
                    None => from_image.push((image, vec![change])),
                }
            }
            (None, Ok(Some(stat))) if is_of(files, &applied.join(&path), &etc.join(&path)) => {
                gone.push((path, stat.kind));
            }
            (None, _) => {}
        }
    }
    let mounts = boot.host.mounts().unwrap_or_default();
    let target = mount_of(&mounts, etc);
    if target.is_some_and(|mount| mount.read_only) {
        return; // said when /cfg is laid
    }
    let durable = target.is_none_or(|mount| !mount.in_memory());
    gone.reverse();
    overlay::remove(boot, etc, &gone);
    for (image, changes) in from_image {
        let files = boot.host.files();
        let differs = |change: &Change| {
            let (own, there) = (image.join(&change.path), etc.join(&change.path));
            !is_of(files, &own, &there)
        };
        let changes: Vec<_> = changes.into_iter().filter(differs).collect();
        let mut comparison = Comparison { changes, ..Comparison::default() };
        overlay::put(boot, &image, &mut comparison, durable);
    }
}

/// The image's own file of this name, and how it is put in its place.
pub(super) fn origin(files: &dyn Files, path: &Path) -> Option<(PathBuf, What)> {
    IMAGE.iter().rev().find_map(|image| {
        let own = Path::new(image).join(path);
        let stat = files.find(&own).ok()??;
        let what = match stat.kind {
            FileKind::File => What::File(stat.attributes),
            FileKind::Directory => What::Directory(stat.attributes),
            FileKind::Link => What::Link(files.read_link(&own).ok()?),
            _ => return None,
        };
        Some((PathBuf::from(image), what))
    })
}

/// Both are the same: files with the same bytes, links that read the same, directories.
pub(super) fn is_of(files: &dyn Files, one: &Path, other: &Path) -> bool {
    let (Ok(Some(a)), Ok(Some(b))) = (files.find(one), files.find(other)) else { return false };
    a.kind == b.kind
        && match a.kind {
            FileKind::File => {
                a.attributes.same_owner_and_mode(&b.attributes)
                    && files.same_content(one, other).unwrap_or(false)
            }
            FileKind::Link => files.read_link(one).ok() == files.read_link(other).ok(),
            FileKind::Directory => true,
            _ => false,
        }
}

/// Puts back what was changed in `/cfg` while the state of before was being written down. `kept`:
/// nobody else was at work since, so that nothing has to be kept before.
pub(super) fn unprepare(
    boot: &mut Boot<'_, '_>,
    record: &Record,
    kept: bool,
) -> Result<(), String> {
    let (files, cfg) = (boot.host.files(), Path::new(CFG));
    let applied = snapshot(&record.applied);
    if files.is_directory(&applied) {
        let found = Difference::find(files, &Content, &applied, cfg);
        let before = snapshot(&record.before);
        let is_before = files.is_directory(&before)
            && Difference::find(files, &Content, &before, cfg).is_surely_empty();
        if !kept && !found.is_empty() && !is_before {
            keep(boot, record)?;
        }
        let done = found.mirror(boot.host.files(), &applied, cfg);
        boot.changed(done.written.len() + done.removed);
        tell(boot, &done.refused);
        if let Some((path, why)) = done.failed.first() {
            return Err(format!("{}: {why}", shown(path)));
        }
    }
    let end = "it was never applied".to_owned();
    let ended = Record { state: State::Undone, end, ..record.clone() };
    ended.write(boot.host.files(), cfg).map_err(|error| why(&error))
}
