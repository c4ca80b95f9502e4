//! Lays `/cfg` over `/etc`.

use std::path::{Path, PathBuf};

use super::tree::{self, Comparison, Existing, What};
use super::{Action, Boot};
use crate::host::{Attributes, Database, mount_of};
use crate::report::{Code, Finding};

/// The target.
const ETC: &str = "/etc";
/// Names told one by one; the rest is counted.
const TOLD: usize = 5;

/// Lays the tree at `cfg` over `/etc`, rebuilds databases whose text is newer, and has rc read
/// rc.conf again. What it came to, for the helper's line.
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
    let mut comparison = tree::compare(files, cfg, etc, Existing::Replace, &[conf]);
    let refused: Vec<_> = comparison
        .refused
        .iter()
        .map(|(path, kind)| format!("{} is a {}", cfg.join(path).display(), kind.name()))
        .collect();
    tell(boot, Code::E36, "not laid over /etc", &refused);
    let target = mount_of(&mounts, etc);
    if target.is_some_and(|mount| mount.read_only) && !comparison.changes.is_empty() {
        let what = format!("/etc is read-only: {} changes were not made", comparison.changes.len());
        boot.find(Finding::new(Code::E37, what).next("mount; ls -ld /conf/base/etc"));
        return "/etc: nothing written".to_owned();
    }
    if !boot.act {
        for change in &comparison.changes {
            boot.console.say(&format!("would {}", describe(etc, change)));
        }
        return format!("/etc: {} to be written", comparison.changes.len());
    }
    let durable = target.is_none_or(|mount| !mount.in_memory());
    let written = write(boot, cfg, etc, &mut comparison, durable);
    let failed: Vec<_> = comparison
        .failed
        .iter()
        .map(|(path, why)| format!("{}: {why}", cfg.join(path).display()))
        .collect();
    tell(boot, Code::E37, "not written to /etc", &failed);
    rebuild(boot, &comparison);
    if written > 0 {
        match boot.host.reread_rc_conf() {
            Ok(true) => boot.console.detail("rc reads rc.conf again"),
            Ok(false) => {}
            Err(error) => boot.console.detail(&error.to_string()),
        }
    }
    format!("/etc: {written} written, {} unchanged", comparison.same)
}

/// Makes the changes; those that fail move to [`Comparison::failed`]. How many were made.
pub(crate) fn write(
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
