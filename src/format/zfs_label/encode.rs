//! Making labels that ZFS would accept: for the lab and for tests.

use super::{
    Area, CHECKSUM_SIZE, Label, MAGIC, NVLIST_SIZE, PoolState, TRAILER_SIZE, Vdev, WHAT, checksum,
};
use crate::format::ParseError;
use crate::format::nvlist::{self, Nvlist, Value};

/// The nvlist's area of `label`, [`NVLIST_SIZE`] bytes with a right checksum for a label at byte
/// `label_offset` of a device.
///
/// # Errors
///
/// The label does not fit.
pub fn encode(label: &Label, label_offset: u64) -> Result<Vec<u8>, ParseError> {
    let mut phys = nvlist::encode(&list_of(label));
    if phys.len() > NVLIST_SIZE - TRAILER_SIZE {
        let why = format!("it does not fit: {} bytes", phys.len());
        return Err(ParseError::new(WHAT, why));
    }
    phys.resize(NVLIST_SIZE, 0);
    seal(&mut phys, label_offset);
    Ok(phys)
}

/// The label of a spare or of a cache device, as `state` says, which names no pool.
pub fn aside(state: PoolState, guid: u64) -> Label {
    Label {
        version: 5000,
        state,
        txg: 0,
        pool_name: None,
        pool_guid: None,
        hostid: None,
        hostname: None,
        guid,
        top_guid: None,
        vdev_children: 0,
        holes: Vec::new(),
        features_for_read: Vec::new(),
        tree: None,
    }
}

/// Puts the right checksum at the end of an area of [`NVLIST_SIZE`] bytes; an area of another size
/// is left as it is.
pub fn seal(phys: &mut [u8], label_offset: u64) {
    let Some((_, trailer)) = phys.split_at_mut_checked(NVLIST_SIZE - TRAILER_SIZE) else {
        return;
    };
    if let Some(magic) = trailer.first_chunk_mut() {
        *magic = MAGIC.to_le_bytes();
    }
    let Some(sum) = Area::of(phys).map(|area| checksum(&area, label_offset, false)) else {
        return;
    };
    if let Some(place) = phys.last_chunk_mut::<CHECKSUM_SIZE>() {
        *place = sum;
    }
}

/// Pairs under names.
#[derive(Default)]
struct Pairs(Vec<(String, Value)>);

impl Pairs {
    fn put(&mut self, name: &str, value: Value) {
        self.0.push((name.to_owned(), value));
    }

    fn number(&mut self, name: &str, number: u64) {
        self.put(name, Value::U64(number));
    }

    /// A number that is left out when it is 0.
    fn some_number(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.number(name, number);
        }
    }

    fn maybe(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    fn text(&mut self, name: &str, text: Option<&String>) {
        if let Some(text) = text {
            self.put(name, Value::Text(text.clone()));
        }
    }
}

fn list_of(label: &Label) -> Nvlist {
    let mut out = Pairs::default();
    out.number("version", label.version);
    out.text("name", label.pool_name.as_ref());
    out.number("state", number_of(label.state));
    if label.pool_guid.is_some() {
        out.number("txg", label.txg);
    }
    out.maybe("pool_guid", label.pool_guid);
    out.maybe("hostid", label.hostid);
    out.text("hostname", label.hostname.as_ref());
    out.maybe("top_guid", label.top_guid);
    out.number("guid", label.guid);
    if !label.holes.is_empty() {
        out.put("hole_array", Value::U64s(label.holes.clone()));
    }
    out.some_number("vdev_children", label.vdev_children);
    if let Some(tree) = &label.tree {
        out.put("vdev_tree", Value::List(list_of_vdev(tree)));
    }
    if label.pool_guid.is_some() {
        let features = label.features_for_read.iter();
        let flags = features.map(|name| (name.clone(), Value::Flag)).collect();
        out.put("features_for_read", Value::List(Nvlist(flags)));
    }
    Nvlist(out.0)
}

fn list_of_vdev(vdev: &Vdev) -> Nvlist {
    let mut out = Pairs::default();
    out.put("type", Value::Text(vdev.kind.clone()));
    out.number("id", vdev.id);
    out.number("guid", vdev.guid);
    out.text("path", vdev.path.as_ref());
    out.some_number("nparity", vdev.nparity);
    out.some_number("not_present", u64::from(vdev.not_present));
    out.some_number("ashift", vdev.ashift);
    out.some_number("asize", vdev.asize);
    out.some_number("is_log", u64::from(vdev.is_log));
    out.some_number("create_txg", vdev.create_txg);
    out.some_number("offline", u64::from(vdev.offline));
    out.some_number("faulted", u64::from(vdev.faulted));
    out.some_number("removed", u64::from(vdev.removed));
    if !vdev.children.is_empty() {
        let children = vdev.children.iter().map(list_of_vdev).collect();
        out.put("children", Value::Lists(children));
    }
    Nvlist(out.0)
}

fn number_of(state: PoolState) -> u64 {
    match state {
        PoolState::Active => 0,
        PoolState::Exported => 1,
        PoolState::Destroyed => 2,
        PoolState::Spare => 3,
        PoolState::L2cache => 4,
        PoolState::Other(number) => number,
    }
}
