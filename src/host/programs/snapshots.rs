//! zfs(8), as far as snapshots and clones go.

use std::time::Duration;

use super::{nonsense, run};
use crate::format::zfs::{
    GET_COLUMNS, Property, SNAPSHOT_COLUMNS, Snapshot, parse_get, parse_snapshots,
};
use crate::host::command::{Command, Runner};
use crate::host::{Kind, Result};

const ZFS: &str = "/sbin/zfs";
/// One transaction each, or a list.
const LIMIT: Duration = Duration::from_secs(60);
/// Freeing blocks is done in the background, but not the walk through them.
const DESTROY_LIMIT: Duration = Duration::from_secs(600);

fn zfs<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    Command::new(ZFS, LIMIT).args(args)
}

/// The snapshots at and below `root`, oldest first within a dataset.
pub fn list(runner: &dyn Runner, root: &str) -> Result<Vec<Snapshot>> {
    let command = zfs([
        "list",
        "-Hp",
        "-r",
        "-t",
        "snapshot",
        "-s",
        "createtxg",
        "-o",
        SNAPSHOT_COLUMNS,
        root,
    ]);
    match run(runner, &command) {
        Ok(text) => parse_snapshots(&text).map_err(|error| nonsense(&command, &error)),
        Err(error) if error.kind == Kind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Takes all of these snapshots, or none.
pub fn take(runner: &dyn Runner, snapshots: &[String]) -> Result<()> {
    let names = snapshots.iter().map(String::as_str);
    run(runner, &zfs(std::iter::once("snapshot").chain(names))).map(drop)
}

/// Renames without unmounting (`-u`): where it is mounted now does not change.
pub fn rename(runner: &dyn Runner, from: &str, to: &str) -> Result<()> {
    run(runner, &zfs(["rename", "-u", from, to])).map(drop)
}

/// Makes a dataset of a snapshot; with `canmount=noauto` among the properties nothing is mounted.
pub fn clone(
    runner: &dyn Runner,
    snapshot: &str,
    dataset: &str,
    properties: &[(String, String)],
) -> Result<()> {
    with_properties(runner, "clone", properties, &[snapshot, dataset])
}

/// Makes an empty dataset.
pub fn create(runner: &dyn Runner, dataset: &str, properties: &[(String, String)]) -> Result<()> {
    with_properties(runner, "create", properties, &["-u", dataset])
}

fn with_properties(
    runner: &dyn Runner,
    verb: &str,
    properties: &[(String, String)],
    operands: &[&str],
) -> Result<()> {
    let mut command = zfs([verb]);
    for (name, value) in properties {
        command = command.args(["-o", &format!("{name}={value}")]);
    }
    run(runner, &command.args(operands.iter().copied())).map(drop)
}

/// Lets a clone and its origin change places.
pub fn promote(runner: &dyn Runner, dataset: &str) -> Result<()> {
    run(runner, &zfs(["promote", dataset])).map(drop)
}

/// What is set on `root` and on what is below it, and what they are; parents first.
pub fn properties(runner: &dyn Runner, root: &str) -> Result<Vec<Property>> {
    let command = zfs([
        "get",
        "-Hp",
        "-r",
        "-t",
        "filesystem,volume",
        "-s",
        "local,received,none",
        "-o",
        GET_COLUMNS,
        "all",
        root,
    ]);
    match run(runner, &command) {
        Ok(text) => parse_get(&text).map_err(|error| nonsense(&command, &error)),
        Err(error) if error.kind == Kind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Destroys a dataset with everything below it, or a snapshot.
pub fn destroy(runner: &dyn Runner, name: &str) -> Result<()> {
    run(runner, &Command::new(ZFS, DESTROY_LIMIT).args(["destroy", "-r", name])).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::command::Replay;

    #[test]
    fn all_snapshots_are_taken_by_one_call() {
        let line = "zfs snapshot tank/nano/cfg@x tank/nano/var@x";
        let names = ["tank/nano/cfg@x".to_owned(), "tank/nano/var@x".to_owned()];
        take(&Replay::new().answer(line, "", "", 0), &names).unwrap();
    }

    #[test]
    fn a_clone_gets_its_properties_from_us() {
        let line = "zfs clone -o canmount=noauto -o mountpoint=/cfg tank/old@x tank/nano/cfg";
        let properties = [("canmount", "noauto"), ("mountpoint", "/cfg")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let replay = Replay::new().answer(line, "", "", 0);
        clone(&replay, "tank/old@x", "tank/nano/cfg", &properties).unwrap();
    }

    #[test]
    fn a_busy_dataset_is_busy() {
        let stderr = "cannot unmount '/var': pool or dataset is busy\n";
        let replay = Replay::new().answer("zfs rename -u t/a t/b", "", stderr, 1);
        assert_eq!(rename(&replay, "t/a", "t/b").unwrap_err().kind, Kind::Busy);
    }

    #[test]
    fn where_there_is_no_dataset_there_is_no_snapshot() {
        let line = format!("zfs list -Hp -r -t snapshot -s createtxg -o {SNAPSHOT_COLUMNS} t/none");
        let stderr = "cannot open 't/none': dataset does not exist\n";
        assert_eq!(list(&Replay::new().answer(&line, "", stderr, 1), "t/none").unwrap(), []);
        let rows = "t/a@x\t1700000000\t0\nt/a/b@x\t1700000000\t4096\n";
        let replay = Replay::new().answer(&line, rows, "", 0);
        let list = list(&replay, "t/none").unwrap();
        assert_eq!(list[1].full_name(), "t/a/b@x");
        assert_eq!((list[1].taken, list[1].used), (1_700_000_000, 4096));
    }
}
