//! What the pool remembers of its disks: serial numbers, so that a missing one can be named.
//!
//! It is the user property `org.nanozfs:disks` on the layout's parent, written while the pool is
//! complete and only when it changed: `GUID=SERIAL@DEVICE`, blanks between the disks.

use super::survey::{FoundPool, Missing};

/// The property's name (zfsprops(7), user properties).
pub const PROPERTY: &str = "org.nanozfs:disks";
/// A property's value has less than this many bytes.
const LONGEST: usize = 8192;

/// The value to remember; `None` when it would be too long for a property or says nothing.
pub fn remember(pool: &FoundPool) -> Option<String> {
    let disk = |(guid, device): (&u64, &super::survey::Device)| {
        let serial = device.serial.as_deref().map(escape).unwrap_or_default();
        format!("{guid}={serial}@{}", escape(&device.disk))
    };
    let value = pool.devices.iter().map(disk).collect::<Vec<_>>().join(" ");
    Some(value).filter(|value| !value.is_empty() && value.len() < LONGEST)
}

/// `disk 3 of raidz1-0, serial WD-1234, last seen at /dev/ada2`, from what is remembered and what
/// the labels of the other disks say.
pub fn describe(missing: &Missing, memory: Option<&str>) -> String {
    let mut text = missing.place.clone();
    if let Some(serial) = serial(missing, memory) {
        text = format!("{text}, serial {serial}");
    }
    if let Some(path) = last_seen(missing, memory) {
        text = format!("{text}, last seen at {path}");
    }
    text
}

/// The serial number of a missing disk, from what is remembered or from the name it had.
pub fn serial(missing: &Missing, memory: Option<&str>) -> Option<String> {
    let remembered = memory.and_then(|memory| recall(memory, missing.guid));
    let in_path = missing.path.as_deref().and_then(serial_in_path);
    remembered.map(|(serial, _)| serial).or(in_path).filter(|serial| !serial.is_empty())
}

/// Where a missing disk was last: `/dev/ada2`.
pub fn last_seen(missing: &Missing, memory: Option<&str>) -> Option<String> {
    let remembered = || recall(memory?, missing.guid).map(|(_, disk)| format!("/dev/{disk}"));
    missing.path.clone().or_else(remembered)
}

/// Serial number and disk of a vdev, as they were remembered.
fn recall(memory: &str, guid: u64) -> Option<(String, String)> {
    memory.split(' ').find_map(|word| {
        let (number, disk) = word.split_once('=')?;
        let (serial, name) = disk.split_once('@')?;
        (number.parse() == Ok(guid)).then(|| (unescape(serial), unescape(name)))
    })
}

/// `/dev/diskid/DISK-WD1234p2` names the serial number by itself.
fn serial_in_path(path: &str) -> Option<String> {
    let ident = path.strip_prefix("/dev/diskid/DISK-")?;
    let end = ident.rfind('p').filter(|at| {
        let digits = ident.get(at + 1..).unwrap_or_default();
        !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
    });
    ident.get(..end.unwrap_or(ident.len())).map(unescape)
}

/// Keeps letters, digits and a few marks; the rest as `%XX`, as GEOM does in names.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn unescape(text: &str) -> String {
    crate::format::geom::demangle(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(path: Option<&str>) -> Missing {
        let path = path.map(str::to_owned);
        Missing { guid: 7, place: "disk 3 of raidz1-0".to_owned(), path, out_of_service: false }
    }

    #[test]
    fn a_missing_disk_is_named_by_all_that_is_known_of_it() {
        let table = [
            (None, None, "disk 3 of raidz1-0"),
            (Some("/dev/ada3"), None, "disk 3 of raidz1-0, last seen at /dev/ada3"),
            (
                Some("/dev/ada3"),
                Some("6=X@ada2 7=WD%201@ada3"),
                "disk 3 of raidz1-0, serial WD 1, last seen at /dev/ada3",
            ),
            (None, Some("7=@ada9"), "disk 3 of raidz1-0, last seen at /dev/ada9"),
            (
                Some("/dev/diskid/DISK-SN7p2"),
                None,
                "disk 3 of raidz1-0, serial SN7, last seen at /dev/diskid/DISK-SN7p2",
            ),
            (
                Some("/dev/ada3"),
                Some("nonsense 7 =@"),
                "disk 3 of raidz1-0, last seen at /dev/ada3",
            ),
        ];
        for (path, memory, text) in table {
            assert_eq!(describe(&missing(path), memory), text);
        }
    }

    #[test]
    fn marks_in_a_serial_number_survive_the_property() {
        let serial = "S N=1@x%y";
        let memory = format!("7={}@ada1", escape(serial));
        assert_eq!(recall(&memory, 7), Some((serial.to_owned(), "ada1".to_owned())));
    }
}
