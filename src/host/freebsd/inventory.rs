//! What pools and datasets there are, by zpool(8) and zfs(8).

use std::time::Duration;

use super::super::programs::{zfs, zpool};
use super::super::{Inventory, Result};
use super::FreeBsd;
use crate::format::zfs::Dataset;
use crate::format::zpool::{Pool, Space};

impl Inventory for FreeBsd {
    fn pools_within(&self, limit: Duration) -> Result<Vec<(Pool, Space)>> {
        zpool::spaces(&*self.runner, limit)
    }

    fn datasets_within(&self, root: &str, limit: Duration) -> Result<Vec<Dataset>> {
        zfs::list_within(&*self.runner, root, limit)
    }
}
