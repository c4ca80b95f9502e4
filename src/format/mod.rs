//! Pure parsers: bytes or text that the system gave, in; types, out.
//!
//! Every function here is total. Whatever the input is, it returns; it does no input or output, and
//! its memory is bounded by the size of the input. What is not understood is an error that says
//! where, never a guess.

use std::fmt;

pub mod boot0;
pub mod boots;
pub mod conf;
pub mod console_log;
pub mod geom;
pub mod manifest;
pub mod nvlist;
pub mod selection;
pub mod tar;
pub mod ufs;
pub mod version;
pub mod zfs;
pub mod zfs_label;
pub mod zpool;

/// Why something could not be parsed. Shown as `what: why`, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What was parsed, for example `zpool list`.
    pub what: String,
    /// The line, counted from 1, of text; the byte offset in binary data.
    pub at: Option<usize>,
    /// What is wrong with it, the place included.
    pub why: String,
}

impl ParseError {
    /// An error in the whole of `what`.
    pub(crate) fn new(what: &str, why: impl Into<String>) -> Self {
        ParseError { what: what.to_owned(), at: None, why: why.into() }
    }

    /// An error in line `line`, counted from 1.
    pub(crate) fn line(what: &str, line: usize, why: impl fmt::Display) -> Self {
        ParseError { what: what.to_owned(), at: Some(line), why: format!("line {line}: {why}") }
    }

    /// An error at byte `offset`, counted from 0.
    pub(crate) fn offset(what: &str, offset: usize, why: impl fmt::Display) -> Self {
        ParseError { what: what.to_owned(), at: Some(offset), why: format!("byte {offset}: {why}") }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for ParseError {}

/// `text` as it can be shown in a message: in quotes, on one line, not longer than a line.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod fixtures {
    //! What real systems printed; see `tests/fixtures`.

    use std::io::Read;

    /// The bytes of `tests/fixtures/freebsd-RELEASE/NAME`.
    pub(crate) fn bytes(release: &str, name: &str) -> Vec<u8> {
        let root = env!("CARGO_MANIFEST_DIR");
        let path = format!("{root}/tests/fixtures/freebsd-{release}/{name}");
        std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// The same as text.
    pub(crate) fn text(release: &str, name: &str) -> String {
        String::from_utf8(bytes(release, name)).unwrap()
    }

    /// The same, unpacked with gzip.
    pub(crate) fn gunzip(release: &str, name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(bytes(release, name).as_slice())
            .read_to_end(&mut out)
            .unwrap();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_says_what_where_and_why() {
        let error = ParseError::line("zpool list", 3, format!("bad {}", quoted("a\nb")));
        assert_eq!(error.to_string(), r#"zpool list: line 3: bad "a\nb""#);
        assert_eq!(error.at, Some(3));
    }

    #[test]
    fn a_long_text_is_shortened_in_messages() {
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), 63);
    }
}
