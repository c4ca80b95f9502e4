//! `nanozfs status`: how the machine is now, for a person who reads it aloud over the phone, and
//! for programs.
//!
//! Facts are asked for, each of which may fail; one pure function makes a [`Status`] of them; two
//! renderings show it. It changes nothing and takes no lock.

mod decide;
mod facts;
mod json;
mod pools;
mod record;
mod text;
mod verbose;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::boot::Boot;
use crate::report::{Code, Exit, Finding};

pub use json::{MEMBERS, SCHEMA};

/// How the machine is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `/cfg` and `/var` come from ZFS, and nothing is impaired.
    Normal,
    /// An upgrade is under way: armed, on trial, or not finished.
    Trial,
    /// `/cfg` comes from ZFS, and something is impaired or not known.
    Degraded,
    /// `/cfg` does not come from ZFS.
    Recovery,
    /// `nanozfs boot` did not run, and nothing is mounted.
    NotStarted,
    /// Not even what is mounted could be learnt.
    Unknown,
}

impl Verdict {
    /// All of them, with the words that programs read.
    pub const ALL: [(Verdict, &'static str); 6] = [
        (Verdict::Normal, "normal"),
        (Verdict::Trial, "trial"),
        (Verdict::Degraded, "degraded"),
        (Verdict::Recovery, "recovery"),
        (Verdict::NotStarted, "not-started"),
        (Verdict::Unknown, "unknown"),
    ];

    /// The word that programs read.
    pub fn name(self) -> &'static str {
        Verdict::ALL.iter().find(|(one, _)| *one == self).map_or("", |(_, name)| name)
    }

    /// The exit code that tells it.
    pub fn exit(self) -> Exit {
        match self {
            Verdict::Normal => Exit::Done,
            Verdict::Trial => Exit::Trial,
            Verdict::Degraded => Exit::Degraded,
            Verdict::Recovery | Verdict::NotStarted => Exit::Recovery,
            Verdict::Unknown => Exit::Failed,
        }
    }
}

/// How much an item matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// So it is, and so it should be.
    Fact,
    /// Worth knowing.
    Note,
    /// Something that should be there is missing or impaired.
    Impaired,
    /// It could not be learnt.
    Unknown,
}

impl Weight {
    /// The word that programs read.
    pub fn name(self) -> &'static str {
        match self {
            Weight::Fact => "fact",
            Weight::Note => "note",
            Weight::Impaired => "impaired",
            Weight::Unknown => "unknown",
        }
    }

    fn counts(self) -> bool {
        matches!(self, Weight::Impaired | Weight::Unknown)
    }
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is about, one word.
    pub topic: &'static str,
    /// The class of it, where it has one.
    pub code: Option<Code>,
    /// How much it matters.
    pub weight: Weight,
    /// The line.
    pub text: String,
    /// What to type about it.
    pub advice: Option<String>,
}

/// A known pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Its name, or the configuration's word for one of which nothing was found.
    pub name: String,
    /// It is imported; none when that is not known.
    pub imported: Option<bool>,
    /// How zpool(8) calls its state; none when it is not imported.
    pub health: Option<String>,
    /// Bytes in it.
    pub size: Option<u64>,
    /// Bytes of these that hold nothing.
    pub free: Option<u64>,
    /// Its disks that were not found.
    pub missing: Vec<MissingDisk>,
}

/// A disk that was not found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingDisk {
    /// `disk 2 of raidz1-0`.
    pub place: String,
    /// Its serial number, where the pool remembers it.
    pub serial: Option<String>,
    /// Where it was: `/dev/ada2`.
    pub last_seen: Option<String>,
    /// All of that in words.
    pub text: String,
}

/// A part of what `-v` shows: a heading, and its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// One word, which is the member's name in JSON, too.
    pub name: &'static str,
    /// Its lines.
    pub rows: Vec<Row>,
}

/// One line of a section: in words, and as fields for programs, whose values are JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In words.
    pub text: String,
    /// For programs.
    pub fields: Vec<(&'static str, String)>,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// In one word.
    pub verdict: Verdict,
    /// In one sentence.
    pub headline: String,
    /// Line by line.
    pub items: Vec<Item>,
    /// What to type next.
    pub next: String,
    /// What is on `/cfg`.
    pub cfg: Option<String>,
    /// What is on `/var`.
    pub var: Option<String>,
    /// The known pools.
    pub pools: Vec<PoolState>,
    /// The slot that runs, and the slot that the next boot goes to.
    pub slots: (Option<&'static str>, Option<&'static str>),
    /// The mode in which the last `nanozfs boot` left the machine.
    pub boot_mode: Option<String>,
    /// Time since the machine started.
    pub uptime: Duration,
    /// What `-v` shows.
    pub sections: Vec<Section>,
}

/// How the answer is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// With disks, pools, datasets and slots.
    pub verbose: bool,
    /// For programs.
    pub json: bool,
}

/// Asks, decides, shows.
pub fn run(boot: &mut Boot<'_, '_>, complaints: Vec<Finding>, order: Order) -> Exit {
    let facts = facts::gather(boot.host, boot.config, complaints, order.verbose);
    let status = decide::decide(&facts);
    match order.json {
        true => boot.console.plain(&json::render(&status)),
        false => text::render(&status, boot.console),
    }
    status.verdict.exit()
}
