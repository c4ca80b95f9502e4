//! The two lists in `/cfg/.nanozfs`: what is never asked about, and which files of the image stay
//! deleted. One name a line, as [`names`](super::names) shows it; `#` begins a comment.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::names;
use crate::boot::replace;
use crate::host::{Files, why};

/// The directory in `/cfg` that is ours: never laid over `/etc`.
pub(crate) const OURS: &str = ".nanozfs";
/// More than a list can sensibly have.
const MAX_SIZE: u64 = 1 << 20;
/// The list of patterns.
const IGNORE: &str = "ignore";
/// The list of deleted files.
const DELETED: &str = "deleted";

const IGNORE_HEAD: &str = "# nanozfs cfg save does not ask about these. One pattern a line.\n";
const DELETED_HEAD: &str = "# Files of the image that stay deleted in /etc. By nanozfs cfg save.\n";

/// Why a program or an image makes a file, so that saving it helps nobody.
pub(super) struct LeftOut {
    /// As in the list of patterns.
    pub(super) pattern: &'static str,
    /// What it is.
    pub(super) what: &'static str,
    /// A change of it is worth telling: it may be the administrator's.
    pub(super) told: bool,
}

const fn quiet(pattern: &'static str, what: &'static str) -> LeftOut {
    LeftOut { pattern, what, told: false }
}

/// What is left out unless it was named, or `/cfg` has it already.
pub(super) const DEFAULTS: &[LeftOut] = &[
    quiet("pwd.db", "made from master.passwd"),
    quiet("spwd.db", "made from master.passwd"),
    quiet("/passwd", "made from master.passwd"),
    quiet("/login.conf.db", "made from login.conf"),
    quiet("/motd", "made at boot"),
    quiet("/hostid", "belongs to this hardware"),
    quiet("/machine-id", "belongs to this hardware"),
    quiet("/dumpdates", "written by dump"),
    quiet("/zfs/exports*", "written by zfs"),
    quiet("/zfs/zpool.cache*", "written by zpool"),
    quiet("*~", "left by an editor"),
    quiet(".*.sw?", "left by an editor"),
    LeftOut { pattern: "/fstab", what: "names the slot of this image", told: true },
];

/// What a machine does not start without: never taken away at boot, whoever deleted it.
const NEEDED: [&str; 12] = [
    "rc",
    "rc.subr",
    "rc.d/nanozfs",
    "rc.d/root",
    "rc.d/mountcritlocal",
    "defaults/rc.conf",
    "nanozfs.conf",
    "fstab",
    "ttys",
    "gettytab",
    "master.passwd",
    "group",
];

/// The machine needs it to start.
pub(crate) fn is_needed(path: &Path) -> bool {
    NEEDED.iter().any(|needed| path == Path::new(needed))
}

/// Patterns of what is not asked about.
///
/// A pattern with a `/` before its end is one of a whole path below `/etc`; one without, of a name
/// in any directory. What is in a directory that matches is meant, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ignore {
    lines: Vec<String>,
    patterns: Vec<(bool, Pattern)>,
}

impl Ignore {
    /// Understands a list; what is wrong with it, with its line.
    pub(super) fn parse(text: &[u8]) -> (Ignore, Vec<String>) {
        let (mut ignore, mut wrong) = (Ignore::default(), Vec::new());
        for (number, line) in lines(text) {
            if let Err(why) = ignore.add(line) {
                wrong.push(format!("line {number}: {why}"));
            }
        }
        (ignore, wrong)
    }

    fn add(&mut self, line: &[u8]) -> Result<(), String> {
        let text = shown_line(line);
        let bare = text.trim_end_matches('/');
        let whole = bare.contains('/');
        let pattern = Pattern::new(bare.trim_start_matches('/')).map_err(|error| error.msg)?;
        self.patterns.push((whole, pattern));
        self.lines.push(text);
        Ok(())
    }

    /// Adds this very path; false when it matches already.
    pub(super) fn add_path(&mut self, path: &Path) -> bool {
        let line = format!("/{}", Pattern::escape(&names::shown(path)));
        !self.matches(path) && self.add(line.as_bytes()).is_ok()
    }

    /// It, or a directory that it is in, matches.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        path.ancestors().filter(|part| !part.as_os_str().is_empty()).any(|part| {
            let name = part.file_name().map(|name| names::shown(Path::new(name)));
            let (name, part) = (name.unwrap_or_default(), names::shown(part));
            self.patterns.iter().any(|(whole, pattern)| {
                pattern.matches_with(if *whole { &part } else { &name }, options)
            })
        })
    }
}

/// A byte of a pattern, as the names have it; a backslash is part of what shows a byte.
fn printable(byte: u8) -> String {
    match byte {
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    }
}

/// The default that a path is, if it is one.
pub(super) fn default_of(path: &Path) -> Option<&'static LeftOut> {
    DEFAULTS.iter().find(|one| {
        let (ignore, _) = Ignore::parse(one.pattern.as_bytes());
        ignore.matches(path)
    })
}

/// Paths of the image that stay deleted.
pub(super) type Deleted = BTreeSet<PathBuf>;

fn parse_deleted(text: &[u8]) -> (Deleted, Vec<String>) {
    let (mut deleted, mut wrong) = (Deleted::new(), Vec::new());
    for (number, line) in lines(text) {
        match names::parse(line) {
            Some(path) => {
                deleted.insert(path);
            }
            None => wrong.push(format!("line {number}: not a path below /etc")),
        }
    }
    (deleted, wrong)
}

/// The lines of a list that say something, counted from 1.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let all = text.split(|byte| *byte == b'\n').enumerate();
    all.map(|(at, line)| (at + 1, line.trim_ascii_end()))
        .filter(|(_, line)| !line.starts_with(b"#") && !line.is_empty())
}

/// Where a list is.
fn place(cfg: &Path, name: &str) -> PathBuf {
    cfg.join(OURS).join(name)
}

/// Reads a list; one that is not there is empty. What is wrong with it, each with its place.
fn read<T>(
    files: &dyn Files,
    path: &Path,
    parse: fn(&[u8]) -> (T, Vec<String>),
) -> (T, Vec<String>) {
    let at = path.display();
    match files.read(path, MAX_SIZE) {
        Ok(text) => {
            let (list, wrong) = parse(&text);
            (list, wrong.into_iter().map(|why| format!("{at}: {why}")).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (parse(b"").0, Vec::new()),
        Err(error) => (parse(b"").0, vec![format!("{at}: {}", why(&error))]),
    }
}

/// The patterns in the `/cfg` at `cfg`, and what is wrong with them.
pub(super) fn ignore(files: &dyn Files, cfg: &Path) -> (Ignore, Vec<String>) {
    read(files, &place(cfg, IGNORE), Ignore::parse)
}

/// What stays deleted, by the `/cfg` at `cfg`, and what is wrong with the list.
pub(crate) fn deleted(files: &dyn Files, cfg: &Path) -> (Deleted, Vec<String>) {
    read(files, &place(cfg, DELETED), parse_deleted)
}

/// Adds the patterns that the list has not, on disk when it comes back. What somebody wrote there
/// stays; a list that cannot be read is not written either.
pub(super) fn write_ignore(files: &dyn Files, cfg: &Path, ignore: &Ignore) -> io::Result<()> {
    let text = text(files, &place(cfg, IGNORE), IGNORE_HEAD)?;
    let there: BTreeSet<String> = lines(&text).map(|(_, line)| shown_line(line)).collect();
    let new = ignore.lines.iter().filter(|line| !there.contains(*line)).cloned();
    write(files, cfg, IGNORE, &extended(text, new))
}

/// Writes what stays deleted, on disk when it comes back. Lines that are no paths stay; a list that
/// cannot be read is not written either.
pub(super) fn write_deleted(files: &dyn Files, cfg: &Path, deleted: &Deleted) -> io::Result<()> {
    let text = text(files, &place(cfg, DELETED), DELETED_HEAD)?;
    let there = parse_deleted(&text).0;
    let stays = |line: &&[u8]| {
        let path = names::parse(line.trim_ascii_end()).filter(|_| !line.starts_with(b"#"));
        path.is_none_or(|path| deleted.contains(&path))
    };
    let kept = text.split_inclusive(|byte| *byte == b'\n').filter(stays).collect::<Vec<_>>();
    let new = deleted.difference(&there).map(|path| names::shown(path));
    write(files, cfg, DELETED, &extended(kept.concat(), new))
}

/// What is in a list now; `head` where there is none.
fn text(files: &dyn Files, path: &Path, head: &str) -> io::Result<Vec<u8>> {
    match files.read(path, MAX_SIZE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(head.as_bytes().to_vec()),
        text => text,
    }
}

/// The text with these lines behind it.
fn extended(mut text: Vec<u8>, new: impl Iterator<Item = String>) -> Vec<u8> {
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    for line in new {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text
}

/// A line as [`Ignore::lines`] has it.
fn shown_line(line: &[u8]) -> String {
    line.iter().map(|byte| printable(*byte)).collect()
}

fn write(files: &dyn Files, cfg: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let directory = cfg.join(OURS);
    if files.find(&directory)?.is_none() {
        files.make_directory(&directory)?;
        files.sync(cfg)?;
    }
    replace::write(files, &directory.join(name), text, true)?;
    files.sync(&directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignore(text: &str) -> Ignore {
        let (ignore, wrong) = Ignore::parse(text.as_bytes());
        assert_eq!(wrong, Vec::<String>::new());
        ignore
    }

    #[test]
    fn a_pattern_is_of_a_name_or_of_a_whole_path() {
        let list = ignore("# editors\n*.bak\n/rc.conf.d/x*\nssl/\n\n");
        for path in ["a.bak", "deep/b.bak", "rc.conf.d/x1", "ssl/certs/a", "local/ssl/b"] {
            assert!(list.matches(Path::new(path)), "{path}");
        }
        for path in ["a.bak2", "local/rc.conf.d/x1", "rc.conf.d", "sslx"] {
            assert!(!list.matches(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_is_never_to_be_asked_about_is_that_path_and_no_other() {
        use std::os::unix::ffi::OsStrExt;
        for name in [&b"a[1]*"[..], b"#x", b"new\nline", b"\xff", b"back\\slash"] {
            let path = Path::new("d").join(std::ffi::OsStr::from_bytes(name));
            let mut list = Ignore::default();
            assert!(list.add_path(&path) && !list.add_path(&path));
            let again = ignore(&list.lines.join("\n"));
            assert!(again.matches(&path) && !again.matches(Path::new("d/other")));
        }
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_count() {
        let (list, wrong) = Ignore::parse(b"[a\n*.bak\n");
        assert!(list.matches(Path::new("x.bak")) && wrong.len() == 1, "{wrong:?}");
        let (list, wrong) = parse_deleted(b"../passwd\nhosts\n# c\n");
        assert_eq!((list.len(), wrong), (1, vec!["line 1: not a path below /etc".to_owned()]));
    }

    #[test]
    fn what_somebody_wrote_in_a_list_stays_and_one_that_cannot_be_read_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (files, cfg) = (&crate::host::RealFiles, directory.path());
        let (mut list, _) = super::ignore(files, cfg);
        assert!(list.add_path(Path::new("first")));
        write_ignore(files, cfg, &list).unwrap();
        let at = place(cfg, IGNORE);
        let mine = std::fs::read_to_string(&at).unwrap() + "# mine\n[bad\n*.bak";
        std::fs::write(&at, &mine).unwrap();
        let (mut list, wrong) = super::ignore(files, cfg);
        assert!(wrong.len() == 1 && list.add_path(Path::new("second")));
        write_ignore(files, cfg, &list).unwrap();
        assert_eq!(std::fs::read_to_string(&at).unwrap(), format!("{mine}\n/second\n"));

        let at = place(cfg, DELETED);
        std::fs::write(&at, "# why\nhosts\n../bad\nmotd\n").unwrap();
        let deleted = ["motd", "rc.d/new"].map(PathBuf::from).into();
        write_deleted(files, cfg, &deleted).unwrap();
        let text = std::fs::read_to_string(&at).unwrap();
        assert_eq!(text, "# why\n../bad\nmotd\nrc.d/new\n");

        std::fs::write(&at, vec![b'x'; usize::try_from(MAX_SIZE).unwrap() + 1]).unwrap();
        assert!(write_deleted(files, cfg, &deleted).is_err());
        assert_eq!(std::fs::metadata(&at).unwrap().len(), MAX_SIZE + 1);
    }

    #[test]
    fn what_a_machine_needs_to_start_is_known_by_its_whole_path() {
        assert!(is_needed(Path::new("rc.d/nanozfs")) && is_needed(Path::new("rc")));
        assert!(!is_needed(Path::new("rc.d")) && !is_needed(Path::new("local/rc")));
    }

    #[test]
    fn every_default_is_a_pattern_that_matches_something() {
        for default in DEFAULTS {
            let name = default.pattern.trim_start_matches('/').replace(['*', '?'], "x");
            assert_eq!(default_of(Path::new(&name)).map(|one| one.what), Some(default.what));
        }
        assert!(default_of(Path::new("rc.conf")).is_none());
        assert!(default_of(Path::new("local/passwd")).is_none(), "a pattern with a slash");
    }
}
