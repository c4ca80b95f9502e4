//! `key="value"` files, as sysrc(8) edits them: the part of sh(1) syntax that assigns constants.
//!
//! One assignment a line; the value bare, in double or in single quotes; `#` begins a comment.
//! Nothing is expanded: a value with `$` or a backquote outside single quotes is refused, because
//! whoever wrote it expected a shell.

/// What a file says: its assignments in order, and the lines that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    /// Assignments in the order of the file; a later one of the same key wins, as in sh(1).
    pub assignments: Vec<Assignment>,
    /// Lines that are neither blank, comment nor assignment.
    pub problems: Vec<Problem>,
}

/// One `key="value"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The name left of `=`.
    pub key: String,
    /// The value without its quotes.
    pub value: String,
    /// Where it stands, from 1.
    pub line: usize,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands, from 1.
    pub line: usize,
    /// Why it could not be read.
    pub why: &'static str,
}

/// Reads a whole file. Never fails: what cannot be read is in [`Conf::problems`].
pub fn parse(text: &str) -> Conf {
    let mut conf = Conf::default();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        match assignment(line) {
            Ok(None) => {}
            Ok(Some((key, value))) => {
                conf.assignments.push(Assignment { key, value, line: number });
            }
            Err(why) => conf.problems.push(Problem { line: number, why }),
        }
    }
    conf
}

/// One line: nothing, or a key and its value.
fn assignment(line: &str) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, rest) = line.split_once('=').ok_or("not a key=\"value\" line")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.is_empty() || !key.chars().all(plain) || key.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("the name before = is not a variable's name");
    }
    Ok(Some((key.to_owned(), value(rest)?)))
}

/// What stands right of `=`, up to a comment.
fn value(text: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => loop {
                match chars.next() {
                    Some('\'') => break,
                    Some(c) => value.push(c),
                    None => return Err("a quote is not closed on its line"),
                }
            },
            '"' => loop {
                match chars.next() {
                    Some('"') => break,
                    Some('\\') => match chars.next() {
                        Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                        Some(c) => value.extend(['\\', c]),
                        None => return Err("a quote is not closed on its line"),
                    },
                    Some('$' | '`') => return Err("$ and ` are not expanded here"),
                    Some(c) => value.push(c),
                    None => return Err("a quote is not closed on its line"),
                }
            },
            '$' | '`' => return Err("$ and ` are not expanded here"),
            '\\' => value.extend(chars.next()),
            c if c.is_whitespace() || c == ';' => {
                let rest = chars.collect::<String>();
                let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
                if rest.is_empty() || rest.starts_with('#') {
                    return Ok(value);
                }
                return Err("something follows the value");
            }
            c => value.push(c),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one value of a one-line file, or why it has none.
    fn one(text: &str) -> Result<String, &'static str> {
        let conf = parse(text);
        match (conf.assignments.as_slice(), conf.problems.as_slice()) {
            ([assignment], []) => Ok(assignment.value.clone()),
            ([], [problem]) => Err(problem.why),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn values_read_as_sh_would_read_them() {
        for (text, value) in [
            ("a=\"tank data\"", "tank data"),
            ("a=30", "30"),
            ("a=''", ""),
            ("a=", ""),
            ("a=\"x # y\" # comment", "x # y"),
            ("a='$x'", "$x"),
            ("a=\"\\\"q\\\" \\n\"", "\"q\" \\n"),
            ("a=one\"two\"'three'", "onetwothree"),
            ("  a=b  ", "b"),
            ("a=b;", "b"),
            ("a=b#c", "b#c"),
        ] {
            assert_eq!(one(text), Ok(value.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_would_need_a_shell_is_refused() {
        for text in ["a=$(date)", "a=\"$b\"", "a=`x`", "a=b c", "a=\"open", "a='open", "export a=b"]
        {
            assert!(one(text).is_err(), "{text}");
        }
        assert!(one("nonsense").is_err());
        assert!(one("1a=b").is_err());
        assert!(one("=b").is_err());
    }

    #[test]
    fn lines_are_counted_from_one() {
        let conf = parse("# x\n\na=1\nbad\na=2\n");
        assert_eq!(conf.assignments.iter().map(|a| a.line).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(conf.problems.first().map(|p| p.line), Some(4));
    }
}
