//! The line for `/` in a slot's fstab(5): it names the slot that the image was made for.

/// How the slot is called in each way of calling it.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The name of its UFS.
    pub ufs: &'a str,
    /// Its name in a GPT.
    pub gpt: Option<&'a str>,
    /// Its partition.
    pub partition: &'a str,
}

/// `text` with the slot's own name in the line for `/`, of the kind that was there: `ufs/…`,
/// `gpt/…`, or a partition. Every other byte stays. `None` when there is no such line.
pub fn correct(text: &[u8], names: &Names<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 32);
    let mut found = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some((start, end)) = root_device(line) else {
            out.extend_from_slice(line);
            continue;
        };
        found = true;
        let device = line.get(start..end).unwrap_or_default();
        let name = match (device, names.gpt) {
            (device, Some(gpt)) if device.starts_with(b"/dev/gpt/") => format!("/dev/gpt/{gpt}"),
            (device, _) if device.starts_with(b"/dev/ufs/") || device.starts_with(b"/dev/gpt/") => {
                format!("/dev/ufs/{}", names.ufs)
            }
            _ => format!("/dev/{}", names.partition),
        };
        out.extend_from_slice(line.get(..start).unwrap_or_default());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(line.get(end..).unwrap_or_default());
    }
    found.then_some(out)
}

/// Where the device is in a line for `/`.
fn root_device(line: &[u8]) -> Option<(usize, usize)> {
    let start = line.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let rest = line.get(start..)?;
    let mut words = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let device = words.next().filter(|device| !device.starts_with(b"#"))?;
    let is_root = words.next() == Some(b"/") && words.next() == Some(b"ufs");
    is_root.then_some((start, start + device.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: Names<'static> = Names { ufs: "nanos2a", gpt: None, partition: "ada0s2a" };
    const GPT: Names<'static> = Names { ufs: "nanoB", gpt: Some("nanoB"), partition: "ada0p3" };

    #[test]
    fn the_line_for_the_root_names_the_slot_in_the_way_it_did_before() {
        for (names, before, after) in [
            (B, "/dev/ufs/nanos1a / ufs ro 1 1\n", "/dev/ufs/nanos2a / ufs ro 1 1\n"),
            (B, "/dev/da0s1a\t/\tufs\tro\t1\t1", "/dev/ada0s2a\t/\tufs\tro\t1\t1"),
            (B, "  /dev/gpt/nanoA  / ufs ro", "  /dev/ufs/nanos2a  / ufs ro"),
            (B, "/dev/diskid/DISK-1s1a / ufs ro", "/dev/ada0s2a / ufs ro"),
            (GPT, "/dev/gpt/nanoA / ufs ro 1 1\n", "/dev/gpt/nanoB / ufs ro 1 1\n"),
            (GPT, "/dev/ufs/nanos1a / ufs ro 1 1\n", "/dev/ufs/nanoB / ufs ro 1 1\n"),
            (GPT, "/dev/ada0p2 / ufs ro 1 1\n", "/dev/ada0p3 / ufs ro 1 1\n"),
            (GPT, "/dev/gpt/nanoB / ufs ro 1 1\n", "/dev/gpt/nanoB / ufs ro 1 1\n"),
        ] {
            assert_eq!(correct(before.as_bytes(), &names).unwrap(), after.as_bytes());
        }
    }

    #[test]
    fn every_other_byte_stays() {
        let rest = b"# /dev/ufs/nanos1a / ufs\r\n\n/dev/ufs/nanos3 /cfg ufs rw,noauto 2 2\n\
            \t\n/dev/ufs/nanos1a /mnt ufs\ntmpfs / tmpfs\n\xff\xfe /dev/ufs/nanos1a";
        assert_eq!(correct(rest, &B), None);
        let line = b"/dev/ufs/nanos1a / ufs ro,noatime # not a comment\n";
        let with = [&line[..], rest].concat();
        let changed = correct(&with, &B).unwrap();
        assert_eq!(&changed[..], [&b"/dev/ufs/nanos2a"[..], &with[16..]].concat());
        assert_eq!(correct(b"", &B), None);
        assert_eq!(correct(b"/dev/ada0s1a", &B), None);
        assert_eq!(correct(b"/dev/ada0s1a /", &B), None);
    }
}
