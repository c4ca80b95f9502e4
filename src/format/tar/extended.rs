//! What stands before an entry's own header: pax records, or the long name of GNU.

/// What an extended header says about the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) name: Option<String>,
    pub(super) size: Option<u64>,
}

/// The content of a GNU long name: the name, and one NUL or none.
pub(super) fn long_name(mut text: Vec<u8>) -> Result<Extended, &'static str> {
    text.pop_if(|last| *last == 0);
    Ok(Extended { name: Some(name(text)?), size: None })
}

fn name(bytes: Vec<u8>) -> Result<String, &'static str> {
    let name = String::from_utf8(bytes).map_err(|_| "a name is not UTF-8")?;
    match name.is_empty() || name.contains('\0') {
        true => Err("a name is empty or has a NUL byte inside"),
        false => Ok(name),
    }
}

/// The records of a pax header: `LENGTH KEY=VALUE`, each with its own length in front and a newline
/// at its end. Times, owners and attributes of the file are of no interest.
pub(super) fn pax(mut text: &[u8]) -> Result<Extended, &'static str> {
    const BROKEN: &str = "a pax record is broken";
    let mut extended = Extended::default();
    while !text.is_empty() {
        let space = text.iter().position(|byte| *byte == b' ').ok_or(BROKEN)?;
        let (digits, _) = text.split_at_checked(space).ok_or(BROKEN)?;
        let length = decimal(digits).and_then(|length| usize::try_from(length).ok());
        let (record, rest) =
            length.and_then(|length| text.split_at_checked(length)).ok_or(BROKEN)?;
        // Past the length and the space; without the newline.
        let record = record.get(space + 1..).and_then(|record| record.strip_suffix(b"\n"));
        let record = record.ok_or(BROKEN)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(BROKEN)?;
        let (key, value) = record.split_at_checked(equals).ok_or(BROKEN)?;
        let value = value.get(1..).unwrap_or_default();
        match key {
            b"path" => extended.name = Some(name(value.to_vec())?),
            b"size" => {
                let size = decimal(value).filter(|size| i64::try_from(*size).is_ok());
                extended.size = Some(size.ok_or("the size of an entry is not a number")?);
            }
            key if key.starts_with(b"GNU.sparse") || key == b"SCHILY.realsize" => {
                return Err("a sparse file, where only whole ones are taken");
            }
            b"hdrcharset" => return Err("a name that is not in UTF-8"),
            _ => {}
        }
        text = rest;
    }
    Ok(extended)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}
