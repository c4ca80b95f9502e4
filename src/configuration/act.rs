//! Doing what a plan says: every file is written beside its place and renamed into it, and the
//! lists come before what they keep away is removed.

use std::path::{Path, PathBuf};

use super::lists;
use super::plan::Plan;
use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::boot::tree::{self, Change};
use crate::host::{FileKind, why};
use crate::report::{Code, Finding};

/// Room for what a file system needs beside the files.
const SPARE: u64 = 256 << 10;
/// A block of a file system, for sums.
const BLOCK: u64 = 4096;
/// Names told one by one; the rest is counted.
const TOLD: usize = 5;

/// What a file of this size takes at most.
pub(super) fn room_of(size: u64) -> u64 {
    (size.div_ceil(BLOCK) + 1) * BLOCK
}

/// There is room for so many bytes more; otherwise a finding.
pub(super) fn has_room(boot: &mut Boot<'_, '_>, bytes: u64) -> bool {
    let needed = bytes + SPARE;
    match boot.host.files().free_space(Path::new(CFG)) {
        Ok(free) if free < needed => {
            let (free, needed) = (free >> 10, needed.div_ceil(1 << 10));
            let what = format!("{CFG} has room for {free} kB, {needed} kB are needed");
            let finding = Finding::new(Code::E91, what).detail("saved", "nothing");
            boot.find(finding.next("zpool list; zfs list -t all -o space"));
            false
        }
        Ok(_) => true,
        Err(error) => {
            boot.console.detail(&format!("room in {CFG}: {}", why(&error)));
            true
        }
    }
}

/// Makes `/cfg` as the plan says. True when all of it was done; what was not is a finding.
pub(super) fn save(boot: &mut Boot<'_, '_>, plan: &Plan) -> bool {
    let (etc, cfg) = (Path::new("/etc"), Path::new(CFG));
    let mut failed = write(boot, etc, cfg, plan.changes.clone().into_iter());
    failed.extend(write_lists(boot, plan));
    // What must not come back would, if its name could not be written down.
    let kept = |path: &Path| failed.is_empty() || !plan.hide.iter().any(|one| one == path);
    let gone = plan.removed.iter().filter(|(path, _)| kept(path)).cloned().collect::<Vec<_>>();
    failed.extend(remove(boot, cfg, &gone));
    tell(boot, Code::E91, "not saved", &failed);
    failed.is_empty()
}

/// Writes these from `source` to `target`, on disk when it comes back. Those that failed, and why.
pub(super) fn write(
    boot: &mut Boot<'_, '_>,
    source: &Path,
    target: &Path,
    changes: impl Iterator<Item = (PathBuf, tree::What)>,
) -> Vec<(PathBuf, String)> {
    let changes: Vec<_> = changes.map(|(path, what)| Change { path, what }).collect();
    let laid = tree::lay(boot.host.files(), source, target, changes, true);
    boot.changed(laid.made.len());
    laid.failed
}

fn write_lists(boot: &mut Boot<'_, '_>, plan: &Plan) -> Vec<(PathBuf, String)> {
    let (files, cfg) = (boot.host.files(), Path::new(CFG));
    let mut failed = Vec::new();
    let (mut deleted, _) = lists::deleted(files, cfg);
    let before = deleted.clone();
    deleted.extend(plan.hide.iter().cloned());
    plan.unhide.iter().for_each(|path| {
        deleted.remove(path);
    });
    if deleted != before {
        match lists::write_deleted(files, cfg, &deleted) {
            Ok(()) => boot.changed(1),
            Err(error) => failed.extend(plan.hide.iter().map(|path| (path.clone(), why(&error)))),
        }
    }
    if !plan.ignore.is_empty() {
        let (mut ignore, _) = lists::ignore(files, cfg);
        plan.ignore.iter().for_each(|path| {
            ignore.add_path(path);
        });
        match lists::write_ignore(files, cfg, &ignore) {
            Ok(()) => boot.changed(1),
            Err(error) => failed.push((PathBuf::from(lists::OURS), why(&error))),
        }
    }
    failed
}

/// Removes these from `root`, deepest first, on disk when it comes back. Those that failed, and
/// why; a directory in which something is left stays.
pub(super) fn remove(
    boot: &mut Boot<'_, '_>,
    root: &Path,
    gone: &[(PathBuf, FileKind)],
) -> Vec<(PathBuf, String)> {
    let files = boot.host.files();
    let (mut failed, mut parents) = (Vec::new(), Vec::new());
    for (path, kind) in gone {
        let place = root.join(path);
        let done = match kind {
            FileKind::Directory => match files.is_empty(&place, &[]) {
                Ok(false) => continue,
                Ok(true) => files.remove_directory(&place),
                Err(error) => Err(error),
            },
            _ => files.remove_file(&place),
        };
        match done {
            Ok(()) => {
                boot.changed(1);
                parents.extend(place.parent().map(Path::to_owned));
            }
            Err(error) => failed.push((path.clone(), why(&error))),
        }
    }
    parents.sort();
    parents.dedup();
    for parent in parents.iter().filter(|parent| files.is_directory(parent)) {
        if let Err(error) = files.sync(parent) {
            log::warn!("sync {}: {error}", parent.display());
        }
    }
    failed
}

/// One finding for any number of files.
pub(super) fn tell(boot: &mut Boot<'_, '_>, code: Code, what: &str, failed: &[(PathBuf, String)]) {
    let text = |(path, why): &(PathBuf, String)| format!("{}: {why}", super::names::shown(path));
    let finding = match failed {
        [] => return,
        [one] => Finding::new(code, format!("{}: {what}", text(one))),
        all => {
            let finding = Finding::new(code, format!("{} files were {what}", all.len()));
            all.iter().take(TOLD).fold(finding, |finding, one| finding.detail("file", text(one)))
        }
    };
    let rest = failed.len().saturating_sub(TOLD);
    boot.find(if rest > 0 { finding.detail("file", format!("and {rest} more")) } else { finding });
}
