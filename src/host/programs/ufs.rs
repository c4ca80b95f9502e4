//! tunefs(8) and fsck_ffs(8), on a file system that is not mounted.

use std::time::Duration;

use super::run;
use crate::host::command::{Command, Runner};
use crate::host::{Error, Kind, Result};

/// tunefs(8) writes a few sectors.
const TUNE_LIMIT: Duration = Duration::from_secs(60);
/// A check reads all of the metadata, from slow flash perhaps.
const CHECK_LIMIT: Duration = Duration::from_secs(1800);

/// Gives the file system a volume name.
pub fn name(runner: &dyn Runner, provider: &str, name: &str) -> Result<()> {
    let device = format!("/dev/{provider}");
    run(runner, &Command::new("/sbin/tunefs", TUNE_LIMIT).args(["-L", name, &device])).map(drop)
}

/// Checks it and changes nothing; an error when anything is wrong with it.
///
/// fsck_ffs(8) finds damage, answers each of its own questions with no, and exits with 0 all the
/// same: it is the answers that tell.
pub fn check(runner: &dyn Runner, provider: &str) -> Result<()> {
    let device = format!("/dev/{provider}");
    let command = Command::new("/sbin/fsck_ffs", CHECK_LIMIT).args(["-n", &device]);
    let output = run(runner, &command)?;
    match damage(&output) {
        None => Ok(()),
        Some(what) => Err(Error::new(Kind::Refused, command.argv(), what)),
    }
}

/// What fsck_ffs(8) would have put right: what it says before the first question that it answers with
/// no. A journal that is not used is no damage.
fn damage(text: &str) -> Option<String> {
    let mut said = "";
    for line in text.lines().map(str::trim) {
        // It goes on after sectors that cannot be read.
        match line.strip_suffix("? no").or(line.strip_suffix("CONTINUE? yes")) {
            Some("USE JOURNAL") => {}
            Some(_) if said.is_empty() => return Some(line.to_owned()),
            Some(_) => return Some(said.to_owned()),
            None if line.is_empty() || line.starts_with("UNEXPECTED ") => {}
            None if line.starts_with("** ") => said = "",
            None => said = line,
        }
    }
    None
}

/// Puts right what a crash leaves, and asks nobody; an error when it is not in order afterwards.
/// `-f`: what says that it is clean is looked at all the same.
pub fn repair(runner: &dyn Runner, provider: &str, limit: Duration) -> Result<()> {
    let device = format!("/dev/{provider}");
    let command = Command::new("/sbin/fsck_ffs", limit).args(["-p", "-f", &device]);
    let output = runner.run(&command).map_err(|error| error.of(&command))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stderr, output.stdout].concat();
    let why = why(&String::from_utf8_lossy(&text), &device);
    let why = why.unwrap_or_else(|| output.status.to_string());
    Err(Error::new(Kind::Refused, command.argv(), why))
}

/// What keeps fsck_ffs(8) from going on: it says so on standard output, before the line that sends
/// for a person; without that line it is the last one.
fn why(text: &str, device: &str) -> Option<String> {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let end = lines.iter().position(|line| line.contains("INCONSISTENCY; RUN fsck MANUALLY"));
    let line = match end {
        Some(at) => at.checked_sub(1).and_then(|before| lines.get(before)).or(lines.get(at)),
        None => lines.last(),
    };
    let text = line?.trim_start_matches(device).trim_start_matches([':', ' ']);
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::command::Replay;

    #[test]
    fn names_and_checks_the_device() {
        let replay = Replay::new()
            .answer("tunefs -L nanos2a /dev/ada0s2a", "", "", 0)
            .answer("fsck_ffs -n /dev/ada0s2a", "** Phase 1\n", "", 0)
            .answer("fsck_ffs -n /dev/ada0s1a", "", "CANNOT READ BLK: 128\n", 8);
        name(&replay, "ada0s2a", "nanos2a").unwrap();
        check(&replay, "ada0s2a").unwrap();
        assert_eq!(check(&replay, "ada0s1a").unwrap_err().why, "CANNOT READ BLK: 128");
    }

    #[test]
    fn damage_is_told_by_the_answers_and_not_by_the_exit_code() {
        let text = "** /dev/ada0s2a (NO WRITE)\n** Phase 1 - Check Blocks and Sizes\n\
                    USE JOURNAL? no\n\n\
                    UNKNOWN FILE TYPE I=5\nUNEXPECTED SOFT UPDATE INCONSISTENCY\n\nCLEAR? no\n\n\
                    ** Phase 2 - Check Pathnames\nSALVAGE? no\n\n3 files, 9 used\n";
        let unread = "** Phase 1 - Check Blocks and Sizes\n\nCANNOT READ BLK: 128\n\
                      UNEXPECTED SOFT UPDATE INCONSISTENCY\n\nCONTINUE? yes\n\n3 files\n";
        let clean = "** Phase 1 - Check Blocks and Sizes\n3 files, 9 used, 5 free\n";
        let replay = Replay::new().answer("fsck_ffs -n /dev/ada0s2a", text, "", 0).answer(
            "fsck_ffs -n /dev/ada0p3",
            clean,
            "",
            0,
        );
        assert_eq!(check(&replay, "ada0s2a").unwrap_err().why, "UNKNOWN FILE TYPE I=5");
        let replay = replay.answer("fsck_ffs -n /dev/ada0s1a", unread, "", 0);
        assert_eq!(check(&replay, "ada0s1a").unwrap_err().why, "CANNOT READ BLK: 128");
        check(&replay, "ada0p3").unwrap();
    }

    #[test]
    fn a_repair_that_needs_a_person_says_why() {
        let text = "/dev/ada0s3: UNREF FILE I=4  OWNER=root MODE=100600\n\
                    /dev/ada0s3: SIZE=4 MTIME=Nov 21 10:00 2026  (CLEARED)\n\
                    /dev/ada0s3: DIRECTORY CORRUPTED  I=2\n\
                    /dev/ada0s3: UNEXPECTED SOFT UPDATE INCONSISTENCY; RUN fsck MANUALLY.\n";
        let replay = Replay::new().answer("fsck_ffs -p -f /dev/ada0s3", text, "", 8).answer(
            "fsck_ffs -p -f /dev/ada0p4",
            "/dev/ada0p4: clean, 9 free\n",
            "",
            0,
        );
        let limit = Duration::from_secs(60);
        assert_eq!(repair(&replay, "ada0s3", limit).unwrap_err().why, "DIRECTORY CORRUPTED  I=2");
        repair(&replay, "ada0p4", limit).unwrap();
    }
}
