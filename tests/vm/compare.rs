//! Lab and guest side by side: what nanozfs says in both, modulo numbers that vary.

use std::path::Path;

use anyhow::Result;
use nanozfs::lab::play;
use nanozfs::lab::story::Story;

/// What nanozfs says in the lab, run by run.
pub(crate) fn lab_runs(story: &Path, scratch: &Path) -> Result<Vec<String>> {
    let _ = std::fs::remove_dir_all(scratch);
    let played = play::play(&Story::read(story)?, scratch)?;
    let _ = std::fs::remove_dir_all(scratch);
    Ok(runs(&played.text))
}

/// The runs in the text of a played story: they end with `[exit N]`.
fn runs(text: &str) -> Vec<String> {
    let (mut all, mut run) = (Vec::new(), String::new());
    let mut event = false;
    for line in text.lines() {
        if line.starts_with("[exit ") {
            all.push(std::mem::take(&mut run));
        } else if event || line.starts_with('[') {
            event = !line.ends_with(']');
            run.clear();
        } else if line.starts_with("# ") {
            run.clear();
        } else {
            run.push_str(line);
            run.push('\n');
        }
    }
    all
}

/// Whoever is at the terminal: in the lab somebody came by ssh.
const PERSON: (&str, &str) = ("anna (192.0.2.7)", "root");
/// Said on a guest only: of the disk that carries the harness's commands, and of programs that the
/// lab does not run.
const OF_GUEST: [&str; 2] = ["(serial script)", ": exit 0 after "];

/// The messages of a run, each in one line, with what varies made equal.
fn messages(run: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in run.lines().filter(|line| !OF_GUEST.iter().any(|word| line.contains(word))) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let next = words.iter().skip(1).copied().chain([""]);
        let words: Vec<String> =
            words.iter().zip(next).map(|(word, next)| plain(word, next)).collect();
        let words = words.join(" ");
        let begins = [
            "missing:",
            "not changed:",
            "unchanged:",
            "pool:",
            "next:",
            "found:",
            "nanozfs:",
            "To do:",
        ];
        let alone =
            begins.iter().any(|begin| words.starts_with(begin)) || !line.starts_with("    ");
        match all.last_mut() {
            Some(last) if !alone => {
                last.push(' ');
                last.push_str(&words);
            }
            _ => all.push(words),
        }
    }
    all.into_iter().map(|message| message.replace(PERSON.0, PERSON.1)).collect()
}

/// A word without what differs from machine to machine; `next` follows it.
fn plain(word: &str, next: &str) -> String {
    let word = undated(word);
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let number = !core.is_empty() && core.chars().all(|c| c.is_ascii_digit());
    if digits > 9 && number {
        return word.replace(core, "GUID");
    }
    // Two of the same kind are told in the order in which the kernel has their disks.
    if word.ends_with('.') && number {
        return "N.".to_owned();
    }
    // Seconds and sizes are decimal fractions, or have a unit; counts are not and have none.
    let unit = next.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if core.parse::<f64>().is_ok() && (core.contains('.') || matches!(unit, "MB" | "GB" | "s")) {
        return word.replace(core, "N");
    }
    if matches!(core, "MB" | "GB") { word.replace(core, "SIZE") } else { word }
}

/// A word with its times, `20261121T101500Z` or `2026-11-21T10:15:00Z`, made equal.
fn undated(word: &str) -> String {
    let shapes = ["00000000T000000Z", "0000-00-00T00:00:00Z"];
    let mut rest = word;
    let mut out = String::new();
    while let Some(first) = rest.chars().next() {
        let dated = shapes.iter().find(|shape| {
            let fits = |(c, s): (char, char)| if s == '0' { c.is_ascii_digit() } else { c == s };
            rest.len() >= shape.len() && rest.chars().zip(shape.chars()).all(fits)
        });
        let (text, length) = dated.map_or((first.to_string(), first.len_utf8()), |shape| {
            ("TIME".to_owned(), shape.len())
        });
        out.push_str(&text);
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// The lines that only one of the two has, as a report; empty when they agree.
pub(crate) fn disagreements(lab: &[String], guest: &[String]) -> String {
    let mut report = String::new();
    if lab.len() != guest.len() {
        // What runs in the background is a run in the lab only: all of them side by side.
        let counts = format!("  {} runs in the lab, {} on the guest\n", lab.len(), guest.len());
        let found = disagreements(&[lab.concat()], &[guest.concat()]);
        return counts + &found;
    }
    for (number, (lab, guest)) in lab.iter().zip(guest).enumerate() {
        let (lab, guest) = (messages(lab), messages(guest));
        let only = |one: &[String], other: &[String], mark: &str| -> String {
            let alone = one.iter().filter(|line| !other.contains(line));
            alone.map(|line| format!("    {mark} {line}\n")).collect()
        };
        let found = only(&lab, &guest, "lab:  ") + &only(&guest, &lab, "guest:");
        if !found.is_empty() {
            report.push_str(&format!("  run {}\n{found}", number + 1));
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_guids_may_differ_and_devices_may_not() {
        let say = |text: &str| vec![text.to_owned()];
        let one = say("nanozfs: pools: tank imported from 3 disks, 1.2 s\n");
        let other = say("nanozfs: pools: tank imported from 3 disks,\n             0.1 s\n");
        assert_eq!(disagreements(&one, &other), "");
        let less = say("nanozfs: pools: tank imported from 2 disks, 1.2 s\n");
        assert!(!disagreements(&one, &less).is_empty());
    }

    #[test]
    fn times_sizes_and_people_may_differ() {
        let table = [
            ("saved 2 changes: @cfg-20231114T221327Z", "saved 2 changes: @cfg-20261122T020623Z"),
            (
                "1. @a 2023-11-14T22:13:26Z anna (192.0.2.7) hosts",
                "1. @a 2026-11-22T02:06:22Z root hosts",
            ),
            (
                "tank: ONLINE, 768 MB, of which 1.2 GB are free",
                "tank: ONLINE, 0.7 GB, of which 3 MB are free",
            ),
            (
                "1. ada0 (serial OS-1), 2 GB: the OS drive",
                "1. ada0 (serial OS-1), 518 MB: the OS drive",
            ),
            ("stays, confirmed by\n         anna (192.0.2.7)", "stays, confirmed by root"),
            ("at its end after 6 s.", "at its end after 25 s."),
        ];
        for (lab, guest) in table {
            assert_eq!(disagreements(&[lab.to_owned()], &[guest.to_owned()]), "");
        }
        for (lab, guest) in [("1 written", "2 written"), ("disk 1", "disk 2"), ("2023", "2024")] {
            assert_ne!(disagreements(&[lab.to_owned()], &[guest.to_owned()]), "");
        }
    }

    #[test]
    fn runs_that_only_the_lab_has_do_not_shift_the_others() {
        let lab = ["one\n".to_owned(), "in the background\n".to_owned(), "two\n".to_owned()];
        let guest = ["one\n".to_owned(), "two\n".to_owned()];
        let found = disagreements(&lab, &guest);
        assert!(found.ends_with("  run 1\n    lab:   in the background\n"), "{found}");
    }

    #[test]
    fn a_run_ends_with_its_exit() {
        let text = "title\n-----\n\n[power on: / is\nx]\nnanozfs: one\n[exit 0]\n\nThen.\n\n# nanozfs boot\nnanozfs: two\n\nusage\n[exit 5]\n";
        assert_eq!(runs(text), ["nanozfs: one\n", "nanozfs: two\n\nusage\n"]);
    }
}
