//! The imported pools, as far as the kernel's statistics tell: without running zpool(8).
//!
//! OpenZFS has the node `kstat.zfs.POOL` for every pool that is imported, with `misc.state` below it
//! (`module/zfs/spa_stats.c`, FreeBSD's `spl_kstat.c`), and no other nodes next to `misc`, which is
//! of no pool. What the statistics do not tell, and everything out of the ordinary, is left to
//! `zpool list`.

use crate::format::zpool::{Health, Pool};

/// The node that has one below it for each pool.
pub(super) const POOLS: &str = "kstat.zfs";
/// The node next to the pools that is of none of them.
const OF_NO_POOL: &str = "misc";

/// The value that holds a pool's state.
pub(super) fn state_of(name: &str) -> String {
    format!("{POOLS}.{name}.misc.state")
}

/// The imported pools, when `names` is everything below [`POOLS`]. `ours` are the name and GUID of
/// those that this process has imported, `state` reads [`state_of`].
///
/// `None` when there is one of somebody else's, or one that is not `ONLINE`: `zpool list` knows.
pub(super) fn pools(
    names: &[String],
    ours: &[(String, u64)],
    state: impl Fn(&str) -> Option<String>,
) -> Option<Vec<Pool>> {
    // Without the module's own statistics nothing is known, and a pool may have their name.
    if !names.iter().any(|name| name == OF_NO_POOL) || state(OF_NO_POOL).is_some() {
        return None;
    }
    let mut pools = Vec::new();
    for name in names.iter().filter(|name| *name != OF_NO_POOL) {
        let (_, guid) = ours.iter().find(|(our, _)| our == name)?;
        if state(name)?.trim() != "ONLINE" {
            return None;
        }
        // Ours are imported for writing.
        pools.push(Pool {
            name: name.clone(),
            guid: *guid,
            health: Health::Online,
            readonly: false,
        });
    }
    pools.sort_by(|one, other| one.name.cmp(&other.name));
    Some(pools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pools_of_ours_that_are_online_need_no_program() {
        let ours = [("tank".to_owned(), 7), ("data".to_owned(), 8)];
        let of = |names: &[&str], states: &[(&str, &str)]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let state = |name: &str| {
                let found = states.iter().find(|(pool, _)| *pool == name);
                found.map(|(_, state)| (*state).to_owned())
            };
            let pools = pools(&names, &ours, state)?;
            Some(pools.into_iter().map(|pool| (pool.name, pool.guid)).collect::<Vec<_>>())
        };
        let online = [("tank", "ONLINE\n"), ("data", "ONLINE"), ("other", "ONLINE")];
        assert_eq!(of(&["misc"], &online), Some(vec![]));
        assert_eq!(of(&["misc", "tank"], &online), Some(vec![("tank".to_owned(), 7)]));
        let both = vec![("data".to_owned(), 8), ("tank".to_owned(), 7)];
        assert_eq!(of(&["misc", "tank", "data"], &online), Some(both));

        assert_eq!(of(&[], &online), None, "the module is not loaded");
        assert_eq!(of(&["misc", "other"], &online), None, "somebody else's");
        assert_eq!(of(&["misc", "tank", "$import"], &online), None, "one is being imported");
        assert_eq!(of(&["misc", "tank"], &[("tank", "DEGRADED")]), None);
        assert_eq!(of(&["misc", "tank"], &[]), None, "no state");
        assert_eq!(of(&["misc"], &[("misc", "ONLINE")]), None, "a pool of that name");
    }
}
