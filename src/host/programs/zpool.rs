//! zpool(8).

use std::time::Duration;

use super::{nonsense, run};
use crate::format::zpool::{LIST_COLUMNS, Pool, SPACE_COLUMNS, Space, parse_list, parse_spaces};
use crate::host::command::{Command, Runner};
use crate::host::{Import, NewPool, Result};

const ZPOOL: &str = "/sbin/zpool";
/// Listing asks the kernel only; one that takes this long will not come back.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// Labels are written to every disk, and the space on some is given back first (trim).
const CREATE_LIMIT: Duration = Duration::from_secs(600);

/// The imported pools.
pub fn list(runner: &dyn Runner) -> Result<Vec<Pool>> {
    let command = Command::new(ZPOOL, LIST_LIMIT).args(["list", "-Hp", "-o", LIST_COLUMNS]);
    let text = run(runner, &command)?;
    parse_list(&text).map_err(|error| nonsense(&command, &error))
}

/// The imported pools and their sizes, for somebody who waits no longer than `limit`.
pub fn spaces(runner: &dyn Runner, limit: Duration) -> Result<Vec<(Pool, Space)>> {
    let command = Command::new(ZPOOL, limit).args(["list", "-Hp", "-o", SPACE_COLUMNS]);
    let text = run(runner, &command)?;
    parse_spaces(&text).map_err(|error| nonsense(&command, &error))
}

/// Imports one pool by GUID from the devices given, mounting nothing and writing no cache file.
/// Forced (`-f`), because a pool that another host used last is the normal case after the OS drive
/// was replaced; only known pools come here.
pub fn import(runner: &dyn Runner, import: &Import) -> Result<()> {
    let mut command =
        Command::new(ZPOOL, import.limit).args(["import", "-f", "-N", "-o", "cachefile=none"]);
    for device in &import.devices {
        command = command.args(["-d", device]);
    }
    run(runner, &command.arg(import.guid.to_string())).map(drop)
}

/// Makes a pool. Without `-f`, so that ZFS refuses what looks used; without a cache file; its own
/// dataset is never mounted.
pub fn create(runner: &dyn Runner, pool: &NewPool) -> Result<()> {
    let mut command = Command::new(ZPOOL, CREATE_LIMIT).args([
        "create",
        "-o",
        "cachefile=none",
        "-O",
        "mountpoint=none",
        "-O",
        "canmount=off",
        &pool.name,
    ]);
    if !pool.kind.is_empty() {
        command = command.arg(&pool.kind);
    }
    run(runner, &command.args(pool.devices.iter().map(String::as_str))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Kind;
    use crate::host::command::Replay;

    fn lone() -> Import {
        Import {
            name: "lone".to_owned(),
            guid: 3_987_550_627_117_901_460,
            devices: vec!["/dev/da0".to_owned(), "/dev/da1".to_owned()],
            limit: Duration::from_secs(60),
        }
    }

    const IMPORT: &str =
        "zpool import -f -N -o cachefile=none -d /dev/da0 -d /dev/da1 3987550627117901460";

    #[test]
    fn an_import_names_the_guid_and_every_device_and_writes_no_cache_file() {
        let replay = Replay::new().answer(IMPORT, "", "", 0);
        import(&replay, &lone()).unwrap();
        assert_eq!(replay.calls(), [IMPORT]);
    }

    #[test]
    fn a_new_pool_is_made_of_these_devices_and_never_with_force() {
        let devices = ["/dev/da1", "/dev/da2"].map(str::to_owned).to_vec();
        let pool = NewPool { name: "data".to_owned(), kind: "mirror".to_owned(), devices };
        let line = "zpool create -o cachefile=none -O mountpoint=none -O canmount=off data mirror /dev/da1 /dev/da2";
        create(&Replay::new().answer(line, "", "", 0), &pool).unwrap();
        let one = NewPool {
            name: "data".to_owned(),
            kind: String::new(),
            devices: vec!["/dev/da1".to_owned()],
        };
        let line =
            "zpool create -o cachefile=none -O mountpoint=none -O canmount=off data /dev/da1";
        create(&Replay::new().answer(line, "", "", 0), &one).unwrap();
    }

    #[test]
    fn what_zpool_says_is_what_the_error_says() {
        let stderr = "cannot import 'lone': no such pool available\n";
        let error = import(&Replay::new().answer(IMPORT, "", stderr, 1), &lone()).unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert_eq!(error.why, "cannot import 'lone': no such pool available");
        let error = import(&Replay::new().times_out(IMPORT, false), &lone()).unwrap_err();
        assert!(matches!(error.kind, Kind::TimedOut(_)), "{error}");
        let error = import(&Replay::new().missing(IMPORT), &lone()).unwrap_err();
        assert_eq!(error.kind, Kind::ProgramMissing);
    }

    #[test]
    fn a_list_that_is_no_list_is_nonsense() {
        let line = format!("zpool list -Hp -o {LIST_COLUMNS}");
        let error = list(&Replay::new().answer(&line, "NAME\n", "", 0)).unwrap_err();
        assert_eq!(error.kind, Kind::Nonsense);
        assert_eq!(list(&Replay::new().answer(&line, "", "", 0)).unwrap(), []);
    }

    #[test]
    fn sizes_come_from_the_same_single_call() {
        let line = "zpool list -Hp -o name,guid,health,size,free,readonly";
        let limit = Duration::from_secs(10);
        let replay = Replay::new().answer(line, "lone\t7\tONLINE\t100\t60\toff\n", "", 0);
        let pools = spaces(&replay, limit).unwrap();
        assert_eq!(pools[0].1, Space { size: Some(100), free: Some(60) });
        assert_eq!(replay.calls(), [line]);
        let error = spaces(&Replay::new().times_out(line, false), limit).unwrap_err();
        assert_eq!(error.kind, Kind::TimedOut(limit));
    }
}
