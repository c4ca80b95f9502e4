//! The data of an upgrade: snapshots of everything at and below `cfg` and `var`, going back to them,
//! and going back from there. Nothing is rolled back in place and nothing is destroyed unless an
//! operator prunes it.
//!
//! ```text
//! snapshot ID     POOL/nano/{cfg,var}...@nanozfs-ID, in one transaction
//! restore ID      POOL/nano/var      -> POOL/nano/kept/ID2-var, with all that is below it
//!                 ...@nanozfs-ID     -> cloned in its place, parents first
//!                 rollback=off       -> renamed back to its place
//! put back ID2    POOL/nano/var      -> POOL/nano/kept/ID3-var
//!                 kept/ID2-var       -> POOL/nano/var
//! promote         what is live and the clone of what was in its place: promoted
//! ```
//!
//! Facts ([`State`]) and a [`Goal`] give the next single transaction ([`next`], which is pure); a
//! [`Plan`] is one after the other until none is left. So the power may go, and any of them may
//! fail: running the same goal again finishes the work, and [`Goal::PutBack`] undoes a restore from
//! wherever it stopped.
//!
//! What to know:
//!
//! - Clones can be mounted before they are promoted, and that is what a boot does: the machine has
//!   its data back sooner. Until then their older snapshots are those of what is kept. Both a put back
//!   and a prune do with clones that never were promoted.
//! - `org.nanozfs:rollback=off`, set on a dataset at or below `cfg` or `var`, takes it and all below
//!   it out of this: their data stay as they are and where they are. So do volumes'.
//! - Datasets that are younger than the snapshot stay with what is kept. Where one that keeps its data
//!   is below them, they are made anew, without files and with `canmount=off`.
//! - What is kept is parked: `canmount=on` becomes `noauto` and reservations are lifted, so that
//!   `zfs mount -a` does not mount it over the live data and space is not reserved twice. The values
//!   are remembered in `org.nanozfs:was-...`, given to the clone, and set again by a put back.
//! - zfs(8) keeps mounted what it renames (`-u`). At boot nothing is mounted yet. When `/cfg` or
//!   `/var` is mounted, the running system goes on with what is now kept, and sees the restored data
//!   after the next boot; what it writes meanwhile is kept, too.
//! - ZFS renames in a full pool, but clones nothing: `POOL/nano/kept` reserves room beside the data
//!   (`refreservation`), which is given free when it is needed, and reserved again with the next
//!   snapshots. Reservations of the data are not restored when there is little room.
//! - Snapshots move to the restored dataset with their holds. Permissions that were delegated
//!   (zfs-allow(8)) stay with what is kept.
//! - ZFS does not rename what has a dataset with `jailed=on` in it: refused from the start.
//! - A clone shares the key of its origin. Promoting it moves the encryption root, so the key has to
//!   be loaded again, and an encrypted dataset that has been restored cannot be put back: ZFS
//!   moves no clone away from the encryption root that it shares.

mod act;
mod kept;
mod plan;
#[cfg(test)]
#[cfg(feature = "lab")]
mod power_cuts;
mod prune;
mod state;
#[cfg(test)]
mod tests;

pub use act::{Plan, run};
pub use kept::{Compared, Group, Kept, changed, compare, groups, list};
pub use plan::{Goal, members, next, refusal, stayed};
pub use prune::{Doomed, prune};
pub use state::{Dataset, State, Step, within as is_at};

/// The datasets of the layout that a restore exchanges, in this order.
pub const PARTS: [&str; 2] = ["cfg", "var"];

/// The user property that takes a dataset out of a restore, when it is `off`.
pub const ROLLBACK: &str = "org.nanozfs:rollback";

/// Snapshots of upgrades are called this and the upgrade's id.
const SNAPSHOT: &str = "nanozfs-";

/// A pool with less room than this (bytes), or less than this part of it, takes no snapshots: what
/// changes from now on needs twice the space.
const ROOM: (u64, u64) = (64 << 20, 50);
