//! What the pool remembers of upgrades: the switch that is under way, what the other slot holds,
//! how earlier switches ended.
//!
//! It is one user property of the layout's parent, so that every change of it is one transaction of
//! the pool, and the same one that the data are in. The text is records separated by `;`, each a
//! word and `key=value` pairs.

use std::fmt::Write as _;

use crate::boot::osdrive::Role;
use crate::format::ParseError;

/// The property of `POOL/nano`.
pub const PROPERTY: &str = "org.nanozfs:upgrade";
/// Characters of a reason that are kept.
const REASON: usize = 120;
/// Earlier switches that are remembered; failed ones are the last to be forgotten.
const REMEMBERED: usize = 20;
const WHAT: &str = "upgrade journal";

/// Everything that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The switch that is under way.
    pub switch: Option<Switch>,
    /// What was last installed, and where.
    pub installed: Option<Installed>,
    /// Switches that ended, the newest last.
    pub past: Vec<Past>,
}

/// A system image, as its manifest names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the raw slot image, in hexadecimal.
    pub digest: String,
}

/// The slot that was written last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The slot.
    pub slot: Role,
    /// It was written to its end and checked. Otherwise the slot holds nothing that starts.
    pub complete: bool,
    /// The drive it is on: its serial number, else its device name.
    pub drive: String,
    /// What it holds.
    pub image: Image,
}

/// A change from one slot to the other, from arming it until it is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Its name, which its snapshots and kept datasets carry: `20261121T101500Z`.
    pub id: String,
    /// How far it is.
    pub phase: Phase,
    /// The slot it leads away from, and back to when it fails.
    pub from: Role,
    /// The slot that is tried.
    pub to: Role,
    /// What becomes of the data in the trial.
    pub data: Data,
    /// What is tried, where that is known.
    pub image: Image,
    /// The drive that both slots are on: its serial number, else its device name.
    pub drive: String,
    /// Why the trial gave up, in a few words; empty while it has not.
    pub why: String,
}

/// How far a switch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Snapshots are taken, the next boot is a trial. The data are as the old system left them.
    Armed,
    /// The trial has begun: from here on the data may be the new system's.
    Trial,
    /// It is healthy: the new slot stays.
    Committing,
}

/// What a trial does with the data before anything is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// It goes on with them.
    Keep,
    /// It gets those of this switch's snapshots back.
    Restore(String),
}

/// How a switch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The new slot stayed.
    Committed,
    /// The trial failed: the machine went back.
    Failed,
    /// It was called off before it was tried.
    Cancelled,
}

impl End {
    /// One word, for programs.
    pub fn name(self) -> &'static str {
        match self {
            End::Committed => "committed",
            End::Failed => "failed",
            End::Cancelled => "cancelled",
        }
    }
}

/// A switch that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The switch's name.
    pub id: String,
    /// How it ended.
    pub end: End,
    /// Where it led from.
    pub from: Role,
    /// Where it led to.
    pub to: Role,
    /// What was tried.
    pub image: Image,
    /// Its data: kept, or restored from an earlier switch.
    pub data: Data,
    /// Why it ended so, in a few words; may be empty.
    pub why: String,
}

impl Journal {
    /// Ends the switch that is under way.
    pub fn end(&mut self, end: End, why: &str) {
        let Some(switch) = self.switch.take() else { return };
        let Switch { id, from, to, data, image, why: own, .. } = switch;
        let why = if end == End::Failed && !own.is_empty() { &own } else { why };
        let why = why.chars().take(REASON).collect();
        self.past.push(Past { id, end, from, to, image, data, why });
        while self.past.len() > REMEMBERED {
            let at = self.past.iter().position(|past| past.end != End::Failed).unwrap_or(0);
            self.past.remove(at);
        }
    }

    /// The failed trial of the image with this digest.
    pub fn failure(&self, digest: &str) -> Option<&Past> {
        let same = |past: &&Past| past.end == End::Failed && past.image.digest == digest;
        self.past.iter().rev().find(same).filter(|_| !digest.is_empty())
    }

    /// The switch that a rollback undoes: the last one that stayed.
    pub fn last_committed(&self) -> Option<&Past> {
        self.past.iter().rev().find(|past| past.end == End::Committed)
    }

    /// What the other slot holds, when it can be started: written to its end, on this drive.
    pub fn startable(&self, slot: Role, drive: &str) -> Option<&Installed> {
        let same = |one: &&Installed| one.slot == slot && one.drive == drive && one.complete;
        self.installed.as_ref().filter(same)
    }

    /// The text of it.
    pub fn encode(&self) -> String {
        let mut text = String::from("v=1");
        if let Some(one) = &self.installed {
            text.push_str(";installed");
            put(&mut text, "slot", letter(one.slot));
            put(&mut text, "complete", if one.complete { "yes" } else { "no" });
            put(&mut text, "drive", &one.drive);
            put_image(&mut text, &one.image);
        }
        for past in &self.past {
            text.push_str(";past");
            put(&mut text, "id", &past.id);
            put(&mut text, "end", past.end.name());
            put(&mut text, "from", letter(past.from));
            put(&mut text, "to", letter(past.to));
            put_data(&mut text, &past.data);
            put_image(&mut text, &past.image);
            put(&mut text, "why", &past.why);
        }
        if let Some(switch) = &self.switch {
            text.push_str(";switch");
            put(&mut text, "id", &switch.id);
            put(&mut text, "phase", phase_name(switch.phase));
            put(&mut text, "from", letter(switch.from));
            put(&mut text, "to", letter(switch.to));
            put(&mut text, "drive", &switch.drive);
            put(&mut text, "why", &switch.why);
            put_data(&mut text, &switch.data);
            put_image(&mut text, &switch.image);
        }
        text
    }

    /// Reads what [`Journal::encode`] wrote. Words and records that a later version may add are
    /// passed over.
    ///
    /// # Errors
    ///
    /// When it is not a journal of this form, or a record lacks what it must have: then nothing is
    /// known, and nothing may be decided.
    pub fn parse(text: &str) -> Result<Journal, ParseError> {
        let mut records = text.split(';');
        if records.next() != Some("v=1") {
            return Err(ParseError::new(WHAT, "it does not begin with v=1"));
        }
        let mut journal = Journal::default();
        for (number, text) in records.enumerate() {
            let record = Record::parse(text);
            let read = match record.kind {
                "installed" => record.installed().map(|one| journal.installed = Some(one)),
                "past" => record.past().map(|one| journal.past.push(one)),
                "switch" => record.switch().map(|one| journal.switch = Some(one)),
                _ => Ok(()),
            };
            read.map_err(|why| {
                ParseError::new(WHAT, format!("record {} ({}): {why}", number + 1, record.kind))
            })?;
        }
        Ok(journal)
    }
}

/// One record: its kind and its pairs, still encoded.
struct Record<'a> {
    kind: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Record<'a> {
    fn parse(text: &'a str) -> Self {
        let mut words = text.split(' ');
        let kind = words.next().unwrap_or_default();
        Record { kind, pairs: words.filter_map(|word| word.split_once('=')).collect() }
    }

    fn get(&self, key: &str) -> Result<String, String> {
        let value = self.pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| value);
        let value = value.ok_or_else(|| format!("{key} is missing"))?;
        decode(value).ok_or_else(|| format!("{key} cannot be read"))
    }

    fn role(&self, key: &str) -> Result<Role, String> {
        match self.get(key)?.as_str() {
            "A" => Ok(Role::SlotA),
            "B" => Ok(Role::SlotB),
            _ => Err(format!("{key} is no slot")),
        }
    }

    fn image(&self) -> Result<Image, String> {
        let (name, version) = (self.get("name")?, self.get("version")?);
        Ok(Image { name, version, digest: self.get("digest")? })
    }

    fn data(&self) -> Result<Data, String> {
        let restore = self.get("restore")?;
        Ok(if restore.is_empty() { Data::Keep } else { Data::Restore(restore) })
    }

    fn installed(&self) -> Result<Installed, String> {
        let (slot, complete) = (self.role("slot")?, self.get("complete")? == "yes");
        Ok(Installed { slot, complete, drive: self.get("drive")?, image: self.image()? })
    }

    fn past(&self) -> Result<Past, String> {
        let end = self.get("end")?;
        let known = [End::Committed, End::Failed, End::Cancelled];
        Ok(Past {
            id: self.get("id")?,
            end: known.into_iter().find(|one| one.name() == end).ok_or("no such end")?,
            from: self.role("from")?,
            to: self.role("to")?,
            image: self.image()?,
            data: self.data()?,
            why: self.get("why")?,
        })
    }

    fn switch(&self) -> Result<Switch, String> {
        let phase = self.get("phase")?;
        let known = [Phase::Armed, Phase::Trial, Phase::Committing];
        let (from, to) = (self.role("from")?, self.role("to")?);
        if from == to {
            return Err("it leads to where it began".to_owned());
        }
        Ok(Switch {
            id: self.get("id")?,
            phase: known
                .into_iter()
                .find(|one| phase_name(*one) == phase)
                .ok_or("no such phase")?,
            from,
            to,
            data: self.data()?,
            image: self.image()?,
            drive: self.get("drive")?,
            why: self.get("why")?,
        })
    }
}

/// The name of a switch that begins at this time, in seconds since 1970: `20261121T101500Z`.
pub fn id_of(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from a first of March, so that the leap day is the last of its year; 400
    // years have 146,097 days.
    let days = days + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// `A` or `B`.
pub fn letter(role: Role) -> &'static str {
    match role {
        Role::SlotA => "A",
        Role::SlotB => "B",
        Role::RecoveryCopy => "",
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Armed => "armed",
        Phase::Trial => "trial",
        Phase::Committing => "committing",
    }
}

fn put_image(text: &mut String, image: &Image) {
    put(text, "name", &image.name);
    put(text, "version", &image.version);
    put(text, "digest", &image.digest);
}

fn put_data(text: &mut String, data: &Data) {
    match data {
        Data::Keep => put(text, "restore", ""),
        Data::Restore(id) => put(text, "restore", id),
    }
}

/// Appends a pair; what would end a word or a record is written as `%XX`.
fn put(text: &mut String, key: &str, value: &str) {
    text.push(' ');
    text.push_str(key);
    text.push('=');
    for byte in value.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'%' && byte != b';' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
}

/// The inverse; `None` for what [`put`] never writes.
fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = rest.get(2..)?;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: &str) -> Image {
        let digest = version.repeat(8);
        Image { name: "gate 7;%".to_owned(), version: version.to_owned(), digest }
    }

    fn switch(phase: Phase, data: Data) -> Switch {
        let (from, to) = (Role::SlotA, Role::SlotB);
        let (id, drive) = ("20261121T101500Z".to_owned(), "OS-1".to_owned());
        Switch { id, phase, from, to, data, image: image("2.1"), drive, why: String::new() }
    }

    fn full() -> Journal {
        let mut journal = Journal {
            installed: Some(Installed {
                slot: Role::SlotB,
                complete: true,
                drive: "serial with spaces \u{e9}\n".to_owned(),
                image: image("2.1"),
            }),
            ..Journal::default()
        };
        journal.switch = Some(switch(Phase::Trial, Data::Keep));
        journal.end(End::Failed, "deadline: sshd has not started");
        journal.switch = Some(switch(Phase::Armed, Data::Restore("earlier".to_owned())));
        journal
    }

    #[test]
    fn what_is_written_is_read_back() {
        let phases = [Phase::Armed, Phase::Trial, Phase::Committing];
        for phase in phases {
            let mut journal = full();
            journal.switch = Some(switch(phase, Data::Keep));
            assert_eq!(Journal::parse(&journal.encode()).unwrap(), journal);
        }
        for journal in [full(), Journal::default()] {
            let text = journal.encode();
            assert_eq!(Journal::parse(&text).unwrap(), journal);
            assert!(!text.contains(['\n', '\t']), "one line without tabs: {text}");
        }
    }

    #[test]
    fn words_of_a_later_version_are_passed_over() {
        let text =
            format!("{};later a=b;switch2", full().encode().replace(" phase=", " new=1 phase="));
        assert_eq!(Journal::parse(&text).unwrap(), full());
    }

    #[test]
    fn a_journal_that_lost_something_decides_nothing() {
        let text = full().encode();
        assert!(Journal::parse("").is_err());
        assert!(Journal::parse(&text.replace("v=1", "v=2")).is_err());
        for key in ["id", "phase", "from", "to", "restore", "digest"] {
            let broken = text.replace(&format!(" {key}="), " other=");
            assert!(Journal::parse(&broken).is_err(), "without {key}");
        }
        assert!(Journal::parse(&text.replace("to=B", "to=A")).is_err());
        assert!(Journal::parse(&text.replace("%20", "%2")).is_err());
    }

    #[test]
    fn a_switch_is_named_after_its_time() {
        let table = [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_795_256_100, "20261121T101500Z"),
            (4_107_542_400, "21000301T000000Z"),
            (-1, "19700101T000000Z"),
        ];
        for (seconds, name) in table {
            assert_eq!(id_of(seconds), name);
        }
    }

    #[test]
    fn failures_are_forgotten_last() {
        let mut journal = Journal::default();
        for number in 0..60 {
            journal.switch = Some(switch(Phase::Armed, Data::Keep));
            journal.end(if number == 3 { End::Failed } else { End::Committed }, "");
        }
        assert_eq!(journal.past.len(), REMEMBERED);
        assert!(journal.failure(&image("2.1").digest).is_some());
        assert!(journal.failure("").is_none());
        assert!(journal.encode().len() < 8192, "what a property of ZFS can hold");
    }
}
