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

/// Takes one snapshot with its user properties.
pub fn record(runner: &dyn Runner, snapshot: &str, notes: &[(String, String)]) -> Result<()> {
    with_properties(runner, &["snapshot"], notes, &[snapshot])
}

/// What these user properties are on the snapshots of `dataset`, and not on those below it. The
/// snapshots inherit those of the dataset, which are not asked for.
pub fn notes(runner: &dyn Runner, dataset: &str, names: &[&str]) -> Result<Vec<Property>> {
    let names = names.join(",");
    let command = zfs([
        "get",
        "-Hp",
        "-d",
        "1",
        "-t",
        "snapshot",
        "-s",
        "local,received",
        "-o",
        GET_COLUMNS,
        &names,
        dataset,
    ]);
    let text = run(runner, &command)?;
    parse_get(&text).map_err(|error| nonsense(&command, &error))
}

/// Renames without unmounting (`-u`): where it is mounted now does not change. zfs(8) does not take
/// `-u` for a volume, which is never mounted.
pub fn rename(runner: &dyn Runner, from: &str, to: &str) -> Result<()> {
    match run(runner, &zfs(["rename", "-u", from, to])) {
        Err(error) if error.why.contains("not applicable to datasets of this type") => {
            run(runner, &zfs(["rename", from, to])).map(drop)
        }
        done => done.map(drop),
    }
}

/// Makes a dataset of a snapshot; with `canmount=noauto` among the properties nothing is mounted.
pub fn clone(
    runner: &dyn Runner,
    snapshot: &str,
    dataset: &str,
    properties: &[(String, String)],
) -> Result<()> {
    with_properties(runner, &["clone"], properties, &[snapshot, dataset])
}

/// Makes an empty dataset.
pub fn create(runner: &dyn Runner, dataset: &str, properties: &[(String, String)]) -> Result<()> {
    with_properties(runner, &["create", "-u"], properties, &[dataset])
}

fn with_properties(
    runner: &dyn Runner,
    verb: &[&str],
    properties: &[(String, String)],
    operands: &[&str],
) -> Result<()> {
    let mut command = zfs(verb.iter().copied());
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

/// Destroys a dataset with everything below it, or a snapshot with those of its name below it.
pub fn destroy(runner: &dyn Runner, name: &str) -> Result<()> {
    run(runner, &Command::new(ZFS, DESTROY_LIMIT).args(["destroy", "-r", name])).map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::format::zfs::Source;
    use crate::host::command::Replay;

    const A: &str = "20261121T101500Z";
    const KEPT: &str = "tank/nano/kept/20261122T080000Z-var";

    /// What OpenZFS 2.1.9 said while datasets were snapshotted, restored and put back, mounted and
    /// in use.
    fn recorded() -> Replay {
        Replay::folder(&folder("upgrade")).unwrap()
    }

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/freebsd-13.2").join(name)
    }

    /// Only these, one after the other.
    fn transcripts(names: [&str; 2]) -> Replay {
        from("upgrade", names)
    }

    fn from(name: &str, names: [&str; 2]) -> Replay {
        let add = |replay: Replay, one: &str| replay.transcript(&folder(name), one).unwrap();
        names.into_iter().fold(Replay::new(), add)
    }

    fn with(properties: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        properties.iter().map(own).collect()
    }

    #[test]
    fn a_record_is_one_call_and_its_notes_are_another() {
        let line = "zfs snapshot -o org.nanozfs:who=anna (ttyv0) -o org.nanozfs:why=new\tname \
                    tank/nano/cfg@cfg-1";
        let notes = with(&[("org.nanozfs:who", "anna (ttyv0)"), ("org.nanozfs:why", "new\tname")]);
        record(&Replay::new().answer(line, "", "", 0), "tank/nano/cfg@cfg-1", &notes).unwrap();
        let line = format!(
            "zfs get -Hp -d 1 -t snapshot -s local,received -o {GET_COLUMNS} a:who,a:why tank/nano/cfg"
        );
        let text = "tank/nano/cfg@cfg-1\ta:who\tanna (ttyv0)\tlocal\n\
                    tank/nano/cfg@cfg-1\ta:why\tnew\tname\tlocal\n";
        let replay = Replay::new().answer(&line, text, "", 0);
        let found = super::notes(&replay, "tank/nano/cfg", &["a:who", "a:why"]).unwrap();
        let values: Vec<_> = found.iter().filter_map(|one| one.value.as_deref()).collect();
        assert_eq!(values, ["anna (ttyv0)", "new\tname"]);
    }

    #[test]
    fn freebsd_13_2_restores_in_these_words() {
        let real = recorded();
        create(&real, "tank/nano/kept", &with(&[("canmount", "off"), ("mountpoint", "none")]))
            .unwrap();
        rename(&real, "tank/nano/var", KEPT).unwrap();
        let snapshot = format!("{KEPT}@nanozfs-{A}");
        let properties = with(&[("mountpoint", "/var"), ("canmount", "noauto")]);
        clone(&real, &snapshot, "tank/nano/var", &properties).unwrap();
        let properties = with(&[
            ("quota", "104857600"),
            ("recordsize", "16384"),
            ("reservation", "4194304"),
            ("org.nanozfs:note", "two  words"),
            ("canmount", "noauto"),
        ]);
        let snapshot = format!("{KEPT}/db/app@nanozfs-{A}");
        clone(&real, &snapshot, "tank/nano/var/db/app", &properties).unwrap();
        // A volume: not with -u.
        rename(&real, &format!("{KEPT}/vol0"), "tank/nano/var/vol0").unwrap();
        let calls = real.calls();
        assert_eq!(calls.last().unwrap(), &format!("zfs rename {KEPT}/vol0 tank/nano/var/vol0"));
    }

    #[test]
    fn freebsd_13_2_refuses_in_these_words() {
        let real = recorded();
        let var = ["cfg", "var", "var/db", "var/db/app", "var/log"];
        let names = var.map(|name| format!("tank/nano/{name}@nanozfs-{A}"));
        let twice = transcripts(["snapshot", "snapshot-again"]);
        take(&twice, &names).unwrap();
        let error = take(&twice, &names).unwrap_err();
        let wanted = "cannot create snapshot 'tank/nano/cfg@nanozfs-20261121T101500Z': dataset \
                      already exists";
        assert_eq!((error.kind, error.why.as_str()), (Kind::Refused, wanted));
        let none = format!("tank/nano/none@nanozfs-{A}");
        assert_eq!(take(&real, &[none]).unwrap_err().kind, Kind::NotFound);
        for (to, kind, why) in [
            ("tank/nano/none/x", Kind::NotFound, "parent does not exist"),
            ("tank/nano/cfg", Kind::Refused, "dataset already exists"),
        ] {
            let error = rename(&real, KEPT, to).unwrap_err();
            assert!(error.kind == kind && error.why.ends_with(why), "{error}");
        }
        assert_eq!(
            rename(&real, "tank/nano/none", "tank/nano/x").unwrap_err().kind,
            Kind::NotFound
        );
        let promoted = transcripts(["promote", "promote-again"]);
        promote(&promoted, "tank/nano/var").unwrap();
        let error = promote(&promoted, "tank/nano/var").unwrap_err();
        assert_eq!(error.why, "cannot promote 'tank/nano/var': not a cloned filesystem");
        for (name, kind, why) in [
            ("tank/nano/var", Kind::Refused, "filesystem has dependent clones"),
            ("tank/nano/var@nanozfs-20261121T101500Z", Kind::Refused, "has dependent clones"),
            ("tank/nano/kept/busy", Kind::Busy, "pool or dataset is busy"),
            ("tank/nano/none", Kind::NotFound, "dataset does not exist"),
        ] {
            let error = destroy(&real, name).unwrap_err();
            assert!(error.kind == kind && error.why.ends_with(why), "{error}");
        }
        let jailed = Replay::folder(&folder("upgrade-jailed")).unwrap();
        let error = rename(&jailed, "tank/nano/var", KEPT).unwrap_err();
        assert!(error.why.ends_with("is used in a non-global zone"), "{error}");
        // What shares the key of another encryption root stays below it.
        let (from, to) = ("tank/enc/kept/20261122T080000Z-var", "tank/enc/var");
        let error = rename(&real, from, to).unwrap_err();
        assert!(error.why.ends_with("cannot move encrypted child outside of its encryption root"));
    }

    #[test]
    fn in_a_full_pool_freebsd_13_2_clones_only_after_room_was_given_free() {
        let real = from("upgrade-full-pool", ["clone", "clone-2"]);
        let snapshot = format!("{KEPT}@nanozfs-{A}");
        let properties = with(&[("mountpoint", "/var"), ("canmount", "noauto")]);
        let error = clone(&real, &snapshot, "tank/nano/var", &properties).unwrap_err();
        assert_eq!(error.why, "cannot create 'tank/nano/var': out of space");
        let lift = from("upgrade-full-pool", ["lift", "rename"]);
        super::super::zfs::set(&lift, "tank/nano/kept", "refreservation", "none").unwrap();
        rename(&lift, "tank/nano/var", KEPT).unwrap();
        clone(&real, &snapshot, "tank/nano/var", &properties).unwrap();
    }

    #[test]
    fn freebsd_13_2_lists_properties_of_clones_volumes_and_keys() {
        let real = Replay::new().transcript(&folder("upgrade"), "get-after").unwrap();
        let all = properties(&real, "tank/nano").unwrap();
        let of = |dataset: &str, name: &str| {
            all.iter().find(|one| one.dataset == dataset && one.name == name)
        };
        let value = |dataset: &str, name: &str| of(dataset, name).and_then(|one| one.value.clone());
        assert_eq!(of("tank/nano/var", "origin"), None);
        let origin = format!("tank/nano/var@nanozfs-{A}");
        assert_eq!(value(KEPT, "origin"), Some(origin));
        assert_eq!(value("tank/nano/var/vol0", "type").as_deref(), Some("volume"));
        let app = "tank/nano/var/db/app";
        assert_eq!(value(app, "org.nanozfs:note").as_deref(), Some("two  words"));
        assert_eq!(of(app, "quota").unwrap().source, Source::Local);
        // A reservation that was lifted is set, to nothing.
        let lifted = of(&format!("{KEPT}/db/app"), "reservation").unwrap();
        assert_eq!((lifted.value.as_deref(), &lifted.source), (Some("0"), &Source::Local));
        // canmount=on is the default, and then is not listed; nor is what is inherited.
        assert_eq!(of("tank/nano/var/mail", "canmount"), None);
        assert_eq!(of("tank/nano/var/mail", "mountpoint"), None);

        let real = transcripts(["get-bare", "get-set"]);
        let bare = properties(&real, "tank/nano/kept/bare").unwrap();
        assert!(bare.iter().all(|one| one.source == Source::None));
        let set = properties(&real, "tank/nano/kept/bare").unwrap();
        let local: Vec<_> = set.iter().filter(|one| one.source == Source::Local).collect();
        let local = local.iter().map(|one| (one.name.as_str(), one.value.as_deref().unwrap()));
        assert_eq!(
            local.collect::<Vec<_>>(),
            [("mountpoint", "/nowhere"), ("canmount", "on"), ("org.nanozfs:was-canmount", "")]
        );

        let locked = properties(&recorded(), "tank/enc").unwrap();
        let root = |name: &str| {
            let all = locked.iter();
            all.filter(|one| one.name == "encryptionroot").find(|one| one.dataset == name)
        };
        assert_eq!(root("tank/enc/var/log").unwrap().value.as_deref(), Some("tank/enc/var"));
        assert!(root("tank/enc").is_none_or(|one| one.value.is_none()));
    }

    #[test]
    fn freebsd_13_2_lists_snapshots_by_age_and_follows_a_promotion() {
        let names = |transcript: &str| -> Vec<String> {
            let real = Replay::new().transcript(&folder("upgrade"), transcript).unwrap();
            list(&real, "tank/nano").unwrap().iter().map(Snapshot::full_name).collect()
        };
        let before = names("list-before");
        assert_eq!(before[0], "tank/nano/var@daily-1");
        assert_eq!(before.len(), 6);
        let after = names("list-after");
        assert_eq!(after[..6], before);
        assert_eq!(after[6..], [format!("{KEPT}@daily-2")]);
    }

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
