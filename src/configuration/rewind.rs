//! `/cfg` as a snapshot of it has it; times alone are left.

use std::path::{Path, PathBuf};

use super::look::{Differ, Fact, Look, Trees, look};
use super::names::Named;
use super::plan::what;
use super::{act, lists};
use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::boot::tree::{Change, What};
use crate::host::{FileKind, Files, Stat, why};
use crate::report::Code;

/// What makes `/cfg` as it is in a snapshot.
#[derive(Default)]
pub(super) struct Rewind {
    /// What is written, directories before what is in them.
    changes: Vec<Change>,
    /// What cannot be brought back, and why.
    failed: Vec<(PathBuf, String)>,
    /// What the snapshot has not, deepest first.
    pub(super) extra: Vec<(PathBuf, FileKind)>,
    /// What is to stay deleted then; none when that list is right.
    deleted: Option<lists::Deleted>,
}

/// What becomes of a place in `/cfg`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    /// It is right, or nothing that could be brought back.
    Nothing,
    /// As the snapshot has it.
    Write(Stat),
    /// The snapshot has nothing there.
    Remove(FileKind),
    /// A directory on one side only is never replaced; why, in words.
    Clash(String),
}

/// Decides: what is there, what was there, and how they differ.
fn turn(is: Option<&Stat>, was: Option<&Stat>, differ: Differ) -> Turn {
    let directory = |stat: &Stat| stat.kind == FileKind::Directory;
    match (is, was) {
        (Some(is), Some(was)) if directory(is) != directory(was) => {
            Turn::Clash(format!("is a {}, and a {} there", was.kind.name(), is.kind.name()))
        }
        (Some(_), Some(_)) if differ == Differ::Nothing => Turn::Nothing,
        (_, Some(was)) if was.kind.is_special() => Turn::Nothing,
        (_, Some(was)) => Turn::Write(*was),
        (Some(is), None) => Turn::Remove(is.kind),
        (None, None) => Turn::Nothing,
    }
}

impl Rewind {
    /// How `/cfg` differs from `source`, a snapshot of it.
    pub(super) fn look(files: &dyn Files, source: &Path, named: &Named) -> Rewind {
        let trees = Trees { etc: CFG.into(), cfg: source.to_owned(), image: Vec::new() };
        Rewind::find(files, named, look(files, trees, named))
    }

    /// What was found to differ between `/cfg` and a snapshot of it.
    pub(super) fn find(files: &dyn Files, named: &Named, look: Look) -> Rewind {
        let (cfg, source) = (&look.trees.etc, &look.trees.cfg);
        let mut rewind = Rewind { failed: look.failed, ..Rewind::default() };
        let mut clash: Option<PathBuf> = None;
        for fact in &look.facts {
            let Fact { path, etc: is, cfg: was, differ, .. } = fact;
            // A directory that stays keeps what is in it.
            if clash.as_ref().is_some_and(|top| path.starts_with(top)) {
                continue;
            }
            clash = Some(path.clone()).filter(|_| fact.is_clash());
            let turn = turn(is.as_ref(), was.as_ref(), *differ);
            // A directory is made for what is in it.
            let made = is.is_none() && was.is_some_and(|was| was.kind == FileKind::Directory);
            let leads = named.leads(path) && (clash.is_some() || made);
            if !leads && !named.means(path) {
                continue;
            }
            let what = match turn {
                Turn::Nothing => continue,
                Turn::Remove(kind) => {
                    rewind.extra.push((path.clone(), kind));
                    continue;
                }
                Turn::Clash(why) => {
                    rewind.failed.push((path.clone(), why));
                    continue;
                }
                Turn::Write(was) => what(files, &source.join(path), &was, is.map(|_| *differ)),
            };
            match what {
                Ok(what) => rewind.changes.push(Change { path: path.clone(), what }),
                Err(error) => rewind.failed.push((path.clone(), why(&error))),
            }
        }
        rewind.extra.reverse();
        let (now, _) = lists::deleted(files, cfg);
        let (then, _) = lists::deleted(files, source);
        let kept = now.iter().filter(|path| !named.means(path));
        let wanted: lists::Deleted =
            kept.chain(then.iter().filter(|path| named.means(path))).cloned().collect();
        rewind.deleted = (wanted != now).then_some(wanted);
        rewind
    }

    /// Nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.extra.is_empty() && self.deleted.is_none()
    }

    /// Bytes that it writes, at most.
    pub(super) fn bytes(&self, boot: &Boot<'_, '_>, source: &Path) -> u64 {
        let size = |change: &Change| match change.what {
            What::File(_) => boot.host.files().stat(&source.join(&change.path)).ok(),
            _ => None,
        };
        self.changes.iter().filter_map(size).map(|stat| act::room_of(stat.size)).sum()
    }

    /// Writes what the snapshot has. True when all of it was done; what was not is a finding.
    pub(super) fn write(&mut self, boot: &mut Boot<'_, '_>, source: &Path) -> bool {
        let mut failed = std::mem::take(&mut self.failed);
        let changes = std::mem::take(&mut self.changes).into_iter();
        let changes = changes.map(|one| (one.path, one.what));
        failed.extend(act::write(boot, source, Path::new(CFG), changes));
        act::tell(boot, Code::E95, "not brought back to /cfg", &failed);
        failed.is_empty()
    }

    /// Removes what the snapshot has not. True when all of it was done; what was not is a finding.
    pub(super) fn remove(self, boot: &mut Boot<'_, '_>) -> bool {
        let (cfg, mut failed) = (Path::new(CFG), Vec::new());
        if let Some(deleted) = self.deleted {
            match lists::write_deleted(boot.host.files(), cfg, &deleted) {
                Ok(()) => boot.changed(1),
                Err(error) => failed.push((PathBuf::from(lists::OURS), why(&error))),
            }
        }
        failed.extend(act::remove(boot, cfg, &self.extra));
        act::tell(boot, Code::E95, "not removed from /cfg", &failed);
        failed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::look::letters::stat;

    /// As `cfg snapshot`: `f`ile, `d`irectory, `l`ink, `p`ipe or `-`; `!`: they differ.
    fn turned(line: &str) -> &'static str {
        let stat = |at: usize| stat(char::from(line.as_bytes()[at]));
        let differ = if line.ends_with('!') { Differ::Content } else { Differ::Nothing };
        match turn(stat(0).as_ref(), stat(1).as_ref(), differ) {
            Turn::Nothing => "nothing",
            Turn::Write(_) => "write",
            Turn::Remove(_) => "remove",
            Turn::Clash(_) => "clash",
        }
    }

    #[test]
    fn the_table_of_turns() {
        for (line, wanted) in [
            ("ff", "nothing"),
            ("ff!", "write"),
            ("fl!", "write"),
            ("pf!", "write"),
            ("-f", "write"),
            ("-d", "write"),
            ("dd", "nothing"),
            ("dd!", "write"),
            ("f-", "remove"),
            ("d-", "remove"),
            ("p-", "remove"),
            ("df!", "clash"),
            ("fd!", "clash"),
            ("ld!", "clash"),
            ("dp!", "clash"),
            ("-p", "nothing"),
            ("fp!", "nothing"),
            ("--", "nothing"),
        ] {
            assert_eq!(turned(line), wanted, "{line}");
        }
    }
}
