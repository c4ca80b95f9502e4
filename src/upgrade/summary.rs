//! Where a machine stands with its slots, in words: what `upgrade status` and `status` both say.

use super::journal::{Data, End, Journal, Past};
use super::machine::Verdict;
use super::select::{self, Scheme};
use super::trial::{self, Started};
use crate::boot::osdrive::Role;

/// Where a machine stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What is under way.
    pub verdict: Verdict,
    /// The same in words.
    pub state: String,
    /// What to type next.
    pub next: &'static str,
    /// The slot that is running.
    pub running: Role,
    /// What the other slot holds: `gate 2.1`.
    pub other_holds: String,
    /// The slot that the next boot goes to, where the marks say so.
    pub next_boot: Option<Role>,
    /// The key at boot0 that leads back from a kernel that does not start, while one is armed.
    pub key_back: Option<u32>,
}

/// Says it, from what the drive and the journal say.
pub fn summary(started: &Started, journal: &Journal) -> Summary {
    let verdict = trial::decide(started, journal).verdict;
    let (running, other) = (started.running, select::opposite(started.running));
    let image = journal.switch.as_ref().map(trial::image_name).unwrap_or_default();
    let (state, next) = match verdict {
        Verdict::Armed => (format!("armed: the next boot tries {}{image}", other.name()), "reboot"),
        Verdict::Trial | Verdict::UnknownTrial => (
            format!("TRIAL of {}{image}", running.name()),
            "nanozfs upgrade commit, or: nanozfs upgrade rollback --reboot",
        ),
        Verdict::Back => ("a trial failed, going back is not finished".to_owned(), "reboot"),
        Verdict::Kept => ("a trial is kept, which is not finished".to_owned(), "reboot"),
        Verdict::Steady => ("no switch is under way".to_owned(), "nothing"),
    };
    let on_mbr = started.selection.scheme == Scheme::Mbr && verdict == Verdict::Armed;
    Summary {
        verdict,
        state,
        next,
        running,
        other_holds: holds(started, journal, other),
        next_boot: select::next_boot(&started.selection),
        key_back: on_mbr.then(|| started.selection.slot(running).index),
    }
}

/// What a slot that is not running holds.
fn holds(started: &Started, journal: &Journal, slot: Role) -> String {
    match journal.installed.as_ref().filter(|one| one.slot == slot) {
        Some(one) if one.drive != trial::drive_id(&started.drive) => {
            "what the image of the drive brought".to_owned()
        }
        Some(one) if !one.complete => {
            "nothing that starts: it was not written to its end".to_owned()
        }
        Some(one) => format!("{} {}", one.image.name, one.image.version),
        None => "the system of before".to_owned(),
    }
}

impl Summary {
    /// The slot that the next boot goes to, in words.
    pub fn next_name(&self) -> &'static str {
        self.next_boot.map_or("what the loader finds", Role::name)
    }

    /// The next boot goes to another slot than the one that runs, and nothing explains that.
    pub fn leads_astray(&self, journal: &Journal) -> bool {
        let expected = self.verdict == Verdict::UnknownTrial || journal.switch.is_some();
        self.next_boot.is_some_and(|role| role != self.running) && !expected
    }
}

/// One line about a switch that ended, which its name begins.
pub fn ended(past: &Past) -> String {
    format!("{} {}", past.id, outcome(past))
}

/// How a switch ended.
pub fn outcome(past: &Past) -> String {
    let image = match past.image.name.is_empty() {
        true => past.to.name().to_owned(),
        false => format!("{} {} in {}", past.image.name, past.image.version, past.to.name()),
    };
    let data = match &past.data {
        Data::Keep => String::new(),
        Data::Restore(id) => format!(" with the data of {id}"),
    };
    let end = match past.end {
        End::Committed => "kept",
        End::Failed => "FAILED",
        End::Cancelled => "called off",
    };
    let why = if past.why.is_empty() { String::new() } else { format!(": {}", past.why) };
    format!("{image}{data} {end}{why}")
}

/// With a capital, where a sentence begins.
pub fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
