//! Which sectors a provider shows.

use super::{Geom, Provider, ProviderId};

/// A run of sectors: the identity behind the names.
///
/// Partitions and labels show sectors of what they lie on. Everything else (a mirror, an encrypted
/// device, a volume) has content of its own, and starts an identity of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// The disk, or memory disk, or whatever starts an identity.
    pub disk: ProviderId,
    /// Where the run starts, in bytes from the start of `disk`.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// Where a provider is, and how it came there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) extent: Extent,
    /// 0: it lies directly on its disk; 1: it is a label of such a one; 2: it lies on a label.
    pub(super) labels: u8,
}

/// The place of each provider, in time proportional to their number.
pub(super) fn places(providers: &[Provider], geoms: &[Geom]) -> Vec<Place> {
    let own = |id: usize| Place {
        extent: Extent {
            disk: ProviderId(id),
            offset: 0,
            length: providers.get(id).map_or(0, |p| p.mediasize),
        },
        labels: 0,
    };
    let mut known: Vec<Option<Place>> = vec![None; providers.len()];
    let mut visited = vec![false; providers.len()];
    for start in 0..providers.len() {
        // Down to something whose place is known or that lies on nothing. What was seen on the way
        // and has no place yet lies on itself: such a circle is cut where it closes.
        let mut way = Vec::new();
        let mut here = start;
        let mut below = loop {
            if let Some(place) = known.get(here).copied().flatten() {
                break place;
            }
            let seen = visited.get_mut(here).is_none_or(|v| std::mem::replace(v, true));
            match parent(providers, geoms, here) {
                Some(parent) if !seen => {
                    way.push((here, parent.is_label, parent.offset));
                    here = parent.id;
                }
                _ => {
                    let place = own(here);
                    if let Some(known) = known.get_mut(here) {
                        *known = Some(place);
                    }
                    break place;
                }
            }
        };
        for (id, is_label, offset) in way.into_iter().rev() {
            let Some(slot) = known.get_mut(id) else {
                continue;
            };
            let on_top = Place {
                extent: Extent {
                    disk: below.extent.disk,
                    offset: below.extent.offset.saturating_add(offset),
                    length: providers.get(id).map_or(0, |p| p.mediasize),
                },
                labels: match below.labels {
                    0 => u8::from(is_label),
                    _ => 2,
                },
            };
            below = *slot.get_or_insert(on_top);
        }
    }
    let place = |(id, place): (usize, Option<Place>)| place.unwrap_or_else(|| own(id));
    known.into_iter().enumerate().map(place).collect()
}

/// What a partition or a label is cut from.
struct Parent {
    id: usize,
    is_label: bool,
    offset: u64,
}

fn parent(providers: &[Provider], geoms: &[Geom], id: usize) -> Option<Parent> {
    let provider = providers.get(id)?;
    let geom = geoms.get(provider.geom)?;
    let is_label = match geom.class.as_str() {
        "LABEL" => true,
        "PART" => false,
        _ => return None,
    };
    let [ProviderId(parent)] = geom.consumes.as_slice() else {
        return None;
    };
    providers.get(*parent)?;
    Some(Parent { id: *parent, is_label, offset: provider.offset? })
}
