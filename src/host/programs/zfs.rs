//! zfs(8).

use std::time::Duration;

use super::{nonsense, run};
use crate::format::zfs::{Dataset, LIST_COLUMNS, parse_list};
use crate::host::command::{Command, Runner};
use crate::host::{Kind, Result};

const ZFS: &str = "/sbin/zfs";
/// Listing and setting take one transaction at most; a pool without its disks never answers.
const LIMIT: Duration = Duration::from_secs(60);

/// The file systems at and below `root`; empty when `root` does not exist.
pub fn list(runner: &dyn Runner, root: &str) -> Result<Vec<Dataset>> {
    list_within(runner, root, LIMIT)
}

/// The same, for somebody who waits no longer than `limit`.
pub fn list_within(runner: &dyn Runner, root: &str, limit: Duration) -> Result<Vec<Dataset>> {
    let command = Command::new(ZFS, limit).args([
        "list",
        "-Hp",
        "-r",
        "-t",
        "filesystem",
        "-o",
        LIST_COLUMNS,
        root,
    ]);
    match run(runner, &command) {
        Ok(text) => parse_list(&text).map_err(|error| nonsense(&command, &error)),
        Err(error) if error.kind == Kind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Sets one property.
pub fn set(runner: &dyn Runner, dataset: &str, name: &str, value: &str) -> Result<()> {
    let command = Command::new(ZFS, LIMIT).args(["set", &format!("{name}={value}"), dataset]);
    run(runner, &command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::command::Replay;

    #[test]
    fn a_pool_without_the_layout_has_an_empty_list() {
        // What 13.2 and 15.1 print, from their transcripts of `zfs list -Hp tank/nope`.
        let stderr = "cannot open 'tank/nano': dataset does not exist\n";
        let line = format!("zfs list -Hp -r -t filesystem -o {LIST_COLUMNS} tank/nano");
        assert_eq!(list(&Replay::new().answer(&line, "", stderr, 1), "tank/nano").unwrap(), []);
    }

    #[test]
    fn a_property_is_set_in_one_call() {
        let line = "zfs set org.nanozfs:disks=1=A@ada1 2=B@ada2 tank/nano";
        let replay = Replay::new().answer(line, "", "", 0);
        set(&replay, "tank/nano", "org.nanozfs:disks", "1=A@ada1 2=B@ada2").unwrap();
    }
}
