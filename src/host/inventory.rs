//! What pools and datasets there are, for a person who waits for the answer.

use std::time::Duration;

use super::Result;
use crate::format::zfs::Dataset;
use crate::format::zpool::{Pool, Space};

/// Questions with a time limit of the caller's: one that takes longer fails with
/// [`super::Kind::TimedOut`]. Nothing is changed.
pub trait Inventory: Send + Sync {
    /// The imported pools and their sizes (`zpool list`).
    fn pools_within(&self, limit: Duration) -> Result<Vec<(Pool, Space)>>;

    /// The file systems at and below `root` (`zfs list -r`), parents before children; empty when
    /// `root` does not exist.
    fn datasets_within(&self, root: &str, limit: Duration) -> Result<Vec<Dataset>>;
}
