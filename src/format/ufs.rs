//! The volume name in a UFS superblock (`sys/ufs/ffs/fs.h`), which is still there when GEOM does
//! not show it: the label node of a mounted partition vanishes, and of two equal labels only the
//! first one tasted gets a node.

/// Where UFS2 keeps its superblock, in bytes from the start of the partition.
pub const SUPERBLOCK_OFFSET: u64 = 64 << 10;
/// Bytes to read for a superblock: whole sectors, whatever the drive's sector size.
pub const SUPERBLOCK_READ: usize = 8192;
/// Bytes of a superblock.
#[cfg(any(test, feature = "lab"))]
const SUPERBLOCK_SIZE: usize = 1376;

/// Where UFS1 keeps its superblock; nothing of ours reads more than its magic number.
pub const UFS1_OFFSET: u64 = 8 << 10;

const MAGIC: u32 = 0x1954_0119;
const UFS1_MAGIC: u32 = 0x0001_1954;
const MAGIC_AT: usize = 1372;
const NAME_AT: usize = 680;
const NAME_SIZE: usize = 32;

/// True for the beginning of a UFS2 superblock, whatever it holds.
pub fn is_superblock(superblock: &[u8]) -> bool {
    has_magic(superblock, MAGIC)
}

/// True for the beginning of a UFS1 superblock, whatever it holds.
pub fn is_ufs1(superblock: &[u8]) -> bool {
    has_magic(superblock, UFS1_MAGIC)
}

fn has_magic(superblock: &[u8], number: u32) -> bool {
    let magic = superblock.get(MAGIC_AT..MAGIC_AT + 4);
    magic == Some(&number.to_le_bytes()) || magic == Some(&number.to_be_bytes())
}

/// The volume name in a superblock; `None` when this is not a UFS2 superblock or has no name.
/// Both byte orders of the magic number are known, although GEOM shows labels of one only.
pub fn volume_name(superblock: &[u8]) -> Option<String> {
    if !is_superblock(superblock) {
        return None;
    }
    let field = superblock.get(NAME_AT..NAME_AT + NAME_SIZE)?;
    let name = field.split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    Some(name.to_owned()).filter(|name| !name.is_empty())
}

/// A superblock that [`volume_name`] reads `name` from: what the lab's partitions hold.
#[cfg(any(test, feature = "lab"))]
pub fn encode(name: &str) -> Vec<u8> {
    let mut block = vec![0; SUPERBLOCK_SIZE];
    for (at, byte) in name.bytes().take(NAME_SIZE - 1).enumerate() {
        if let Some(place) = block.get_mut(NAME_AT + at) {
            *place = byte;
        }
    }
    if let Some(place) = block.get_mut(MAGIC_AT..) {
        place.copy_from_slice(&MAGIC.to_le_bytes());
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is_a_superblock() {
        assert_eq!(volume_name(&encode("nanos1a")).as_deref(), Some("nanos1a"));
        assert_eq!(volume_name(&encode("")), None);
        assert_eq!(volume_name(&[0; SUPERBLOCK_SIZE]), None);
        assert_eq!(volume_name(&encode("x")[..SUPERBLOCK_SIZE - 1]), None);
    }

    #[test]
    fn ufs1_and_ufs2_are_told_apart() {
        let ufs2 = encode("nanos3");
        let mut ufs1 = ufs2.clone();
        ufs1[MAGIC_AT..].copy_from_slice(&[0x54, 0x19, 0x01, 0x00]);
        assert_eq!((is_superblock(&ufs2), is_ufs1(&ufs2)), (true, false));
        assert_eq!((is_superblock(&ufs1), is_ufs1(&ufs1)), (false, true));
        assert!(!is_ufs1(&ufs1[..MAGIC_AT + 3]));
    }

    #[test]
    fn a_name_without_an_end_is_cut_at_the_field() {
        let mut block = encode("");
        block[NAME_AT..NAME_AT + NAME_SIZE].fill(b'a');
        assert_eq!(volume_name(&block).map(|name| name.len()), Some(NAME_SIZE));
    }
}
