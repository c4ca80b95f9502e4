//! `nanozfs cfg log`: the snapshots of `/cfg`, the newest first, with who, when and why.

use super::history::{self, WHEN, WHO, WHY};
use crate::boot::Boot;
use crate::report::{Code, Exit, Finding, WIDTH};
use crate::upgrade::journal::id_of;

/// Shows them.
pub(super) fn run(boot: &mut Boot<'_, '_>) -> Exit {
    let home = match history::find(boot) {
        Ok(home) => home,
        Err(exit) => return exit,
    };
    let notes = match boot.host.snapshots().notes(&home.dataset, &[WHO, WHEN, WHY]) {
        Ok(notes) => notes,
        Err(error) => {
            boot.find(Finding::failed(Code::E92, "who saved and why is not known", &error));
            return Exit::Failed;
        }
    };
    if home.snapshots.is_empty() {
        boot.console.say("nothing was saved yet");
        return Exit::Nothing;
    }
    for (before, snapshot) in home.snapshots.iter().enumerate().rev() {
        let full = snapshot.full_name();
        let note = |name: &str| {
            let found = notes.iter().find(|one| one.dataset == full && one.name == name);
            found.and_then(|one| one.value.clone()).filter(|value| !value.is_empty())
        };
        let when = note(WHEN).and_then(|when| when.parse().ok()).unwrap_or(snapshot.taken);
        let who = note(WHO).unwrap_or_else(|| "not by cfg save".to_owned());
        let line = format!("@{}  {}  {who}", snapshot.name, iso(when));
        boot.console.item(before + 1, &line, WIDTH);
        if let Some(why) = note(WHY) {
            boot.console.entry(' ', &format!(" {why}"));
        }
    }
    Exit::Done
}

/// `2026-11-21T10:15:00Z`.
fn iso(seconds: i64) -> String {
    let id = id_of(seconds);
    let part = |from: usize, to: usize| id.get(from..to).unwrap_or_default();
    let (date, time) = (
        [part(0, 4), part(4, 6), part(6, 8)].join("-"),
        [part(9, 11), part(11, 13), part(13, 15)].join(":"),
    );
    format!("{date}T{time}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_iso_8601_has_it() {
        assert_eq!(iso(1_795_256_100), "2026-11-21T10:15:00Z");
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
    }
}
