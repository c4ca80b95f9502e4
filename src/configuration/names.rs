//! Names of files as people read and type them, whatever bytes they have.
//!
//! Printable ASCII stands for itself; any other byte, and the backslash, is `\xNN`. So a name is
//! always one line, and can be typed as it was shown.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Where the paths that people type may begin: `/usr/local/etc` leads to `/etc/local`.
const PREFIXES: [(&str, &str); 3] = [("/etc", ""), ("/cfg", ""), ("/usr/local/etc", "local")];

/// A path, to be shown.
pub(super) fn shown(path: &Path) -> String {
    let mut text = String::new();
    let bytes = path.as_os_str().as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\\' => text.push_str("\\x5c"),
            // It would begin a comment.
            b'#' if at == 0 => text.push_str("\\x23"),
            b' ' if at + 1 == bytes.len() => text.push_str("\\x20"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// The bytes that a text shows.
fn unshown(text: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = rest.strip_prefix(b"\\x").and_then(|rest| rest.get(..2));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = rest.get(4..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

/// The path that a line shows: relative, and leading nowhere else than it reads.
pub(super) fn parse(line: &[u8]) -> Option<PathBuf> {
    let path = PathBuf::from(unshown(line));
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && path.components().next().is_some()).then(|| path.components().collect())
}

/// A path that was typed, as one below `/etc`; empty for all of it.
///
/// # Errors
///
/// Why it cannot be meant, in words.
pub(super) fn operand(word: &OsStr) -> Result<PathBuf, String> {
    let typed = PathBuf::from(unshown(word.as_bytes()));
    let below = PREFIXES
        .iter()
        .find_map(|(prefix, place)| Some(Path::new(place).join(typed.strip_prefix(prefix).ok()?)));
    let path = match below {
        Some(path) => path,
        None if typed.is_absolute() => return Err(format!("{}: not below /etc", shown(&typed))),
        None => typed.clone(),
    };
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let path: PathBuf = parts.collect();
    match path.components().all(|part| matches!(part, Component::Normal(_))) {
        true => Ok(path),
        false => Err(format!("{}: leads out of /etc", shown(&typed))),
    }
}

/// What a person named; without a name, everything is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named(pub(super) Vec<PathBuf>);

impl Named {
    /// Something was named at all.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// It, or a directory that it is in, was named.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.0.iter().any(|one| path.starts_with(one))
    }

    /// It is meant.
    pub(super) fn means(&self, path: &Path) -> bool {
        !self.any() || self.names(path)
    }

    /// It is a directory in which something is meant.
    pub(super) fn leads(&self, directory: &Path) -> bool {
        self.means(directory) || self.0.iter().any(|one| one.starts_with(directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_typed_as_it_is_shown() {
        for name in [
            &b"rc.conf"[..],
            b"a b",
            b"a ",
            b"#x",
            b"new\nline",
            b"\xff\xfe",
            b"\\x41",
            b"caf\xc3\xa9",
        ] {
            let path = Path::new(OsStr::from_bytes(name));
            let text = shown(path);
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
            assert_eq!(parse(text.as_bytes()).unwrap(), path, "{text}");
            assert_eq!(operand(OsStr::new(&text)).unwrap(), path, "{text}");
        }
    }

    #[test]
    fn no_path_leads_out() {
        for line in ["", "/etc/x", "../x", "a/../../x", ".", "./x"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        for (word, path) in
            [("/etc/rc.conf", "rc.conf"), ("/cfg/a/b/", "a/b"), ("./a", "a"), ("/etc", "")]
        {
            assert_eq!(operand(OsStr::new(word)), Ok(PathBuf::from(path)), "{word}");
        }
        assert_eq!(operand(OsStr::new("/usr/local/etc/a")), Ok(PathBuf::from("local/a")));
        assert!(operand(OsStr::new("/var/x")).is_err());
        let long = "x".repeat(300);
        assert_eq!(operand(OsStr::new(&long)), Ok(PathBuf::from(long.as_str())));
        assert!(operand(OsStr::new("/etc/../var")).is_err());
    }
}
