//! What a save will do to `/cfg`: decided before anything is written, shown and done as it stands.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::act;
use super::decide::{Decision, Laid, decide};
use super::lists::{self, Deleted, Ignore};
use super::look::{Differ, Fact};
use super::names::{Named, shown};
use crate::boot::tree::What;
use crate::host::{Attributes, FileKind, Files, Stat};

/// What a person says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Save it.
    Yes,
    /// Not now.
    No,
    /// Do not ask about it again.
    Never,
    /// Nobody is there.
    Nobody,
}

/// One line of what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `+` new in `/cfg`, `M` changed, `-` deleted, `?` left out.
    pub(super) sign: char,
    /// Which file.
    pub(super) path: PathBuf,
    /// What there is to say about it.
    pub(super) note: String,
}

/// What is to be done, and what is not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Everything in one line each, in order.
    pub(super) lines: Vec<Line>,
    /// What goes from `/etc` to `/cfg`; directories before what is in them.
    pub(super) changes: BTreeMap<PathBuf, What>,
    /// What goes from `/cfg`.
    pub(super) removed: Vec<(PathBuf, FileKind)>,
    /// Files of the image that stay deleted from now on.
    pub(super) hide: Vec<PathBuf>,
    /// Those that do no longer.
    pub(super) unhide: Vec<PathBuf>,
    /// What is not asked about any more.
    pub(super) ignore: Vec<PathBuf>,
    /// What cannot be saved, and why.
    pub(super) refused: Vec<(PathBuf, String)>,
    /// Bytes that are to be written, in whole blocks.
    pub(super) bytes: u64,
    /// Somebody was asked about it.
    pub(super) asked: bool,
}

/// What there is to know before a save is planned.
pub(super) struct Known<'a> {
    pub(super) facts: &'a [Fact],
    pub(super) deleted: &'a Deleted,
    pub(super) ignore: &'a Ignore,
    pub(super) laid: Laid,
    pub(super) named: &'a Named,
    /// What the image has is known.
    pub(super) image: bool,
}

impl Plan {
    /// Nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        let lists = self.hide.len() + self.unhide.len() + self.ignore.len();
        self.changes.is_empty() && self.removed.is_empty() && lists == 0
    }

    /// How many files it is about.
    pub(super) fn files(&self) -> usize {
        self.lines.iter().filter(|line| line.sign != '?').count()
    }

    /// Those that were left out.
    pub(super) fn left(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.sign == '?')
    }

    /// Plans a save. `ask` says what to do about a file that only a person can decide about.
    ///
    /// # Errors
    ///
    /// When a symbolic link cannot be read.
    pub(super) fn make(
        files: &dyn Files,
        etc: &Path,
        known: &Known<'_>,
        ask: &mut dyn FnMut(&Fact, &str, &str) -> Answer,
    ) -> io::Result<Plan> {
        let mut plan = Plan::default();
        // A new directory was answered for with all that is in it.
        let mut answered: Option<(PathBuf, Answer)> = None;
        let mut clash: Option<&Fact> = None;
        for fact in known.facts {
            if let Some(top) = clash.filter(|top| fact.path.starts_with(&top.path)) {
                plan.below(top, fact, known.named);
                continue;
            }
            clash = Some(fact).filter(|fact| fact.is_clash());
            if !known.named.means(&fact.path) {
                continue;
            }
            let hidden = known.deleted.contains(&fact.path);
            let decision = decide(fact, hidden, &known.laid);
            let exact = known.named.0.contains(&fact.path);
            if !exact && plan.is_left_out(fact, &decision, known) {
                continue;
            }
            let decision = match decision {
                Decision::New => {
                    let above = answered.as_ref().filter(|(top, _)| fact.path.starts_with(top));
                    let (answer, first) = match above {
                        Some((_, answer)) => (*answer, false),
                        None if known.named.names(&fact.path) => (Answer::Yes, true),
                        None if !known.image => (Answer::No, false),
                        None => (ask(fact, &new(fact, known.facts), "save it"), true),
                    };
                    if first && fact.etc.is_some_and(|stat| stat.kind == FileKind::Directory) {
                        answered = Some((fact.path.clone(), answer));
                    }
                    match (answer, first) {
                        (Answer::Yes, _) => Decision::New,
                        (_, false) => continue,
                        (answer, true) => {
                            let note = new(fact, known.facts);
                            plan.leave(fact, answer, &note);
                            continue;
                        }
                    }
                }
                Decision::Newer { otherwise } => {
                    let (what, question) = match *otherwise {
                        Decision::Update => {
                            ("newer in /cfg; to lay it: nanozfs cfg", "take that of /etc")
                        }
                        _ => ("only in /cfg; to lay it: nanozfs cfg", "delete it from /cfg"),
                    };
                    match exact {
                        true => *otherwise,
                        false => match ask(fact, what, question) {
                            Answer::Yes => *otherwise,
                            answer => {
                                plan.leave(fact, answer, what);
                                continue;
                            }
                        },
                    }
                }
                other => other,
            };
            plan.take(files, etc, fact, &decision)?;
        }
        plan.parents(known.facts);
        plan.removed.sort_by(|a, b| b.0.cmp(&a.0));
        Ok(plan)
    }

    /// What was named is below a directory that is none on one of the sides.
    fn below(&mut self, top: &Fact, fact: &Fact, named: &Named) {
        let told = self.refused.last().is_some_and(|(path, _)| *path == top.path);
        if !told && named.means(&fact.path) && !named.means(&top.path) {
            let why = "is a directory on one side only".to_owned();
            self.refused.push((top.path.clone(), why));
        }
    }

    /// It is one of those that nobody is asked about.
    fn is_left_out(&mut self, fact: &Fact, decision: &Decision, known: &Known<'_>) -> bool {
        let known_to_cfg = fact.cfg.is_some();
        let about = !matches!(decision, Decision::Nothing | Decision::Unhide);
        if known_to_cfg || !about {
            return false;
        }
        match lists::default_of(&fact.path) {
            Some(default) => {
                if default.told {
                    let note = format!("{}: left out", default.what);
                    self.lines.push(Line { sign: '?', path: fact.path.clone(), note });
                }
                true
            }
            None => known.ignore.matches(&fact.path),
        }
    }

    fn leave(&mut self, fact: &Fact, answer: Answer, note: &str) {
        match answer {
            Answer::Never => self.ignore.push(fact.path.clone()),
            _ => {
                let note = format!("{note}: left out");
                self.lines.push(Line { sign: '?', path: fact.path.clone(), note });
            }
        }
    }

    fn take(
        &mut self,
        files: &dyn Files,
        etc: &Path,
        fact: &Fact,
        decision: &Decision,
    ) -> io::Result<()> {
        let path = fact.path.clone();
        let (sign, note) = match decision {
            Decision::Nothing | Decision::Newer { .. } => return Ok(()),
            Decision::Update | Decision::Take | Decision::New => {
                let Some(stat) = fact.etc else { return Ok(()) };
                let here = fact.cfg.is_some();
                let what = what(files, &etc.join(&path), &stat, here.then_some(fact.differ))?;
                let note = match &what {
                    What::Attributes(attributes) => owner(attributes),
                    What::Directory(attributes) if *decision == Decision::Take => owner(attributes),
                    _ => String::new(),
                };
                if let What::File(_) = what {
                    self.bytes += act::room_of(stat.size);
                }
                self.changes.insert(path.clone(), what);
                (if *decision == Decision::New { '+' } else { 'M' }, note)
            }
            Decision::Drop { image } => {
                let kind = fact.cfg.map_or(FileKind::File, |stat| stat.kind);
                self.removed.push((path.clone(), kind));
                if *image && !lists::is_needed(&path) {
                    self.hide.push(path.clone());
                }
                ('-', String::new())
            }
            Decision::Hide if lists::is_needed(&path) => {
                ('?', "of the image; needed to start: left out".to_owned())
            }
            Decision::Hide => {
                self.hide.push(path.clone());
                ('-', "of the image; stays deleted".to_owned())
            }
            Decision::Unhide => {
                self.unhide.push(path.clone());
                ('+', "of the image; is back".to_owned())
            }
            Decision::Refuse(why) => {
                self.refused.push((path, why.clone()));
                return Ok(());
            }
        };
        if matches!(decision, Decision::Take) {
            // It is no longer what was deleted.
            self.unhide.push(path.clone());
        }
        self.lines.push(Line { sign, path, note });
        Ok(())
    }

    /// Adds the directories that `/cfg` lacks above what goes there.
    fn parents(&mut self, facts: &[Fact]) {
        let lacks = |path: &Path| {
            let at = facts.binary_search_by(|fact| fact.path.as_path().cmp(path)).ok()?;
            let fact = facts.get(at).filter(|fact| fact.cfg.is_none())?;
            fact.etc.filter(|stat| stat.kind == FileKind::Directory).map(|stat| stat.attributes)
        };
        with_parents(&mut self.changes, &lacks);
    }
}

/// Adds the directories above the changes of which `lacks` has the attributes.
pub(super) fn with_parents(
    changes: &mut BTreeMap<PathBuf, What>,
    lacks: &dyn Fn(&Path) -> Option<Attributes>,
) {
    let paths: Vec<PathBuf> = changes.keys().cloned().collect();
    for above in paths.iter().flat_map(|path| path.ancestors().skip(1)) {
        if let (false, Some(attributes)) = (changes.contains_key(above), lacks(above)) {
            changes.insert(above.to_owned(), What::Directory(attributes));
        }
    }
}

/// What puts the file at `path` somewhere else; `differ`: how it differs from what is there.
pub(super) fn what(
    files: &dyn Files,
    path: &Path,
    stat: &Stat,
    differ: Option<Differ>,
) -> io::Result<What> {
    Ok(match (stat.kind, differ) {
        (FileKind::Link, _) => What::Link(files.read_link(path)?),
        (FileKind::Directory, None) => What::Directory(stat.attributes),
        (FileKind::Directory, Some(_)) | (_, Some(Differ::Attributes)) => {
            What::Attributes(stat.attributes)
        }
        _ => What::File(stat.attributes),
    })
}

fn owner(attributes: &Attributes) -> String {
    let Attributes { mode, uid, gid, .. } = attributes;
    format!("mode {mode:04o}, owner {uid}:{gid}")
}

/// What there is to know about a new file.
fn new(fact: &Fact, facts: &[Fact]) -> String {
    match fact.etc {
        Some(stat) if stat.kind == FileKind::Directory => {
            let inside = |other: &&Fact| other.path.starts_with(&fact.path);
            let count = facts.iter().filter(inside).count().saturating_sub(1);
            format!("new directory with {count} in it")
        }
        Some(stat) if stat.kind == FileKind::Link => "new link".to_owned(),
        Some(stat) => format!("new, {} bytes", stat.size),
        None => "new".to_owned(),
    }
}

impl Line {
    /// As it is shown behind its sign.
    pub(super) fn text(&self) -> String {
        match self.note.as_str() {
            "" => shown(&self.path),
            note => format!("{} ({note})", shown(&self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::look::letters::stat;
    use crate::host::{RealFiles, Timestamp};

    /// Of `x` and `x/y`, each as `etc cfg image`: how many are changed, removed, hidden, refused.
    fn planned(line: &str) -> [usize; 4] {
        let facts: Vec<Fact> = line
            .split(' ')
            .zip(["x", "x/y"])
            .map(|(letters, path)| {
                let stats: Vec<_> = letters.chars().map(stat).collect();
                let image = stats[2].map(|stat| (stat, 0));
                let differ = Differ::Content;
                Fact { path: path.into(), etc: stats[0], cfg: stats[1], image, differ }
            })
            .collect();
        let laid = Laid { at: Some(Timestamp { seconds: 100, nanoseconds: 0 }), whole: true };
        let (deleted, ignore, named) = Default::default();
        let known = Known {
            facts: &facts,
            deleted: &deleted,
            ignore: &ignore,
            laid,
            named: &named,
            image: true,
        };
        let yes = &mut |_: &Fact, _: &str, _: &str| Answer::Yes;
        let plan = Plan::make(&RealFiles, Path::new("/etc"), &known, yes).unwrap();
        [plan.changes.len(), plan.removed.len(), plan.hide.len(), plan.refused.len()]
    }

    #[test]
    fn nothing_below_a_clash_is_taken_for_gone_or_new() {
        for (line, wanted) in [
            ("f-d --f", [0, 0, 0, 1]),
            ("fd- -f-", [0, 0, 0, 1]),
            ("fdd -ff", [0, 0, 0, 1]),
            ("p-d --f", [0, 0, 0, 1]),
            ("df- f--", [0, 0, 0, 1]),
            ("d-f f--", [0, 0, 0, 1]),
            ("ffd --f", [1, 0, 0, 0]),
            // Without a clash they are.
            ("--d --f", [0, 0, 2, 0]),
            ("dd- -f-", [1, 1, 0, 0]),
            ("d-- f--", [2, 0, 0, 0]),
        ] {
            assert_eq!(planned(line), wanted, "{line}");
        }
    }
}
