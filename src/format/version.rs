//! Versions of systems and of nanozfs, and which of two is the later one.
//!
//! A version begins with a digit and goes on with letters, digits and `. - _ +`, 64 characters at
//! most: `15.1`, `2.4-rc1`, `13.2-p3`, `20261121.2`.
//!
//! For the order, a version is the row of its numbers and words; how they are separated does not
//! matter. Two rows are compared place by place, and the first place that differs decides:
//!
//! | at this place | rank |
//! |---|---|
//! | `dev`, `alpha`, `beta`, `pre`, `rc` | before the end, in this order |
//! | nothing: the version ends here | |
//! | any other word | after the end, in the order of the alphabet |
//! | a number | after every word, in the order of numbers of any length |
//!
//! So `1.0-rc1` < `1.0` < `1.0-p2` < `1.0.0` < `1.0.1` < `1.9` < `1.10`. Capitals and leading zeros
//! do not count.

use std::cmp::Ordering;
use std::fmt;

/// Words for what comes before the version itself, earliest first.
const BEFORE: [&str; 5] = ["dev", "alpha", "beta", "pre", "rc"];
/// Characters of a version at most.
const LONGEST: usize = 64;

/// A version, as it was written. Equal means written alike; [`Version::order`] tells which is later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// Reads a version; `None` when it is none.
    pub fn parse(text: &str) -> Option<Version> {
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_digit());
        (begins && text.len() <= LONGEST && text.chars().all(fits))
            .then(|| Version(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this one is earlier, later, or the same written in another way.
    pub fn order(&self, other: &Version) -> Ordering {
        let (mut one, mut two) = (Places(&self.0), Places(&other.0));
        loop {
            match (one.next(), two.next()) {
                (None, None) => return Ordering::Equal,
                (one, two) => match rank(one).cmp(&rank(two)) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                },
            }
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is left to look at of a version: runs of digits and runs of letters.
struct Places<'a>(&'a str);

impl<'a> Iterator for Places<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let digits = rest.starts_with(|c: char| c.is_ascii_digit());
        let goes_on = |c: char| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let end = rest.find(|c: char| !goes_on(c)).unwrap_or(rest.len());
        let (place, rest) = rest.split_at_checked(end)?;
        self.0 = rest;
        (!place.is_empty()).then_some(place)
    }
}

/// A place in a form whose own order is the one of versions: the class, then within a class the
/// index or the length, then the text.
fn rank(place: Option<&str>) -> (u8, usize, String) {
    let Some(place) = place else {
        return (1, 0, String::new());
    };
    if place.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = place.trim_start_matches('0');
        return (3, digits.len(), digits.to_owned());
    }
    let word = place.to_ascii_lowercase();
    match BEFORE.iter().position(|before| *before == word) {
        Some(index) => (0, index, word),
        None => (2, 0, word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn each_of_these_is_later_than_all_before_it() {
        let rising = [
            "0.1.0",
            "0.9",
            "1-dev",
            "1",
            "1.0-dev3",
            "1.0-alpha",
            "1.0-beta",
            "1.0-beta2",
            "1.0-pre",
            "1.0-rc1",
            "1.0-rc2",
            "1.0-RC10",
            "1.0",
            "1.0a",
            "1.0-p1",
            "1.0-p2",
            "1.0-p10",
            "1.0-RELEASE-rc1",
            "1.0-RELEASE",
            "1.0-RELEASE-p1",
            "1.0.0",
            "1.0.1",
            "1.2",
            "1.10",
            "13.2",
            "15.1",
            "20261121",
            "20261121.2",
            "99999999999999999999999999",
        ];
        for (at, one) in rising.iter().enumerate() {
            for (other_at, other) in rising.iter().enumerate() {
                let order = version(one).order(&version(other));
                assert_eq!(order, at.cmp(&other_at), "{one} {other}");
            }
        }
    }

    #[test]
    fn separators_capitals_and_leading_zeros_do_not_count() {
        for (one, other) in
            [("1.2", "1-2"), ("1.02", "1.2"), ("1.0RC1", "1.0-rc-1"), ("1.0", "1.0.")]
        {
            assert_eq!(version(one).order(&version(other)), Ordering::Equal, "{one} {other}");
            assert_ne!(version(one), version(other));
        }
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for text in ["", "v1", ".1", "1 2", "1/2", "1=2", "é", "1é", "1\n", &"1".repeat(65)] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert_eq!(version(&"1".repeat(64)).as_str().len(), 64);
    }
}
