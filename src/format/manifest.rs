//! The manifest of a release: what it is, what it is for, and the digest that its image must have.
//!
//! One `key=value` a line, nothing else: no blank line, no comment, no quotes. The first line is
//! `format=1`. Each key stands there once; their order is free.
//!
//! | key | value |
//! |---|---|
//! | `format` | 1 |
//! | `name` | what the system is called: a word |
//! | `version` | its version, see [`super::version`] |
//! | `compat` | a word for the machines it runs on: the running system must have the same one |
//! | `layout` | `gpt`: the image is a partition; `mbr`: it is a slice with boot code and BSD label |
//! | `size` | bytes of the image, unpacked; a multiple of 512 |
//! | `sha256` | digest of the image, unpacked: 64 hexadecimal digits, lower case |
//! | `image` | the name of the file that holds it; `.xz`, `.zst`, `.gz` say how it is packed |
//! | `min_version` | the oldest nanozfs that can install it |
//! | `min_from` | the oldest version of the system that can be upgraded to it; may be left out |
//!
//! A word is made of letters, digits and `. - _ +`, begins with a letter, a digit or `_`, and has at
//! most 64 characters.
//!
//! A key that is not in the table is kept and means nothing. Whoever adds one that an older nanozfs
//! must not overlook raises `min_version`; whoever changes what a key means, or adds another kind of
//! line, raises `format`.

use std::fmt::{self, Write};

use super::version::Version;
use super::{ParseError, quoted};

/// The format that this file describes.
pub const FORMAT: &str = "1";
/// Bytes of a manifest at most.
pub const MAX_SIZE: usize = 16 << 10;
/// Sizes of images are multiples of this.
pub const SECTOR: u64 = 512;

const WHAT: &str = "manifest";
/// Characters of a word at most.
const LONGEST_WORD: usize = 64;
/// Sizes are below 8 EiB, as in a tar(5) and in off_t.
const LARGEST: u64 = i64::MAX as u64;

/// A manifest that is whole and makes sense by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What the system is called.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The machines it runs on.
    pub compat: String,
    /// What the image is an image of.
    pub layout: Layout,
    /// Bytes of the image, unpacked.
    pub size: u64,
    /// SHA-256 of the image, unpacked.
    pub sha256: Digest,
    /// The name of the file that holds the image.
    pub image: String,
    /// The oldest nanozfs that can install it.
    pub min_version: Version,
    /// The oldest version of the system that can be upgraded to it.
    pub min_from: Option<Version>,
    /// Keys that are not known, with their values, in the order in which they stand there.
    pub others: Vec<(String, String)>,
}

/// What a slot image is an image of, and so what partition table it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A partition: the file system and nothing else.
    Gpt,
    /// A slice: boot code, BSD label, file system.
    Mbr,
}

impl Layout {
    /// As it stands in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Gpt => "gpt",
            Layout::Mbr => "mbr",
        }
    }

    /// The layout of this name.
    pub fn parse(name: &str) -> Option<Layout> {
        [Layout::Gpt, Layout::Mbr].into_iter().find(|layout| layout.name() == name)
    }
}

/// How an image is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// By xz(1).
    Xz,
    /// By zstd(1).
    Zst,
    /// By gzip(1).
    Gz,
}

impl Packing {
    /// All of them.
    pub const ALL: [Packing; 4] = [Packing::None, Packing::Xz, Packing::Zst, Packing::Gz];

    /// The end of a file's name that says so: `.xz`; nothing for an image that is not packed.
    pub fn suffix(self) -> &'static str {
        match self {
            Packing::None => "",
            Packing::Xz => ".xz",
            Packing::Zst => ".zst",
            Packing::Gz => ".gz",
        }
    }

    /// The packing that the name of a file tells.
    pub fn of(name: &str) -> Packing {
        let told =
            |packing: &Packing| *packing != Packing::None && name.ends_with(packing.suffix());
        Packing::ALL.into_iter().find(told).unwrap_or(Packing::None)
    }
}

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads 64 hexadecimal digits in lower case; `None` when it is something else.
    pub fn parse(text: &str) -> Option<Digest> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// True for a word as names and `compat` are.
pub fn is_word(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
    begins && text.len() <= LONGEST_WORD && text.chars().all(fits)
}

/// The format that the first line claims, whatever the rest is: asked for before anything else is
/// believed. `None` when this is not the beginning of a manifest.
pub fn format_of(text: &str) -> Option<&str> {
    let number = text.lines().next()?.strip_prefix("format=")?;
    (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then_some(number)
}

/// Reads a manifest.
///
/// # Errors
///
/// At the first line that is wrong, or about the first key that is missing.
pub fn parse(text: &str) -> Result<Manifest, ParseError> {
    if text.len() > MAX_SIZE {
        return Err(ParseError::new(WHAT, format!("more than {MAX_SIZE} bytes")));
    }
    let mut lines = Vec::<(usize, &str, &str)>::new();
    for (number, line) in text.split_terminator('\n').enumerate() {
        let number = number + 1;
        let (key, value) = pair(line).map_err(|why| ParseError::line(WHAT, number, why))?;
        if number == 1 && key != "format" {
            return Err(ParseError::line(WHAT, 1, "does not begin with format="));
        }
        if lines.iter().any(|(_, other, _)| *other == key) {
            return Err(ParseError::line(WHAT, number, format!("{key} stands there twice")));
        }
        lines.push((number, key, value));
    }
    let mut keys = Keys(lines);
    keys.take("format", |value| (value == FORMAT).then_some(()), "this nanozfs reads format 1")?;
    let manifest = Manifest {
        name: keys.take("name", word, NO_WORD)?,
        version: keys.take("version", Version::parse, NO_VERSION)?,
        compat: keys.take("compat", word, NO_WORD)?,
        layout: keys.take("layout", Layout::parse, "neither gpt nor mbr")?,
        size: keys.take("size", size, "not a number of bytes, a multiple of 512")?,
        sha256: keys.take("sha256", Digest::parse, "not 64 hexadecimal digits in lower case")?,
        image: keys.take("image", file_name, "not the name of an image's file")?,
        min_version: keys.take("min_version", Version::parse, NO_VERSION)?,
        min_from: match keys.has("min_from") {
            true => Some(keys.take("min_from", Version::parse, NO_VERSION)?),
            false => None,
        },
        others: keys.0.iter().map(|(_, key, value)| (key.to_string(), value.to_string())).collect(),
    };
    Ok(manifest)
}

const NO_WORD: &str = "not a word of letters, digits and . - _ +";
const NO_VERSION: &str = "not a version: a digit, then letters, digits and . - _ +";

/// Key and value of one line.
fn pair(line: &str) -> Result<(&str, &str), &'static str> {
    let (key, value) = line.split_once('=').ok_or("not a key=value line")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !key.starts_with(|c: char| c.is_ascii_lowercase()) || !key.chars().all(plain) {
        return Err("the name before = is not a key");
    }
    if value.is_empty() || value.trim() != value || value.chars().any(char::is_control) {
        return Err("the value is empty, or has spaces around it or control characters in it");
    }
    Ok((key, value))
}

/// Lines that nobody has asked for yet: number, key, value.
struct Keys<'a>(Vec<(usize, &'a str, &'a str)>);

impl Keys<'_> {
    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(_, other, _)| *other == key)
    }

    /// The value of a key that must be there, as `read` understands it; `not` says what it is not.
    fn take<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Option<T>,
        not: &str,
    ) -> Result<T, ParseError> {
        let Some(at) = self.0.iter().position(|(_, other, _)| *other == key) else {
            return Err(ParseError::new(WHAT, format!("{key} is missing")));
        };
        let (line, _, value) = self.0.remove(at);
        read(value).ok_or_else(|| {
            ParseError::line(WHAT, line, format_args!("{key}={}: {not}", quoted(value)))
        })
    }
}

fn word(value: &str) -> Option<String> {
    is_word(value).then(|| value.to_owned())
}

/// The name of a file that can be the image: not one of the two files that stand before it.
fn file_name(value: &str) -> Option<String> {
    let fits = is_word(value) && !value.starts_with("manifest");
    (fits && !Packing::ALL.iter().any(|packing| packing.suffix() == value))
        .then(|| value.to_owned())
}

fn size(value: &str) -> Option<u64> {
    let digits = value.chars().all(|c| c.is_ascii_digit()) && !value.starts_with('0');
    let size = value.parse().ok().filter(|_| digits)?;
    (size <= LARGEST && size % SECTOR == 0).then_some(size)
}

impl Manifest {
    /// How the image is packed.
    pub fn packing(&self) -> Packing {
        Packing::of(&self.image)
    }

    /// The text of it: [`parse`] reads the same manifest from it, when it holds what the table says.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn fmt::Display| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key}={value}");
        };
        line("format", &FORMAT);
        line("name", &self.name);
        line("version", &self.version);
        line("compat", &self.compat);
        line("layout", &self.layout.name());
        line("size", &self.size);
        line("sha256", &self.sha256);
        line("image", &self.image);
        line("min_version", &self.min_version);
        if let Some(version) = &self.min_from {
            line("min_from", version);
        }
        for (key, value) in &self.others {
            line(key, value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "format=1\nname=router\nversion=2.4-rc1\ncompat=amd64\nlayout=gpt\n\
        size=1048576\n\
        sha256=30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58\n\
        image=router.ufs.zst\nmin_version=0.1.0\nmin_from=2.0\n";

    /// [`PLAIN`] with one text in the place of another, which must be there.
    fn with(old: &str, new: &str) -> String {
        assert!(PLAIN.contains(old), "{old}");
        PLAIN.replacen(old, new, 1)
    }

    #[test]
    fn a_manifest_reads_as_it_was_written() {
        let manifest = parse(PLAIN).unwrap();
        assert_eq!(manifest.version.as_str(), "2.4-rc1");
        assert_eq!((manifest.layout, manifest.size), (Layout::Gpt, 1 << 20));
        assert_eq!(manifest.packing(), Packing::Zst);
        assert_eq!(manifest.encode(), PLAIN);
        assert_eq!(parse(PLAIN.trim_end()), Ok(manifest));
    }

    #[test]
    fn min_from_may_be_left_out_and_no_other_key() {
        assert_eq!(parse(&with("min_from=2.0\n", "")).unwrap().min_from, None);
        for line in PLAIN.lines().filter(|line| !line.starts_with("min_from")) {
            let error = parse(&with(&format!("{line}\n"), "")).unwrap_err().to_string();
            let key = line.split('=').next().unwrap();
            let why = match key {
                "format" => "manifest: line 1: does not begin with format=".to_owned(),
                _ => format!("manifest: {key} is missing"),
            };
            assert_eq!(error, why);
        }
    }

    #[test]
    fn the_order_of_the_keys_below_the_first_is_free() {
        let mut lines: Vec<_> = PLAIN.lines().collect();
        lines[1..].reverse();
        assert_eq!(parse(&lines.join("\n")), parse(PLAIN));
    }

    #[test]
    fn keys_that_are_not_known_are_kept() {
        let text = format!("{PLAIN}x_built_by=a b = c\nzz=\u{e9}\n");
        let manifest = parse(&text).unwrap();
        let others = [("x_built_by", "a b = c"), ("zz", "\u{e9}")];
        assert_eq!(manifest.others, others.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(manifest.encode(), text);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (old, new, why) in [
            ("format=1", "format=2", "line 1: format=\"2\": this nanozfs reads format 1"),
            ("name=router", "name=a b", "line 2: name=\"a b\": not a word"),
            ("name=router", "name=-x", "line 2: name=\"-x\": not a word"),
            ("name=router", "name", "line 2: not a key=value line"),
            ("name=router", "Name=router", "line 2: the name before = is not a key"),
            ("name=router", "=router", "line 2: the name before = is not a key"),
            ("name=router", "name=", "line 2: the value is empty"),
            ("name=router", "name=router ", "line 2: the value is empty, or has spaces"),
            ("name=router", "name=router\r", "line 2: the value is empty, or has spaces"),
            ("name=router", "name=rou\tter", "line 2: the value is empty, or has spaces"),
            ("name=router", "", "line 2: not a key=value line"),
            ("name=router", "# name", "line 2: not a key=value line"),
            ("version=2.4-rc1", "version=v2", "line 3: version=\"v2\": not a version"),
            ("version=2.4-rc1", "name=other", "line 3: name stands there twice"),
            ("layout=gpt", "layout=GPT", "line 5: layout=\"GPT\": neither gpt nor mbr"),
            ("1048576", "1048577", "line 6: size=\"1048577\": not a number of bytes"),
            ("1048576", "0", "line 6: size=\"0\": not"),
            ("1048576", "+512", "line 6: size=\"+512\": not"),
            ("1048576", "9223372036854775808", "line 6: size=\"9223372036854775808\": not"),
            ("sha256=30", "sha256=3", "line 7: sha256=\"3e14955e"),
            ("sha256=30e", "sha256=30E", "line 7: sha256=\"30E14955e"),
            (
                "image=router",
                "image=../router",
                "line 8: image=\"../router.ufs.zst\": not the name",
            ),
            ("router.ufs.zst", "manifest", "line 8: image=\"manifest\": not the name"),
            ("router.ufs.zst", ".zst", "line 8: image=\".zst\": not the name"),
            ("min_from=2.0", "min_from=x", "line 10: min_from=\"x\": not a version"),
        ] {
            let error = parse(&with(old, new)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("manifest: {why}")), "{new}: {error}");
        }
        assert!(parse(&format!("{PLAIN}x={}\n", "y".repeat(MAX_SIZE))).is_err());
        assert_eq!(parse("").unwrap_err().to_string(), "manifest: format is missing");
    }

    #[test]
    fn another_format_is_told_apart_from_what_is_no_manifest() {
        for (text, format) in [
            (PLAIN, Some("1")),
            ("format=23\nanything at all", Some("23")),
            ("format=", None),
            ("format=x", None),
            ("name=a\nformat=1", None),
            ("", None),
        ] {
            assert_eq!(format_of(text), format, "{text}");
        }
    }

    #[test]
    fn the_name_of_the_file_tells_the_packing() {
        for (name, packing) in [
            ("a.xz", Packing::Xz),
            ("a.tar.zst", Packing::Zst),
            ("a.gz", Packing::Gz),
            ("a", Packing::None),
            ("a.XZ", Packing::None),
            ("_.disk.image", Packing::None),
        ] {
            assert_eq!(Packing::of(name), packing, "{name}");
        }
    }
}
