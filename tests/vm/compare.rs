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
        } else if line.starts_with("# ") || line.is_empty() {
            run.clear();
        } else {
            run.push_str(line);
            run.push('\n');
        }
    }
    all
}

/// The messages of a run, each in one line, with numbers that vary made equal.
fn messages(run: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in run.lines() {
        let words = line.split_whitespace().map(plain).collect::<Vec<_>>().join(" ");
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
    all
}

/// A word without what differs from machine to machine.
fn plain(word: &str) -> String {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if digits > 9 && core.chars().all(|c| c.is_ascii_digit()) {
        return word.replace(core, "GUID");
    }
    // Two of the same kind are told in the order in which the kernel has their disks.
    if word.ends_with('.') && !core.is_empty() && core.chars().all(|c| c.is_ascii_digit()) {
        return "N.".to_owned();
    }
    // Seconds and sizes are decimal fractions; counts are not.
    if core.parse::<f64>().is_ok() && core.contains('.') {
        return word.replace(core, "N");
    }
    word.to_owned()
}

/// The lines that only one of the two has, as a report; empty when they agree.
pub(crate) fn disagreements(lab: &[String], guest: &[String]) -> String {
    let mut report = String::new();
    if lab.len() != guest.len() {
        report.push_str(&format!(
            "  {} runs in the lab, {} on the guest\n",
            lab.len(),
            guest.len()
        ));
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
    fn a_run_ends_with_its_exit() {
        let text = "title\n-----\n\n[power on: / is\nx]\nnanozfs: one\n[exit 0]\n\n# nanozfs boot\nnanozfs: two\n[exit 5]\n";
        assert_eq!(runs(text), ["nanozfs: one\n", "nanozfs: two\n"]);
    }
}
