//! gpart(8) and boot0cfg(8): which slot boots.

use std::time::Duration;

use super::run;
use crate::host::command::{Command, Runner};
use crate::host::{Flag, Result};

/// One sector is written; a drive that takes this long is broken.
const LIMIT: Duration = Duration::from_secs(30);

/// Sets an attribute of a partition, and tells nobody who listens to the kernel's events less.
pub fn set(runner: &dyn Runner, disk: &str, index: u32, flag: Flag) -> Result<()> {
    attribute(runner, "set", disk, index, flag)
}

/// Takes an attribute from a partition.
pub fn unset(runner: &dyn Runner, disk: &str, index: u32, flag: Flag) -> Result<()> {
    attribute(runner, "unset", disk, index, flag)
}

fn attribute(runner: &dyn Runner, verb: &str, disk: &str, index: u32, flag: Flag) -> Result<()> {
    let command = Command::new("/sbin/gpart", LIMIT).args([
        verb,
        "-a",
        flag.name(),
        "-i",
        &index.to_string(),
        disk,
    ]);
    run(runner, &command).map(drop)
}

/// Makes both copies of a GPT the same again.
pub fn recover(runner: &dyn Runner, disk: &str) -> Result<()> {
    run(runner, &Command::new("/sbin/gpart", LIMIT).args(["recover", disk])).map(drop)
}

/// Makes a slice boot0's default.
pub fn select_slice(runner: &dyn Runner, disk: &str, slice: u32) -> Result<()> {
    let slice = slice.to_string();
    run(runner, &Command::new("/usr/sbin/boot0cfg", LIMIT).args(["-s", &slice, disk])).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Kind;
    use crate::host::command::Replay;

    #[test]
    fn each_change_is_one_call() {
        let replay = Replay::new()
            .answer("gpart set -a bootonce -i 3 ada0", "bootonce set on ada0p3\n", "", 0)
            .answer("gpart unset -a bootme -i 2 ada0", "bootme unset on ada0p2\n", "", 0)
            .answer("gpart recover ada0", "ada0 recovered\n", "", 0)
            .answer("boot0cfg -s 2 ada0", "", "", 0);
        set(&replay, "ada0", 3, Flag::BootOnce).unwrap();
        unset(&replay, "ada0", 2, Flag::BootMe).unwrap();
        recover(&replay, "ada0").unwrap();
        select_slice(&replay, "ada0", 2).unwrap();
    }

    #[test]
    fn a_refusal_says_what_gpart_said() {
        let line = "gpart set -a active -i 2 ada0";
        let replay = Replay::new().answer(
            line,
            "",
            "gpart: table 'ada0' is corrupt: Operation not permitted\n",
            1,
        );
        let error = set(&replay, "ada0", 2, Flag::Active).unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert!(error.why.contains("corrupt"));
    }
}
