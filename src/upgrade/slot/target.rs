//! The slot that is written to, and whether it may be.

use crate::boot::osdrive::{OsDrive, Role};
use crate::format::geom::{Extent, Mesh, ProviderId};
use crate::host::{BlockDevice, Host, Mount, why};
use crate::upgrade::select::{Scheme, whole_slot};

/// A slot that may be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which one.
    pub role: Role,
    /// The provider of the whole slot: `ada0p3`, `ada0s2`.
    pub whole: String,
    /// The provider of the UFS in it: `ada0p3`, `ada0s2a`.
    pub volume: String,
    /// The UFS gets this name: `nanoB`, `nanos2a`.
    pub volume_name: String,
    /// The name in a GPT, where it has one.
    pub gpt_name: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Bytes of a sector.
    pub sector: u64,
}

impl Target {
    /// The slot of this role on the OS drive, if it is there and nothing uses it. `label` is what
    /// the labels of the drive begin with. The running slot is refused whatever its name is now.
    ///
    /// # Errors
    ///
    /// One line that says why not.
    pub fn find(
        mesh: &Mesh,
        mounts: &[Mount],
        drive: &OsDrive,
        label: &str,
        role: Role,
    ) -> Result<Target, String> {
        let name = role.name();
        if drive.running == Some(role) {
            return Err(format!("{name} is running"));
        }
        let id = whole_slot(mesh, drive, role).ok_or_else(|| format!("{name} is not there"))?;
        let provider = mesh.provider(id);
        let extent = mesh.extent(id);
        for mount in mounts {
            if mesh.find(&mount.source).is_some_and(|id| overlap(mesh.extent(id), extent)) {
                let at = mount.at.display();
                return Err(format!("{name} is in use: {} is mounted on {at}", mount.source));
            }
        }
        let open = |(id, other): &(ProviderId, &crate::format::geom::Provider)| {
            // A disk is open whenever one of its partitions is.
            let within = mesh.extent(*id) != mesh.extent(extent.disk);
            within && other.access.e > 0 && overlap(mesh.extent(*id), extent)
        };
        if let Some((_, other)) = mesh.iter().find(open) {
            return Err(format!("{name} is in use: something has {} open", other.name));
        }
        let table = provider.partition.as_ref();
        let scheme = match table.map(|table| table.scheme.as_str()) {
            Some("GPT") => Scheme::Gpt,
            _ => Scheme::Mbr,
        };
        let whole = provider.name.clone();
        let (volume, suffix) = match (scheme, role) {
            (Scheme::Gpt, Role::SlotA) => (whole.clone(), "A"),
            (Scheme::Gpt, _) => (whole.clone(), "B"),
            (Scheme::Mbr, Role::SlotA) => (format!("{whole}a"), "s1a"),
            (Scheme::Mbr, _) => (format!("{whole}a"), "s2a"),
        };
        Ok(Target {
            role,
            whole,
            volume,
            volume_name: format!("{label}{suffix}"),
            gpt_name: table.and_then(|table| table.label.clone()),
            size: provider.mediasize,
            sector: provider.sectorsize.max(512),
        })
    }

    /// Whether an image of `size` bytes can be written here.
    ///
    /// # Errors
    ///
    /// One line that says why not.
    pub fn accepts(&self, size: u64) -> Result<(), String> {
        let (name, room, sector) = (self.role.name(), self.size, self.sector);
        if size == 0 || !size.is_multiple_of(sector) {
            return Err(format!("an image of {size} bytes is not made of {sector}-byte sectors"));
        }
        if size > room {
            return Err(format!("an image of {size} bytes does not fit {name}, {room} bytes"));
        }
        Ok(())
    }

    /// Opens the whole slot.
    pub(super) fn open<'a>(&self, host: &'a dyn Host) -> Result<Box<dyn BlockDevice + 'a>, String> {
        let device = host.drives().open(&self.whole);
        let device = device.map_err(|error| format!("open {}: {}", self.whole, why(&error)))?;
        match device.size() == self.size {
            true => Ok(device),
            false => Err(format!("{} is another one than before", self.whole)),
        }
    }
}

fn overlap(one: Extent, other: Extent) -> bool {
    let end = |extent: Extent| extent.offset.saturating_add(extent.length);
    one.disk == other.disk && one.offset < end(other) && other.offset < end(one)
}
