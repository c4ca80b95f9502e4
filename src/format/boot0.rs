//! boot0, the boot manager in sector 0 of an MBR drive: boot0cfg(8).
//!
//! The format is that of FreeBSD's `stand/i386/boot0/boot0.S`, recognised by the same bytes as
//! `usr.sbin/boot0cfg/boot0cfg.c` looks for. boot0 loads the boot sector of one slice; which slice
//! is then booted from is decided by that sector: boot1 looks for the active one.

/// The first instructions of every boot0.
const CODE: [u8; 12] = [0xfc, 0x31, 0xc0, 0x8e, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c];
/// In front of the parameters; where it is tells which of the two layouts this is.
const DRIVE: &[u8] = b"Drive ";
/// Where [`DRIVE`] is: without, and with the volume serial number that Windows wants.
const DRIVE_AT: [usize; 2] = [0x1b2, 0x1ae];
/// The parameters, counted from [`DRIVE`].
const OPTION: usize = 7;
const FLAGS: usize = 9;
const NO_UPDATE: u8 = 0x40;
/// Slices that are offered.
const SLICES: u8 = 0x0f;
/// The end of every boot sector.
const MAGIC: [u8; 2] = [0x55, 0xaa];
const MAGIC_AT: usize = 510;

/// What boot0 is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot0 {
    /// What is started when nobody presses a key: slices 1 to 4, 5 the next drive, 6 the network.
    pub default: u32,
    /// The slices that may be started, bit 0 for the first. boot0 waits for a key for ever when
    /// [`Boot0::default`] is not among them, or has no boot sector.
    pub offered: u8,
    /// A key that was pressed is remembered: as default, and as active slice. Where it is not, no
    /// key changes what boot1 boots from.
    pub updates: bool,
}

impl Boot0 {
    /// True when the slice may be started.
    pub fn offers(&self, slice: u32) -> bool {
        (1..=4).contains(&slice) && self.offered & (1 << (slice - 1)) != 0
    }
}

/// The parameters of the boot0 in sector 0; `None` when another boot code is there, or none.
pub fn parse(sector: &[u8]) -> Option<Boot0> {
    if sector.get(MAGIC_AT..MAGIC_AT + 2)? != MAGIC || !sector.starts_with(&CODE) {
        return None;
    }
    let at =
        DRIVE_AT.into_iter().find(|at| sector.get(*at..).is_some_and(|s| s.starts_with(DRIVE)))?;
    let flags = *sector.get(at + FLAGS)?;
    Some(Boot0 {
        default: u32::from(*sector.get(at + OPTION)?) + 1,
        offered: flags & SLICES,
        updates: flags & NO_UPDATE == 0,
    })
}

/// A sector 0 that [`parse`] reads `boot0` from: what the lab's drives hold.
#[cfg(any(test, feature = "lab"))]
pub fn encode(boot0: &Boot0, serial: bool) -> Vec<u8> {
    let mut sector = vec![0; 512];
    let at = if serial { DRIVE_AT[1] } else { DRIVE_AT[0] };
    let update = if boot0.updates { 0 } else { NO_UPDATE };
    let parts: [(usize, &[u8]); 5] = [
        (0, &CODE),
        (at, DRIVE),
        (at + OPTION, &[(boot0.default.saturating_sub(1) & 0xff) as u8]),
        (at + FLAGS, &[0x80 | update | boot0.offered & SLICES]),
        (MAGIC_AT, &MAGIC),
    ];
    for (at, bytes) in parts {
        if let Some(place) = sector.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANOBSD: Boot0 = Boot0 { default: 2, offered: 3, updates: true };

    #[test]
    fn both_layouts_are_read_back() {
        for serial in [false, true] {
            for boot0 in [NANOBSD, Boot0 { default: 6, offered: 15, updates: false }] {
                assert_eq!(parse(&encode(&boot0, serial)), Some(boot0));
            }
        }
        // boot0cfg writes the default there, and only there.
        assert_eq!(encode(&NANOBSD, false)[0x1b9], 1);
        assert_eq!(encode(&NANOBSD, true)[0x1b5], 1);
        assert!(NANOBSD.offers(2) && !NANOBSD.offers(3) && !NANOBSD.offers(0));
    }

    #[test]
    fn other_boot_code_is_not_boot0() {
        let sector = encode(&NANOBSD, true);
        for at in [0, 11, 0x1ae, 510, 511] {
            let mut other = sector.clone();
            other[at] ^= 1;
            assert_eq!(parse(&other), None);
        }
        assert_eq!(parse(&sector[..511]), None);
        assert_eq!(parse(&[]), None);
    }
}
