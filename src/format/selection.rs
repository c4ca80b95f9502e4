//! A choice of files in a directory tree, as people write it: patterns of paths, with blanks
//! between them.

use std::path::Path;

use glob::Pattern;

/// Which files of a tree are meant.
///
/// A pattern is matched name by name, so that `*` never leads into another directory. What it names
/// is meant with everything in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    patterns: Vec<Vec<Pattern>>,
}

impl Selection {
    /// From patterns relative to the tree: `ssh/*_config rc.conf`.
    ///
    /// # Errors
    ///
    /// The pattern that leads out of the tree or is none, in words.
    pub fn parse(text: &str) -> Result<Selection, String> {
        let patterns = text.split_whitespace().map(pattern).collect::<Result<_, _>>()?;
        Ok(Selection { patterns })
    }

    /// Is the file at this path, relative to the tree, meant?
    pub fn holds(&self, path: &Path) -> bool {
        self.patterns.iter().any(|pattern| {
            let matched = matched(pattern, path);
            matched == pattern.len()
        })
    }

    /// May something below this path be meant?
    pub fn leads_to(&self, path: &Path) -> bool {
        let depth = path.components().count();
        self.patterns.iter().any(|pattern| {
            let matched = matched(pattern, path);
            matched == pattern.len() || matched == depth
        })
    }
}

/// How many names at the beginning of the path the pattern matches, one after the other.
fn matched(pattern: &[Pattern], path: &Path) -> usize {
    let names = path.components().map(|name| name.as_os_str().to_string_lossy());
    pattern.iter().zip(names).take_while(|(pattern, name)| pattern.matches(name)).count()
}

fn pattern(word: &str) -> Result<Vec<Pattern>, String> {
    let wrong = |why: &str| format!("{word}: {why}");
    let one = |name: &str| match name {
        "" | "." | ".." => Err(wrong("not a path below /etc")),
        "**" => Err(wrong("** is not known; a directory is meant with everything in it")),
        name => Pattern::new(name).map_err(|error| wrong(error.msg)),
    };
    word.split('/').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_meant_with_everything_below_it_and_nothing_beside_it() {
        let selection = Selection::parse("rc.conf* ssh/ssh_host_* ppp").unwrap();
        for (path, holds, leads_to) in [
            ("rc.conf", true, true),
            ("rc.conf.d/network", true, true),
            ("rc.d", false, false),
            ("ssh", false, true),
            ("ssh/ssh_host_rsa_key", true, true),
            ("ssh/moduli", false, false),
            ("ppp", true, true),
            ("ppp/ppp.conf", true, true),
            ("local/ppp", false, false),
            ("local", false, false),
        ] {
            let path = Path::new(path);
            assert_eq!(selection.holds(path), holds, "{path:?}");
            assert_eq!(selection.leads_to(path), leads_to, "{path:?}");
        }
        assert!(!Selection::default().holds(Path::new("rc.conf")));
    }

    #[test]
    fn patterns_that_lead_elsewhere_are_refused() {
        for text in ["/etc/rc.conf", "../rc.conf", "ssh/", "a//b", "ssh/**", "[a", "."] {
            assert!(Selection::parse(text).is_err(), "{text}");
        }
    }
}
