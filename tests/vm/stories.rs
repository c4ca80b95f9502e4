//! Reading the stories, and telling which of them a guest cannot play.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nanozfs::lab::statement::{DiskTrouble, Expect, Statement, Where};
use nanozfs::lab::{Failure, Target, story};

/// A line of a story for the guest.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    /// One of the lab's, too.
    Statement(Statement),
    /// `vm random-cuts 10`: the power goes at random moments of so many boots.
    RandomCuts(u32),
    /// `vm do-as-told`: after a boot that left the pools alone, what it asks for, and another boot.
    DoAsTold,
    /// `vm release 2.2 CHANGE...`: `/var/tmp/gate-2.2.nzr`, made of the running slot, which the line
    /// of sh(1) has changed.
    Release(String, String),
    /// `vm start WORD...`: power on, until that is on the console.
    StartUntil(String),
    /// `vm again`: it restarts by itself, and comes up.
    Again,
    /// `vm cuts-during 5 COMMAND...`: the power goes at so many random moments of a command, and the
    /// machine comes up after each.
    CutsDuring(u32, String),
    /// `vm lying-flash ada0`: from the next power-on its writes can be lost.
    LyingFlash(String),
    /// `vm lie ada0p3 8388608`: the next write to that byte of the partition is answered as done, and
    /// is lost.
    Lie(String, u64),
    /// `vm record NAME COMMAND...`: what a program prints is kept, as a transcript with this name.
    Record(String, String),
    /// `vm console NAME`: what is on the console from the kernel's last words on is kept.
    Console(String),
}

/// A story for the guest.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) lines: Vec<(usize, Line)>,
    /// The lab plays it, too.
    pub(crate) lab: bool,
}

/// All stories below `directory`, by name.
pub(crate) fn read_all(directory: &Path, lab: bool) -> Result<Vec<Play>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let Ok(text) = fs::read_to_string(path.join("story")) else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = format!("{name}/story");
        let lines = parse(&text).with_context(|| file.clone())?;
        all.push(Play { name, file, lines, lab });
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

fn parse(text: &str) -> Result<Vec<(usize, Line)>> {
    let mut ours = Vec::new();
    let mut rest = String::new();
    for (number, line) in text.lines().enumerate() {
        let own = match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["vm", "random-cuts", count] => Some(Line::RandomCuts(count.parse()?)),
            ["vm", "do-as-told"] => Some(Line::DoAsTold),
            ["vm", "release", version, ..] => {
                let change = line.split_once(version).map_or("", |(_, change)| change.trim());
                Some(Line::Release((*version).to_owned(), change.to_owned()))
            }
            ["vm", "start", word @ ..] => Some(Line::StartUntil(word.join(" "))),
            ["vm", "again"] => Some(Line::Again),
            ["vm", "cuts-during", count, command @ ..] => {
                Some(Line::CutsDuring(count.parse()?, command.join(" ")))
            }
            ["vm", "lying-flash", device] => Some(Line::LyingFlash((*device).to_owned())),
            ["vm", "lie", partition, offset] => {
                Some(Line::Lie((*partition).to_owned(), offset.parse()?))
            }
            ["vm", "record", name, command @ ..] => {
                Some(Line::Record((*name).to_owned(), command.join(" ")))
            }
            ["vm", "console", name] => Some(Line::Console((*name).to_owned())),
            ["vm", ..] => bail!("{}: {line}: not known", number + 1),
            _ => None,
        };
        match own {
            Some(own) => ours.push((number + 1, own)),
            None => rest.push_str(line),
        }
        // Lines of both kinds are counted.
        rest.push('\n');
    }
    let theirs = story::parse(&rest).map_err(anyhow::Error::msg)?;
    ours.extend(theirs.into_iter().map(|(number, line)| (number, Line::Statement(line))));
    ours.sort_by_key(|(number, _)| *number);
    Ok(ours)
}

impl Play {
    /// Why a guest cannot play it.
    pub(crate) fn unplayable(&self) -> Option<String> {
        let mut on = false;
        for (number, line) in &self.lines {
            let Line::Statement(statement) = line else { continue };
            let why = match statement {
                Statement::Boot | Statement::SingleUser => {
                    on = true;
                    None
                }
                Statement::Shutdown | Statement::Cut(_) => {
                    on = false;
                    None
                }
                Statement::Fault(fault) => match (&fault.at, &fault.how) {
                    (Target::Write(_) | Target::Mount(_), _) | (_, Failure::Errno(_)) => {
                        Some("a real kernel does not fail on demand")
                    }
                    _ => None,
                },
                Statement::ServiceFails(_)
                | Statement::Interface(_)
                | Statement::DefaultRoute(_) => {
                    Some("the services and the network of a guest are real")
                }
                Statement::DiskFault { trouble, .. }
                    if !matches!(trouble, DiskTrouble::Lasting(_)) =>
                {
                    Some("a guest's file systems are damaged by stories of its own")
                }
                Statement::Dataset { .. } if on => Some("the maker makes datasets, before a boot"),
                Statement::Image { .. }
                | Statement::Release { .. }
                | Statement::Truncate { .. }
                | Statement::Put { place: Where::Made(_), .. } => {
                    Some("the lab makes its releases; a guest's upgrades are in tests/vm/stories")
                }
                Statement::AtWork(_) => Some("nobody else is at work on a guest"),
                Statement::Expect(Expect::Running(_) | Expect::Slot { .. } | Expect::Past(_)) => {
                    Some("the lab looks into the OS drive; a guest is asked by stories of its own")
                }
                Statement::Settle => Some("a guest comes to the end of rc by itself"),
                Statement::Answers(_) => Some("nobody types at a guest"),
                Statement::BootArea { .. } => Some("a guest's OS drive is as the maker wrote it"),
                Statement::Mend => Some("what is broken on a guest stays so"),
                Statement::Detach(device) if on && device.starts_with("ada") => {
                    Some("AHCI of QEMU cannot lose a disk while the guest runs")
                }
                Statement::Property { name, .. } if name == "available" => {
                    Some("a real pool is as full as it is")
                }
                Statement::Dataset { encrypted: true, key: true, .. } => {
                    Some("a key that is loaded before the boot needs a person")
                }
                _ => None,
            };
            if let Some(why) = why {
                return Some(format!("line {number}: {why}"));
            }
        }
        None
    }
}
