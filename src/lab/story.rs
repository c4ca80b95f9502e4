//! Reading stories: one statement a line, words apart by spaces, `"..."` around what has spaces in
//! it, `#` before a remark. Errors name the file and the line.

use std::io;
use std::path::{Path, PathBuf};

use super::grammar::Words;
use super::statement::Statement;

/// A story: its name and its statements with their line numbers.
#[derive(Clone, Debug)]
pub struct Story {
    /// The name of its directory, `01-healthy`.
    pub name: String,
    /// Where it was read from.
    pub file: String,
    /// Its statements, with their line numbers.
    pub lines: Vec<(usize, Statement)>,
}

impl Story {
    /// Reads the story in the directory `path`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or says something that is no statement.
    pub fn read(path: &Path) -> io::Result<Story> {
        let file = path.join("story");
        let text = std::fs::read_to_string(&file)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown = format!("tests/stories/{name}/story");
        let lines = parse(&text).map_err(|error| io::Error::other(format!("{shown}:{error}")))?;
        Ok(Story { name, file: shown, lines })
    }

    /// All stories below `path`, by name.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub fn read_all(path: &Path) -> io::Result<Vec<Story>> {
        let entries = std::fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.join("story").is_file());
        paths.sort();
        paths.iter().map(|path| Story::read(path)).collect()
    }

    /// Its title.
    pub fn title(&self) -> &str {
        let title = self.lines.iter().find_map(|(_, statement)| match statement {
            Statement::Title(title) => Some(title.as_str()),
            _ => None,
        });
        title.unwrap_or(&self.name)
    }
}

/// The statements in `text`; an error begins with the line number.
///
/// # Errors
///
/// When a line is no statement.
pub fn parse(text: &str) -> Result<Vec<(usize, Statement)>, String> {
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let at = |error: String| format!("{number}: {error}");
        let words = words(line).map_err(at)?;
        if !words.is_empty() {
            all.push((number, Words::of(words).statement().map_err(at)?));
        }
    }
    Ok(all)
}

/// A line in words, quotes and escapes resolved.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' if word.is_none() => break,
            c if c.is_whitespace() => words.extend(word.take()),
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a quote is not closed")? {
                        '"' => break,
                        '\\' => word.push(match chars.next().ok_or("nothing after \\")? {
                            'n' => '\n',
                            't' => '\t',
                            'e' => '\u{1b}',
                            other => other,
                        }),
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_is_quoted_and_lose_remarks() {
        let found = words(r#"file image /a "b c\n" mode=0600 x="y z" # not this"#).unwrap();
        assert_eq!(found, ["file", "image", "/a", "b c\n", "mode=0600", "x=y z"]);
        assert_eq!(words("# nothing").unwrap(), Vec::<String>::new());
        assert!(words("title \"open").is_err());
    }

    #[test]
    fn an_error_begins_with_its_line() {
        for (text, wanted) in [
            ("boot\n\nbots", "3: bots: not a statement"),
            ("detach", "1: a device is missing"),
            ("boot twice", "1: boot: what is \"twice\"?"),
            ("detach ada1 mode=1", "1: detach: has no option mode"),
            ("expect exit x", "1: x: not an exit code"),
            ("file image etc \"\"", "1: etc: not an absolute path"),
        ] {
            assert_eq!(parse(text).unwrap_err(), wanted);
        }
    }
}
