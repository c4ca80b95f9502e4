//! Lays `/cfg` over `/etc`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::laid::Laid;
use super::tree::{self, Comparison, Existing, What};
use super::{Action, Boot};
use crate::configuration::lists;
use crate::host::{Attributes, Database, FileKind, mount_of, mounted_at};
use crate::report::{Code, Finding};

/// The target.
const ETC: &str = "/etc";
/// Names told one by one; the rest is counted.
const TOLD: usize = 5;

/// Lays the tree at `cfg` over `/etc`, takes away what is to stay deleted, rebuilds databases whose
/// text is newer, and has rc read rc.conf again. What it came to, for the helper's line.
pub fn lay(boot: &mut Boot<'_, '_>, cfg: &Path) -> String {
    let files = boot.host.files();
    let mounts = boot.host.mounts().unwrap_or_default();
    let etc = Path::new(ETC);
    // It was read from the image, before /cfg was there; a second one would be believed by hand.
    let conf = PathBuf::from("nanozfs.conf");
    if let Ok(Some(_)) = files.find(&cfg.join(&conf)) {
        let what = format!("{} is not laid over /etc", cfg.join(&conf).display());
        boot.find(Finding::new(Code::E08, what));
    }
    let skip = [conf, PathBuf::from(lists::OURS)];
    let mut comparison = tree::compare(files, cfg, etc, Existing::Replace, &skip);
    let refused: Vec<_> = comparison
        .refused
        .iter()
        .map(|(path, kind)| format!("{} is a {}", cfg.join(path).display(), kind.name()))
        .collect();
    tell(boot, Code::E36, "not laid over /etc", &refused);
    let target = mount_of(&mounts, etc);
    let in_memory = target.is_some_and(|mount| mount.in_memory());
    // An /etc that is not in memory does not get the image's files back at each boot.
    let deleted = if in_memory { deleted(boot, cfg, etc) } else { Vec::new() };
    let changes = comparison.changes.len() + deleted.len();
    if target.is_some_and(|mount| mount.read_only) && changes > 0 {
        let what = format!("/etc is read-only: {changes} changes were not made");
        boot.find(Finding::new(Code::E37, what).next("mount; ls -ld /conf/base/etc"));
        return "/etc: nothing written".to_owned();
    }
    if !boot.act {
        for change in &comparison.changes {
            boot.console.say(&format!("would {}", describe(etc, change)));
        }
        for (path, _) in &deleted {
            boot.console.say(&format!("would remove {}", etc.join(path).display()));
        }
        return format!("/etc: {} to be written{}", comparison.changes.len(), too(deleted.len()));
    }
    let written = put(boot, cfg, &mut comparison, !in_memory);
    let removed = remove(boot, etc, &deleted);
    let source = mounted_at(&mounts, cfg).map_or("", |mount| mount.source.as_str());
    let laid = Laid::now(boot.host, source, comparison.failed.len());
    let known = Laid::read(boot.host);
    let known = known.is_some_and(|known| known.is_of(source) && known.failed == laid.failed);
    if !known || written + removed > 0 {
        if let Err(error) = laid.write(boot.host) {
            boot.console.detail(&error.to_string());
        }
    }
    if written + removed > 0 {
        match boot.host.reread_rc_conf() {
            Ok(true) => boot.console.detail("rc reads rc.conf again"),
            Ok(false) => {}
            Err(error) => boot.console.detail(&error.to_string()),
        }
    }
    format!("/etc: {written} written{}, {} unchanged", too(removed), comparison.same)
}

/// How many files are removed, in the helper's line: nothing, mostly.
fn too(removed: usize) -> String {
    if removed == 0 { String::new() } else { format!(", {removed} removed") }
}

/// Makes the changes in `/etc`, tells which could not be made, and rebuilds the databases. How many
/// were made.
pub(crate) fn put(
    boot: &mut Boot<'_, '_>,
    source: &Path,
    comparison: &mut Comparison,
    durable: bool,
) -> usize {
    let written = write(boot, source, Path::new(ETC), comparison, durable);
    let failed: Vec<_> = comparison
        .failed
        .iter()
        .map(|(path, why)| format!("{}: {why}", source.join(path).display()))
        .collect();
    tell(boot, Code::E37, "not written to /etc", &failed);
    rebuild(boot, comparison);
    written
}

/// What is in `/etc` although it is to stay deleted, the deepest first. What `/cfg` has is not meant.
fn deleted(boot: &mut Boot<'_, '_>, cfg: &Path, etc: &Path) -> Vec<(PathBuf, FileKind)> {
    let files = boot.host.files();
    let (list, wrong) = lists::deleted(files, cfg);
    for why in wrong {
        boot.find(Finding::new(Code::E94, why));
    }
    let there = |path: PathBuf| {
        if lists::is_needed(&path) {
            return None;
        }
        // A link on the way would lead somewhere else.
        let mut above = path.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty());
        if !above.all(|part| files.is_directory(&etc.join(part))) {
            return None;
        }
        match (files.find(&etc.join(&path)), files.find(&cfg.join(&path))) {
            (Ok(Some(stat)), Ok(None)) => Some((path, stat.kind)),
            _ => None,
        }
    };
    let mut found: Vec<_> = list.into_iter().rev().filter_map(there).collect();
    // A directory goes when all goes that is in it.
    let mut going: BTreeSet<PathBuf> = BTreeSet::new();
    found.retain(|(path, kind)| {
        let all = match kind {
            FileKind::Directory => files
                .list(&etc.join(path))
                .is_ok_and(|names| names.iter().all(|name| going.contains(&path.join(name)))),
            _ => true,
        };
        if all {
            going.insert(path.clone());
        }
        all
    });
    found
}

/// Removes these from `root`, the deepest first. How many went.
pub(crate) fn remove(boot: &mut Boot<'_, '_>, root: &Path, gone: &[(PathBuf, FileKind)]) -> usize {
    let mut removed = 0;
    for (path, kind) in gone {
        let path = root.join(path);
        let done = match kind {
            FileKind::Directory => boot.host.files().remove_directory(&path),
            _ => boot.host.files().remove_file(&path),
        };
        match done {
            Ok(()) => {
                boot.console.detail(&format!("remove {}", path.display()));
                removed += 1;
            }
            Err(error) => {
                let what = format!("{}: {}: not removed", path.display(), crate::host::why(&error));
                boot.find(Finding::new(Code::E37, what));
            }
        }
    }
    boot.changed(removed);
    removed
}

/// Makes the changes; those that fail move to [`Comparison::failed`]. How many were made.
pub(super) fn write(
    boot: &mut Boot<'_, '_>,
    source: &Path,
    target: &Path,
    comparison: &mut Comparison,
    durable: bool,
) -> usize {
    let changes = std::mem::take(&mut comparison.changes);
    let laid = tree::lay(boot.host.files(), source, target, changes, durable);
    for change in &laid.made {
        boot.console.detail(&describe(target, change));
    }
    boot.changed(laid.made.len());
    comparison.failed.extend(laid.failed);
    comparison.changes = laid.made;
    comparison.changes.len()
}

/// One finding for any number of names.
pub(crate) fn tell(boot: &mut Boot<'_, '_>, code: Code, what: &str, names: &[String]) {
    let finding = match names {
        [] => return,
        [name] => Finding::new(code, format!("{name}: {what}")),
        names => {
            let finding = Finding::new(code, format!("{} files were {what}", names.len()));
            names.iter().take(TOLD).fold(finding, |finding, name| finding.detail("file", name))
        }
    };
    let rest = names.len().saturating_sub(TOLD);
    boot.find(if rest > 0 { finding.detail("file", format!("and {rest} more")) } else { finding });
}

/// One change, as it is said to people.
fn describe(target: &Path, change: &tree::Change) -> String {
    let path = target.join(&change.path);
    let path = path.display();
    match &change.what {
        What::Directory(_) => format!("make the directory {path}"),
        What::File(_) => format!("write {path}"),
        What::Link(reads) => format!("make the link {path} to {}", reads.display()),
        What::Attributes(attributes) => {
            let Attributes { mode, uid, gid, .. } = attributes;
            format!("set {path} to mode {mode:04o}, owner {uid}:{gid}")
        }
    }
}

/// Rebuilds every database whose text was just written, or is newer than it.
///
/// A text from `/cfg` keeps its old time, which says nothing about an image built later: so what
/// was written counts, unless `/cfg` brought databases that are not older along with it.
fn rebuild(boot: &mut Boot<'_, '_>, comparison: &Comparison) {
    let files = boot.host.files();
    let etc = Path::new(ETC);
    let written = |name: &str| {
        let file = |change: &tree::Change| {
            matches!(change.what, What::File(_)) && change.path == Path::new(name)
        };
        comparison.changes.iter().any(file)
    };
    for database in Database::ALL {
        let Ok(Some(text)) = files.find(&etc.join(database.text())) else { continue };
        let present = |name: &&str| matches!(files.find(&etc.join(name)), Ok(Some(_)));
        if !database.required() && !database.files().iter().any(present) {
            continue;
        }
        let current = |name: &&str| {
            let Ok(Some(made)) = files.find(&etc.join(name)) else { return false };
            let newer = made.attributes.modified >= text.attributes.modified;
            newer && (written(name) || !written(database.text()))
        };
        if database.files().iter().all(current) {
            continue;
        }
        if let Err(error) = boot.perform(&Action::Rebuild(database)) {
            let what = format!("/etc/{}: {error}", database.text());
            boot.find(Finding::new(Code::E38, what));
        }
    }
}
