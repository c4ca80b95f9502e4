//! What a boot said: appended to a file in `/var`, and told to syslogd(8) once that is there. The
//! console scrolls away, and at boot nobody else listens.

use std::io;
use std::path::Path;

use super::{Boot, past, replace};
use crate::host::{Files, found, mount_of, mounted_at, why};
use crate::report::{Code, Line};
use crate::upgrade::journal::id_of;

/// The file: a line each, with its time in UTC.
pub const LOG: &str = "/var/log/nanozfs.log";
/// Bytes that it has at most: the oldest boots go first.
const LIMIT: usize = 256 << 10;
/// Larger than we ever leave it: it is not ours.
const NOT_OURS: u64 = 4 << 20;
/// The first line of every run begins with this, behind its time.
const BEGINS: &str = "boot begins, ";
/// What FreeBSD gives its logs that hold no secrets.
const MODE: u32 = 0o644;

/// Appends what this run showed, when rc(8) runs us or when something changed. What goes wrong is a
/// line on the console: a boot does not depend on it. On disk there is the old file or the new one.
pub(super) fn write(boot: &mut Boot<'_, '_>) {
    let by_rc = boot.host.services().started_by_rc();
    let changed = boot.outcomes().iter().any(|outcome| outcome.changes > 0);
    let Some(first) = boot.console.kept().first().filter(|_| by_rc || changed) else { return };
    let began = if by_rc { boot.past.began } else { first.at };
    let mounts = boot.host.mounts().unwrap_or_default();
    if mounted_at(&mounts, Path::new(super::var::VAR)).is_none_or(|var| var.read_only) {
        return; // said already: there is no /var
    }
    let path = Path::new(LOG);
    let durable = mount_of(&mounts, path).is_some_and(|mount| !mount.in_memory());
    let block = block(&header(began, by_rc), boot.console.kept());
    let told = boot.findings().iter().any(|finding| finding.code == Code::E06);
    if let Err(error) = append(boot.host.files(), path, &block, durable)
        && !told
    {
        boot.console.say(&format!("boot: {LOG}: {}: not written", why(&error)));
    }
}

/// Tells syslogd(8) what this boot said, once rc(8) is at its end. Nothing where it was not written.
pub fn replay(boot: &mut Boot<'_, '_>) {
    let Some((began, _)) = past::word(boot.host) else { return };
    let Ok(content) = boot.host.files().read(Path::new(LOG), NOT_OURS) else { return };
    let mut warns = false;
    for line in last(&String::from_utf8_lossy(&content), &header(began, true)) {
        let text = line.split_once(' ').map_or(line, |(_, text)| text);
        if !text.starts_with(' ') {
            let word = text.split(' ').next();
            warns = Code::ALL.iter().any(|code| Some(code.id()) == word);
        }
        boot.host.services().log_late(&format!("at boot: {text}"), warns);
    }
}

/// The first line of a run.
fn header(began: i64, by_rc: bool) -> String {
    format!("{} {BEGINS}{}", id_of(began), if by_rc { "by rc" } else { "by hand" })
}

/// The lines of a run below its header, not larger than the file may be.
fn block(header: &str, lines: &[Line]) -> Vec<u8> {
    let mut block = format!("{header}\n");
    let lines: Vec<_> =
        lines.iter().map(|line| format!("{} {}\n", id_of(line.at), line.text)).collect();
    // How it ended is worth more than how it began.
    let mut room = LIMIT.saturating_sub(block.len());
    let fits = |line: &&String| {
        let left = room.checked_sub(line.len());
        room = left.unwrap_or_default();
        left.is_some()
    };
    let count = lines.iter().rev().take_while(fits).count();
    block.extend(lines.iter().skip(lines.len() - count).map(String::as_str));
    block.into_bytes()
}

fn append(files: &dyn Files, path: &Path, block: &[u8], durable: bool) -> io::Result<()> {
    let old = match found(files.stat(path))? {
        None => None,
        Some(stat) => Some((files.read(path, NOT_OURS)?, stat.attributes)),
    };
    if let Some(directory) = path.parent()
        && files.find(directory)?.is_none()
    {
        files.make_directory(directory)?;
    }
    let content = match &old {
        Some((old, _)) => join(old, block),
        None => block.to_owned(),
    };
    replace::with(files, path, durable, 0, |temporary| {
        files.create(temporary, &content)?;
        let mut attributes = files.stat(temporary)?.attributes;
        match &old {
            Some((_, was)) => {
                (attributes.mode, attributes.uid, attributes.gid) = (was.mode, was.uid, was.gid);
            }
            None => attributes.mode = MODE,
        }
        files.set_attributes(temporary, &attributes)
    })
}

/// The old content and a new run, without the oldest runs when it would be too large.
fn join(old: &[u8], block: &[u8]) -> Vec<u8> {
    let room = LIMIT.saturating_sub(block.len());
    let mut at = 0;
    let mut starts = vec![0];
    for line in old.split_inclusive(|byte| *byte == b'\n') {
        let text = line.iter().position(|byte| *byte == b' ').and_then(|at| line.get(at + 1..));
        if text.is_some_and(|text| text.starts_with(BEGINS.as_bytes())) {
            starts.push(at);
        }
        at += line.len();
    }
    let keep = starts.into_iter().find(|start| old.len() - start <= room).unwrap_or(old.len());
    let kept = old.get(keep..).unwrap_or_default();
    let end: &[u8] = if kept.last().is_none_or(|byte| *byte == b'\n') { b"" } else { b"\n" };
    [kept, end, block].concat()
}

/// The lines of the last run with this header.
fn last<'a>(content: &'a str, header: &str) -> Vec<&'a str> {
    let lines: Vec<_> = content.lines().collect();
    let Some(at) = lines.iter().rposition(|line| *line == header) else { return Vec::new() };
    let begins = |line: &&&str| {
        let text = line.split_once(' ').map(|(_, text)| text);
        !text.is_some_and(|text| text.starts_with(BEGINS))
    };
    lines.iter().skip(at + 1).take_while(begins).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: i64, lines: usize) -> Vec<u8> {
        let line = |at| Line { at, text: format!("{number:>100}") };
        block(&header(number, true), &(0..lines as i64).map(line).collect::<Vec<_>>())
    }

    fn text(content: Vec<u8>) -> String {
        String::from_utf8(content).unwrap()
    }

    #[test]
    fn each_line_has_its_time() {
        let lines = [
            Line { at: 1_700_000_005, text: "E21 pool tank: 2 of 3 disks found".to_owned() },
            Line { at: 1_700_000_006, text: "  next: zpool status tank".to_owned() },
        ];
        assert_eq!(
            text(block(&header(1_700_000_000, true), &lines)),
            "20231114T221320Z boot begins, by rc\n\
             20231114T221325Z E21 pool tank: 2 of 3 disks found\n\
             20231114T221326Z   next: zpool status tank\n"
        );
    }

    #[test]
    fn the_oldest_runs_go_first_and_whole() {
        let mut content = Vec::new();
        for number in 0..20 {
            content = join(&content, &run(number, 200));
            assert!(content.len() <= LIMIT, "{}", content.len());
        }
        let content = text(content);
        assert!(content.starts_with(&header(9, true)), "{}", &content[..60]);
        assert_eq!(content.matches(BEGINS).count(), 11);
        assert_eq!(last(&content, &header(19, true)).len(), 200);
        assert_eq!(last(&content, &header(12, true)).len(), 200);
        assert_eq!(last(&content, &header(1, true)), Vec::<&str>::new());
    }

    #[test]
    fn a_run_that_is_too_long_loses_its_beginning() {
        let one = run(3, 10_000);
        assert!((LIMIT - 200..=LIMIT).contains(&one.len()));
        let content = text(join(&run(2, 1), &one));
        assert_eq!(content.matches(BEGINS).count(), 1);
        assert!(content.len() <= LIMIT && content.starts_with(&header(3, true)));
    }

    #[test]
    fn what_others_wrote_is_kept_as_long_as_there_is_room() {
        let content = text(join(b"\xc3\xa9 by hand, without an end", &run(1, 1)));
        assert!(content.starts_with("\u{e9} by hand, without an end\n1970"), "{content}");
        assert_eq!(join(b"", &run(1, 1)), run(1, 1));
    }
}
