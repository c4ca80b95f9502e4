//! The note that says for which FreeBSD this executable is (`sys/elf_common.h`, elf(5)).
//!
//! crt1.o brings one, but in a section group, which the linker collects as garbage. This one stays.

/// The oldest release that is supported, as `__FreeBSD_version` counts: 13.2.
const OSRELDATE: u32 = 1_302_001;
/// `NT_FREEBSD_ABI_TAG`.
const ABI_TAG: u32 = 1;

#[repr(C, align(4))]
struct Note {
    name_size: u32,
    value_size: u32,
    kind: u32,
    name: [u8; 8],
    value: u32,
}

// SAFETY: the section holds notes only, and this is one, of the size and alignment that it says.
#[unsafe(link_section = ".note.tag")]
#[used]
static NOTE: Note =
    Note { name_size: 8, value_size: 4, kind: ABI_TAG, name: *b"FreeBSD\0", value: OSRELDATE };
