//! tunefs(8) and fsck_ffs(8), on a file system that is not mounted.

use std::time::Duration;

use super::run;
use crate::host::Result;
use crate::host::command::{Command, Runner};

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
pub fn check(runner: &dyn Runner, provider: &str) -> Result<()> {
    let device = format!("/dev/{provider}");
    run(runner, &Command::new("/sbin/fsck_ffs", CHECK_LIMIT).args(["-n", &device])).map(drop)
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
}
