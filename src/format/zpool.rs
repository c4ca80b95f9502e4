//! What `zpool list -Hp -o name,guid,health,readonly` prints: see zpool-list(8), zpoolprops(7).

use super::{ParseError, quoted};

/// The columns that [`parse_list`] expects, as `zpool list -o` takes them.
pub const LIST_COLUMNS: &str = "name,guid,health,readonly";

/// The columns that [`parse_spaces`] expects.
pub const SPACE_COLUMNS: &str = "name,guid,health,size,free,readonly";

const LIST: &str = "zpool list";

/// An imported pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its GUID: the identity that survives renaming.
    pub guid: u64,
    /// Its state as a whole.
    pub health: Health,
    /// Imported read-only. False, too, where ZFS does not say, which is so for a pool that is
    /// imported but cannot be opened (`health` is then [`Health::Faulted`]).
    pub readonly: bool,
}

/// How large a pool is: its raw sectors, parity included. Not known of one that cannot be opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes in it.
    pub size: Option<u64>,
    /// Bytes of these that hold nothing.
    pub free: Option<u64>,
}

/// The state of a pool, as zpoolprops(7) names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is missing.
    Online,
    /// It works with less redundancy than it should have.
    Degraded,
    /// It cannot be used: its data is damaged or too many disks are away.
    Faulted,
    /// Taken offline by an administrator.
    Offline,
    /// Its device was pulled.
    Removed,
    /// Its device cannot be opened.
    Unavail,
    /// Its input and output is stopped until its devices are back and `zpool clear` is run.
    Suspended,
    /// A word that this version does not know.
    Other(String),
}

impl Health {
    fn parse(word: &str) -> Self {
        match word {
            "ONLINE" => Health::Online,
            "DEGRADED" => Health::Degraded,
            "FAULTED" => Health::Faulted,
            "OFFLINE" => Health::Offline,
            "REMOVED" => Health::Removed,
            "UNAVAIL" => Health::Unavail,
            "SUSPENDED" => Health::Suspended,
            other => Health::Other(other.to_owned()),
        }
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Health::Online => "ONLINE",
            Health::Degraded => "DEGRADED",
            Health::Faulted => "FAULTED",
            Health::Offline => "OFFLINE",
            Health::Removed => "REMOVED",
            Health::Unavail => "UNAVAIL",
            Health::Suspended => "SUSPENDED",
            Health::Other(word) => word,
        })
    }
}

/// Parses the output of `zpool list -Hp -o` with [`LIST_COLUMNS`]. No output is no pool.
///
/// # Errors
///
/// Names the first line that has not these columns, or whose GUID is not a number.
pub fn parse_list(text: &str) -> Result<Vec<Pool>, ParseError> {
    text.lines()
        .enumerate()
        .map(|(n, line)| pool(line).map_err(|why| ParseError::line(LIST, n + 1, why)))
        .collect()
}

/// Parses the output of `zpool list -Hp -o` with [`SPACE_COLUMNS`]. No output is no pool.
///
/// # Errors
///
/// Names the first line that has not these columns, or no numbers in them.
pub fn parse_spaces(text: &str) -> Result<Vec<(Pool, Space)>, ParseError> {
    text.lines()
        .enumerate()
        .map(|(n, line)| spaced(line).map_err(|why| ParseError::line(LIST, n + 1, why)))
        .collect()
}

fn spaced(line: &str) -> Result<(Pool, Space), String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, guid, health, size, free, readonly] = columns.as_slice() else {
        return Err(format!("6 columns expected, {} found", columns.len()));
    };
    let bytes = |word: &str| match word {
        "-" => Ok(None),
        word => word.parse().map(Some).map_err(|_| format!("{} is not a size", quoted(word))),
    };
    let space = Space { size: bytes(size)?, free: bytes(free)? };
    Ok((pool(&[*name, *guid, *health, *readonly].join("\t"))?, space))
}

fn pool(line: &str) -> Result<Pool, String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, guid, health, readonly] = columns.as_slice() else {
        return Err(format!("4 columns expected, {} found", columns.len()));
    };
    if name.is_empty() {
        return Err("the pool has no name".to_owned());
    }
    Ok(Pool {
        name: (*name).to_owned(),
        guid: guid.parse().map_err(|_| format!("{} is not a GUID", quoted(guid)))?,
        health: Health::parse(health),
        readonly: match *readonly {
            "on" => true,
            "off" | "-" => false,
            other => return Err(format!("readonly is {}", quoted(other))),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    /// The recordings have two columns more, size and free.
    fn recorded(release: &str) -> Vec<Pool> {
        let text = fixtures::text(release, "pools/zpool-list.out");
        let four: String = text
            .lines()
            .map(|line| {
                let c: Vec<&str> = line.split('\t').collect();
                format!("{}\t{}\t{}\t{}\n", c[0], c[1], c[2], c[5])
            })
            .collect();
        parse_list(&four).unwrap()
    }

    fn check(release: &str, tank: u64) {
        let pools = recorded(release);
        let names: Vec<&str> = pools.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["data", "gone", "lone", "tank"]);
        assert!(pools.iter().all(|p| p.health == Health::Online && !p.readonly));
        assert_eq!(pools[3].guid, tank);
    }

    #[test]
    fn freebsd_13_2_lists_four_pools_online() {
        check("13.2", 6507545276277701745);
    }

    #[test]
    fn freebsd_15_1_lists_four_pools_online() {
        let text = fixtures::text("15.1", "pools/zpool-list.out");
        let tank = text.lines().find(|l| l.starts_with("tank\t")).unwrap();
        check("15.1", tank.split('\t').nth(1).unwrap().parse().unwrap());
    }

    #[test]
    fn a_pool_that_cannot_be_opened_is_faulted_and_its_readonly_is_not_known() {
        let pools = parse_list("tank\t1\tFAULTED\t-\n").unwrap();
        assert_eq!(pools[0].health, Health::Faulted);
        assert!(!pools[0].readonly);
    }

    #[test]
    fn every_health_is_shown_as_zfs_spells_it() {
        for word in "ONLINE DEGRADED FAULTED OFFLINE REMOVED UNAVAIL SUSPENDED SPLIT".split(' ') {
            assert_eq!(Health::parse(word).to_string(), word);
        }
    }

    #[test]
    fn a_name_may_hold_spaces() {
        let pools = parse_list("my pool\t1\tONLINE\ton\n").unwrap();
        assert_eq!(pools[0].name, "my pool");
        assert!(pools[0].readonly);
    }

    #[test]
    fn nothing_printed_is_no_pool() {
        assert_eq!(parse_list(""), Ok(vec![]));
        assert_eq!(parse_spaces(""), Ok(vec![]));
    }

    #[test]
    fn both_releases_tell_how_large_a_pool_is() {
        for (release, free) in [("13.2", 737_451_008), ("15.1", 737_257_472)] {
            let pools = parse_spaces(&fixtures::text(release, "pools/zpool-list.out")).unwrap();
            assert_eq!(pools.len(), 4);
            let (tank, space) = &pools[3];
            assert_eq!((tank.name.as_str(), &tank.health), ("tank", &Health::Online));
            assert_eq!(*space, Space { size: Some(738_197_504), free: Some(free) });
        }
    }

    #[test]
    fn the_size_of_a_pool_that_cannot_be_opened_is_not_known() {
        let (pool, space) = parse_spaces("tank\t1\tFAULTED\t-\t-\t-\n").unwrap().remove(0);
        assert_eq!((pool.health, space), (Health::Faulted, Space::default()));
        for line in ["tank\t1\tONLINE\toff\n", "tank\t1\tONLINE\tx\t1\toff\n"] {
            assert_eq!(parse_spaces(line).unwrap_err().at, Some(1), "{line}");
        }
    }

    #[test]
    fn what_is_not_such_a_list_is_refused_with_its_line() {
        for (text, line) in [
            ("no pools available\n", 1),
            ("a\t1\tONLINE\toff\nb\t2\tONLINE\n", 2),
            ("a\t1\tONLINE\toff\textra\n", 1),
            ("a\t-1\tONLINE\toff\n", 1),
            ("a\t18446744073709551616\tONLINE\toff\n", 1),
            ("a\t1\tONLINE\tmaybe\n", 1),
            ("\t1\tONLINE\toff\n", 1),
            ("a\t1\tONLINE\toff\n\n", 2),
        ] {
            assert_eq!(parse_list(text).unwrap_err().at, Some(line), "{text:?}");
        }
    }
}
