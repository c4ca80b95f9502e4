//! What is remembered of a change that waits to be confirmed: a file in `/cfg`, beside the very
//! files that it is about, so that it is there whenever they are and needs no program to be read.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::boot::replace;
use crate::configuration::lists::OURS;
use crate::host::Files;

/// Its name in our directory of `/cfg`.
const NAME: &str = "confirm";
/// More than a record is long.
const MAX_SIZE: u64 = 4096;

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The state of before is being written down: nothing was applied yet.
    Preparing,
    /// It is applied, and waits.
    Pending,
    /// Somebody confirmed it.
    Confirmed,
    /// It was taken back.
    Undone,
}

impl State {
    const ALL: [(State, &'static str); 4] = [
        (State::Preparing, "preparing"),
        (State::Pending, "pending"),
        (State::Confirmed, "confirmed"),
        (State::Undone, "undone"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }
}

/// The last change that was applied to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// When it was applied: `20261121T101500Z`.
    pub(super) id: String,
    /// How far it is.
    pub(super) state: State,
    /// The snapshot of `/cfg` with the change.
    pub(super) applied: String,
    /// The snapshot of `/cfg` without it.
    pub(super) before: String,
    /// The uptime at which it is taken back.
    pub(super) until: Duration,
    /// How long was given.
    pub(super) given: Duration,
    /// Who applied it.
    pub(super) who: String,
    /// Who confirmed it, or why it was taken back.
    pub(super) end: String,
}

impl Record {
    /// Understands the text of a record; nothing when it is none.
    pub(super) fn parse(text: &str) -> Option<Record> {
        let get = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let seconds = |name: &str| get(name)?.parse().ok().map(Duration::from_secs);
        // It becomes part of a path.
        let snapshot = |name: &str| {
            get(name)
                .filter(|value| !value.contains('/') && !["", ".", ".."].contains(&value.as_str()))
        };
        let state = get("state")?;
        Some(Record {
            id: get("id").filter(|id| !id.is_empty())?,
            state: State::ALL.iter().find(|(_, name)| *name == state)?.0,
            applied: snapshot("applied")?,
            before: snapshot("before")?,
            until: seconds("until")?,
            given: seconds("given")?,
            who: get("who")?,
            end: get("end")?,
        })
    }

    fn encode(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let value: String =
                value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}={value}");
        };
        line("id", &self.id);
        line("state", self.state.name());
        line("applied", &self.applied);
        line("before", &self.before);
        line("until", &self.until.as_secs().to_string());
        line("given", &self.given.as_secs().to_string());
        line("who", &self.who);
        line("end", &self.end);
        text
    }

    /// The record of the `/cfg` at `cfg`; none when there was no such change.
    ///
    /// # Errors
    ///
    /// It is there, and cannot be read or understood.
    pub(super) fn read(files: &dyn Files, cfg: &Path) -> io::Result<Option<Record>> {
        match files.read(&place(cfg), MAX_SIZE) {
            Ok(text) => match Record::parse(&String::from_utf8_lossy(&text)) {
                Some(record) => Ok(Some(record)),
                None => Err(io::Error::other("it cannot be understood")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it: it is on disk when this comes back, and when it fails, the old one is.
    pub(super) fn write(&self, files: &dyn Files, cfg: &Path) -> io::Result<()> {
        let directory = cfg.join(OURS);
        if files.find(&directory)?.is_none() {
            files.make_directory(&directory)?;
            files.sync(cfg)?;
        }
        replace::write(files, &place(cfg), self.encode().as_bytes(), true)?;
        files.sync(&directory)
    }

    /// `5 min`, `90 s`.
    pub(super) fn given(&self) -> String {
        said(self.given)
    }
}

/// A time as people say it.
pub(super) fn said(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// Where the record is.
pub(super) fn place(cfg: &Path) -> PathBuf {
    cfg.join(OURS).join(NAME)
}

/// Everything in `/cfg` but the record.
#[derive(Debug)]
pub(super) struct Content;

impl crate::configuration::mirror::Scope for Content {
    fn holds(&self, path: &Path) -> bool {
        path != Path::new(OURS) && path != place(Path::new(""))
    }

    fn leads_to(&self, path: &Path) -> bool {
        path != place(Path::new(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            id: "20261121T101500Z".to_owned(),
            state: State::Pending,
            applied: "a".to_owned(),
            before: "b".to_owned(),
            until: Duration::from_secs(605),
            given: Duration::from_secs(300),
            who: "anna (192.0.2.7)".to_owned(),
            end: String::new(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for (state, _) in State::ALL {
            let record = Record { state, ..record() };
            assert_eq!(Record::parse(&record.encode()), Some(record));
        }
        let odd = Record { who: "a\nstate=confirmed".to_owned(), ..record() };
        let read = Record::parse(&odd.encode()).unwrap();
        assert_eq!((read.state, read.who.as_str()), (State::Pending, "a state=confirmed"));
    }

    #[test]
    fn half_a_record_and_one_that_leads_elsewhere_are_none() {
        let text = record().encode();
        for (at, _) in text.match_indices('\n').rev().skip(1) {
            assert_eq!(Record::parse(&text[..at]), None, "{}", &text[..at]);
        }
        for before in ["before=../x", "before=..", "before=.", "before="] {
            assert_eq!(Record::parse(&text.replace("before=b", before)), None, "{before}");
        }
    }

    #[test]
    fn a_time_is_said_in_minutes_where_it_has_them() {
        assert_eq!(said(Duration::from_secs(300)), "5 min");
        assert_eq!(said(Duration::from_secs(90)), "90 s");
    }
}
