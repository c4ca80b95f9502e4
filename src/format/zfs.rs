//! What `zfs list -Hp` and `zfs get -Hp` print: see zfs-list(8), zfs-get(8), zfsprops(7).
//!
//! Columns are separated by tabs. Names hold no tab, user properties may: they are the last column
//! of the list, and `zfs get` has its source behind the last tab.

use super::{ParseError, quoted};

/// The columns that [`parse_list`] expects, as `zfs list -o` takes them.
pub const LIST_COLUMNS: &str =
    "name,canmount,mountpoint,mounted,encryption,keystatus,org.nanozfs:upgrade,org.nanozfs:disks";
/// The columns that [`parse_get`] expects, as `zfs get -o` takes them.
pub const GET_COLUMNS: &str = "name,property,value,source";

/// The columns that [`parse_snapshots`] expects, as `zfs list -o` takes them.
pub const SNAPSHOT_COLUMNS: &str = "name,creation,used";

const LIST: &str = "zfs list";
const GET: &str = "zfs get";

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its full name, `POOL/a/b`.
    pub name: String,
    /// The property `canmount`.
    pub can_mount: CanMount,
    /// The property `mountpoint`.
    pub mountpoint: Mountpoint,
    /// It is mounted now, wherever that is.
    pub mounted: bool,
    /// Its content is encrypted.
    pub encrypted: bool,
    /// Nothing stands between it and being mounted: its key is loaded, or it needs none.
    pub key_available: bool,
    /// The user property `org.nanozfs:upgrade`, its own or inherited.
    pub upgrade: Option<String>,
    /// The user property `org.nanozfs:disks`, its own or inherited.
    pub disks: Option<String>,
}

/// The property `canmount`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanMount {
    /// `zfs mount -a` mounts it.
    On,
    /// It cannot be mounted; it holds properties for those below it.
    Off,
    /// It is mounted when somebody asks for it.
    NoAuto,
}

/// The property `mountpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mountpoint {
    /// It has none.
    None,
    /// mount(8) and fstab(5) decide.
    Legacy,
    /// This directory.
    Path(String),
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The file system it is of.
    pub dataset: String,
    /// Its own name, behind the `@`.
    pub name: String,
    /// When it was taken, in seconds since 1970.
    pub taken: i64,
    /// Bytes that only it holds.
    pub used: u64,
}

impl Snapshot {
    /// `DATASET@NAME`.
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.dataset, self.name)
    }
}

/// A property of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Whose it is: a file system, volume, snapshot or bookmark.
    pub dataset: String,
    /// Its name.
    pub name: String,
    /// Its value; none where it is not set or does not apply.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
}

/// Where the value of a property comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It has no source: it is not set, or it is not one that can be set.
    None,
    /// Set on this dataset.
    Local,
    /// Nobody set it.
    Default,
    /// It came with `zfs receive`.
    Received,
    /// Given for as long as it is mounted.
    Temporary,
    /// Set on this dataset above.
    Inherited(String),
    /// A word that this version does not know.
    Other(String),
}

/// Parses the output of `zfs list -Hp -t filesystem -o` with [`LIST_COLUMNS`]. No output is no
/// dataset.
///
/// # Errors
///
/// Names the first line that has not these columns or these words in them.
pub fn parse_list(text: &str) -> Result<Vec<Dataset>, ParseError> {
    text.lines()
        .enumerate()
        .map(|(n, line)| dataset(line).map_err(|why| ParseError::line(LIST, n + 1, why)))
        .collect()
}

fn dataset(line: &str) -> Result<Dataset, String> {
    let columns: Vec<&str> = line.splitn(8, '\t').collect();
    let [name, can_mount, mountpoint, mounted, encryption, keystatus, upgrade, disks] =
        columns.as_slice()
    else {
        return Err(format!("8 columns expected, {} found", columns.len()));
    };
    let property = |text: &str| (text != "-").then(|| text.to_owned());
    let encrypted = match *encryption {
        "off" | "-" => false,
        "" => return Err("encryption is empty".to_owned()),
        _ => true,
    };
    let key = match *keystatus {
        "available" => true,
        "unavailable" | "none" | "-" => false,
        other => return Err(format!("keystatus is {}", quoted(other))),
    };
    Ok(Dataset {
        name: named(name)?,
        can_mount: match *can_mount {
            "on" => CanMount::On,
            "off" => CanMount::Off,
            "noauto" => CanMount::NoAuto,
            other => return Err(format!("canmount is {}", quoted(other))),
        },
        mountpoint: match *mountpoint {
            "none" | "-" => Mountpoint::None,
            "legacy" => Mountpoint::Legacy,
            path if path.starts_with('/') => Mountpoint::Path(path.to_owned()),
            other => return Err(format!("mountpoint is {}", quoted(other))),
        },
        mounted: match *mounted {
            "yes" => true,
            "no" | "-" => false,
            other => return Err(format!("mounted is {}", quoted(other))),
        },
        encrypted,
        key_available: key || !encrypted,
        upgrade: property(upgrade),
        disks: property(disks),
    })
}

/// Parses the output of `zfs list -Hp -t snapshot -o` with [`SNAPSHOT_COLUMNS`].
///
/// # Errors
///
/// Names the first line that has not these columns.
pub fn parse_snapshots(text: &str) -> Result<Vec<Snapshot>, ParseError> {
    text.lines()
        .enumerate()
        .map(|(n, line)| snapshot(line).map_err(|why| ParseError::line(LIST, n + 1, why)))
        .collect()
}

fn snapshot(line: &str) -> Result<Snapshot, String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, taken, used] = columns.as_slice() else {
        return Err(format!("3 columns expected, {} found", columns.len()));
    };
    let (dataset, name) =
        name.split_once('@').ok_or_else(|| format!("{} is no snapshot", quoted(name)))?;
    Ok(Snapshot {
        dataset: named(dataset)?,
        name: named(name)?,
        taken: taken.parse().map_err(|_| format!("creation is {}", quoted(taken)))?,
        used: used.parse().map_err(|_| format!("used is {}", quoted(used)))?,
    })
}

/// Parses the output of `zfs get -Hp -o` with [`GET_COLUMNS`]. No output is no property.
///
/// # Errors
///
/// Names the first line that has not these columns.
pub fn parse_get(text: &str) -> Result<Vec<Property>, ParseError> {
    text.lines()
        .enumerate()
        .map(|(n, line)| property(line).map_err(|why| ParseError::line(GET, n + 1, why)))
        .collect()
}

fn property(line: &str) -> Result<Property, String> {
    let wrong = || {
        let found = line.split('\t').count();
        format!("4 columns expected, {found} found")
    };
    let (dataset, rest) = line.split_once('\t').ok_or_else(wrong)?;
    let (name, rest) = rest.split_once('\t').ok_or_else(wrong)?;
    let (value, source) = rest.rsplit_once('\t').ok_or_else(wrong)?;
    if name.is_empty() {
        return Err("the property has no name".to_owned());
    }
    let source = match source {
        "-" => Source::None,
        "local" => Source::Local,
        "default" => Source::Default,
        "received" => Source::Received,
        "temporary" => Source::Temporary,
        other => match other.strip_prefix("inherited from ") {
            Some(from) => Source::Inherited(named(from)?),
            None => Source::Other(other.to_owned()),
        },
    };
    let unset = value == "-" && source == Source::None;
    Ok(Property {
        dataset: named(dataset)?,
        name: name.to_owned(),
        value: (!unset).then(|| value.to_owned()),
        source,
    })
}

fn named(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("the dataset has no name".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    /// The recordings list all types with other columns: name, type, mountpoint, canmount, mounted,
    /// …
    fn recorded(release: &str) -> Vec<Dataset> {
        let text = fixtures::text(release, "pools/zfs-list.out");
        let ours: String = text
            .lines()
            .map(|line| line.split('\t').collect::<Vec<&str>>())
            .filter(|c| c[1] == "filesystem")
            .map(|c| format!("{}\t{}\t{}\t{}\toff\t-\t-\t-\n", c[0], c[3], c[2], c[4]))
            .collect();
        parse_list(&ours).unwrap()
    }

    fn check_list(release: &str) {
        let list = recorded(release);
        let of = |name: &str| list.iter().find(|d| d.name == name).unwrap();
        assert_eq!(list.len(), 6);
        assert_eq!(of("tank").mountpoint, Mountpoint::None);
        assert_eq!(of("tank/nano").can_mount, CanMount::Off);
        assert_eq!(of("tank/nano/cfg").can_mount, CanMount::NoAuto);
        assert_eq!(of("tank/nano/var/log").mountpoint, Mountpoint::Path("/var/log".to_owned()));
        assert!(of("tank/nano/jails").mounted);
        assert!(!of("tank/nano/cfg").mounted);
        assert!(list.iter().all(|d| !d.encrypted && d.key_available));
    }

    #[test]
    fn freebsd_13_2_lists_the_layout() {
        check_list("13.2");
    }

    #[test]
    fn freebsd_15_1_lists_the_layout() {
        check_list("15.1");
    }

    fn check_get(release: &str) {
        let all = parse_get(&fixtures::text(release, "pools/zfs-get.out")).unwrap();
        let of = |name: &str| all.iter().find(|p| p.name == name).unwrap();
        assert!(all.len() > 60);
        assert!(all.iter().all(|p| p.dataset == "tank/nano/cfg"));
        assert_eq!(of("mountpoint").value.as_deref(), Some("/cfg"));
        assert_eq!(of("mountpoint").source, Source::Local);
        assert_eq!(of("atime").source, Source::Default);
        assert_eq!(of("used").source, Source::None);
        assert_eq!(of("encryption").value.as_deref(), Some("off"));

        let user = parse_get(&fixtures::text(release, "pools/zfs-get-user.out")).unwrap();
        assert_eq!(user.len(), 1);
        assert_eq!(user[0].name, "org.nanozfs:role");
        assert_eq!(user[0].value.as_deref(), Some("cfg"));
        assert_eq!(user[0].source, Source::Local);
    }

    #[test]
    fn freebsd_13_2_gets_every_property() {
        check_get("13.2");
    }

    #[test]
    fn freebsd_15_1_gets_every_property() {
        check_get("15.1");
    }

    #[test]
    fn an_encrypted_one_without_its_key_is_not_available() {
        let row = |e: &str, k: &str| format!("t/a\ton\tlegacy\tno\t{e}\t{k}\t-\t-\n");
        let parse = |e, k| parse_list(&row(e, k)).unwrap().remove(0);
        let locked = parse("aes-256-gcm", "unavailable");
        assert!(locked.encrypted && !locked.key_available);
        assert_eq!(locked.mountpoint, Mountpoint::Legacy);
        assert!(parse("aes-256-gcm", "available").key_available);
        assert!(!parse("aes-256-gcm", "-").key_available);
        assert!(parse("off", "-").key_available);
        assert!(parse("-", "none").key_available);
    }

    #[test]
    fn names_with_spaces_and_user_properties_with_tabs_survive() {
        let list = parse_list("t/a b\ton\t/a b\tyes\toff\t-\tv=1\tdisk 1\tdisk 2\n").unwrap();
        assert_eq!(list[0].name, "t/a b");
        assert_eq!(list[0].mountpoint, Mountpoint::Path("/a b".to_owned()));
        assert_eq!(list[0].upgrade.as_deref(), Some("v=1"));
        assert_eq!(list[0].disks.as_deref(), Some("disk 1\tdisk 2"));

        let got = parse_get("t/a b\tx:y\tone\ttwo\tinherited from t\n").unwrap();
        assert_eq!(got[0].value.as_deref(), Some("one\ttwo"));
        assert_eq!(got[0].source, Source::Inherited("t".to_owned()));
    }

    #[test]
    fn a_user_property_that_is_not_set_has_no_value_but_a_dash_that_was_set_has() {
        let got = parse_get("t\tx:y\t-\t-\nt\tx:y\t-\tlocal\nt\tx:z\t\tlocal\n").unwrap();
        assert_eq!(got[0].value, None);
        assert_eq!(got[1].value.as_deref(), Some("-"));
        assert_eq!(got[2].value.as_deref(), Some(""));
    }

    #[test]
    fn nothing_printed_is_nothing() {
        assert_eq!(parse_list(""), Ok(vec![]));
        assert_eq!(parse_get(""), Ok(vec![]));
    }

    #[test]
    fn what_is_not_such_a_list_is_refused_with_its_line() {
        let good = "t\ton\tnone\tno\toff\t-\t-\t-\n";
        for bad in [
            "t\ton\tnone\tno\toff\t-\t-\n",
            "t\tmaybe\tnone\tno\toff\t-\t-\t-\n",
            "t\ton\trelative\tno\toff\t-\t-\t-\n",
            "t\ton\tnone\tperhaps\toff\t-\t-\t-\n",
            "t\ton\tnone\tno\t\t-\t-\t-\n",
            "t\ton\tnone\tno\toff\tlost\t-\t-\n",
            "\ton\tnone\tno\toff\t-\t-\t-\n",
            "\n",
        ] {
            let error = parse_list(&format!("{good}{bad}")).unwrap_err();
            assert_eq!(error.at, Some(2), "{bad:?}");
        }
        for bad in ["t\tx\ty\n", "t\t\tv\tlocal\n", "\tx\tv\tlocal\n", "\n"] {
            let error = parse_get(&format!("t\tx\tv\tlocal\n{bad}")).unwrap_err();
            assert_eq!(error.at, Some(2), "{bad:?}");
        }
    }
}
