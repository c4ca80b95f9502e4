//! `nanozfs cfg recovery show`: what lies on the recovery copy, without what is in the files.

use std::path::{Path, PathBuf};

use super::{Result, copy};
use crate::boot::{Boot, tree};
use crate::configuration::names::shown;
use crate::host::{FileKind, Files, why};
use crate::report::Exit;
use crate::upgrade::journal::id_of;

/// Lists it: mode, owner, size, time, name.
pub(super) fn run(boot: &mut Boot<'_, '_>) -> Result<Exit> {
    let mut copy = copy::find(boot)?;
    let Some(lines) = copy.look(boot, |boot, at| Ok(lines(boot.host.files(), at)))? else {
        return Ok(Exit::Done);
    };
    for line in &lines {
        boot.console.plain(line);
    }
    let (name, drive) = (copy.name(), &copy.drive);
    boot.console.say(&format!("{name} of {drive}: {} files and directories", lines.len()));
    Ok(Exit::Done)
}

fn lines(files: &dyn Files, at: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let top = path.as_os_str().is_empty();
        if !top {
            lines.push(line(files, at, &path));
        }
        if !files.is_directory(&at.join(&path)) {
            continue;
        }
        match files.list(&at.join(&path)) {
            Ok(names) => {
                let names = names.into_iter().filter(|name| !tree::is_reserved(&path, name));
                let mut below: Vec<_> = names.map(|name| path.join(name)).collect();
                below.reverse();
                open.extend(below);
            }
            Err(error) => lines.push(format!("{}: {}", shown(&path), why(&error))),
        }
    }
    lines
}

fn line(files: &dyn Files, at: &Path, path: &Path) -> String {
    let name = shown(path);
    let stat = match files.stat(&at.join(path)) {
        Ok(stat) => stat,
        Err(error) => return format!("{name}: {}", why(&error)),
    };
    let owner = format!("{}:{}", stat.attributes.uid, stat.attributes.gid);
    let (mode, time) = (stat.attributes.mode, id_of(stat.attributes.modified.seconds));
    let end = match stat.kind {
        FileKind::File => String::new(),
        FileKind::Directory => "/".to_owned(),
        FileKind::Link => match files.read_link(&at.join(path)) {
            Ok(target) => format!(" -> {}", shown(&target)),
            Err(error) => format!(": {}", why(&error)),
        },
        other => format!(" ({})", other.name()),
    };
    format!("{mode:04o} {owner:<9} {:>9} {time} {name}{end}", stat.size)
}
