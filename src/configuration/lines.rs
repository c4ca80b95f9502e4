//! The difference between two small texts, line by line, as diff -u shows it.

/// Lines around a change.
const CONTEXT: usize = 3;
/// Cells of the table that finds what two texts have in common.
const MOST: usize = 1 << 22;

/// One line, and which of the texts it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Both(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// The lines that differ, with some around them; none when the texts are too long and too
/// different, or no texts.
pub(super) fn unified(old: &[u8], new: &[u8]) -> Option<Vec<String>> {
    let text = |bytes| std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    let (old, new): (Vec<_>, Vec<_>) = (text(old)?.lines().collect(), text(new)?.lines().collect());
    let all = compare(&old, &new)?;
    let changed = |line: &Line<'_>| !matches!(line, Line::Both(_));
    let mut shown = Vec::new();
    let mut at = 0;
    while let Some(next) = all.iter().skip(at).position(changed).map(|found| found + at) {
        let begin = next.saturating_sub(CONTEXT).max(at);
        // To the last change that has no two contexts between it and the one before.
        let mut end = next + 1;
        while let Some(more) =
            all.iter().skip(end).take(2 * CONTEXT + 1).position(changed).map(|found| found + end)
        {
            end = more + 1;
        }
        let stop = (end + CONTEXT).min(all.len());
        let before = all.get(..begin).unwrap_or_default();
        let hunk = all.get(begin..stop).unwrap_or_default();
        shown.push(format!(
            "@@ -{} +{} @@",
            range(before, hunk, |line| !matches!(line, Line::New(_))),
            range(before, hunk, |line| !matches!(line, Line::Old(_)))
        ));
        shown.extend(hunk.iter().map(|line| match line {
            Line::Both(text) => format!(" {text}"),
            Line::Old(text) => format!("-{text}"),
            Line::New(text) => format!("+{text}"),
        }));
        at = stop;
    }
    Some(shown)
}

/// Where a hunk is in one of the texts, and how long.
fn range(before: &[Line<'_>], hunk: &[Line<'_>], is_in: fn(&Line<'_>) -> bool) -> String {
    let count = |lines: &[Line<'_>]| lines.iter().filter(|line| is_in(line)).count();
    let (first, length) = (count(before), count(hunk));
    format!("{},{length}", if length == 0 { first } else { first + 1 })
}

/// Every line of both, by the longest sequence that they have in common.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Option<Vec<Line<'a>>> {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (head, old) = old.split_at(same);
    let new = new.get(same..)?;
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, end) = old.split_at(old.len() - tail);
    let new = new.get(..new.len() - tail)?;
    let width = new.len() + 1;
    if width.checked_mul(old.len() + 1)? > MOST {
        return None;
    }
    // How much is in common from here to the end.
    let mut common = vec![0_u32; width * (old.len() + 1)];
    let at = |row: usize, column: usize| row * width + column;
    for (row, a) in old.iter().enumerate().rev() {
        for (column, b) in new.iter().enumerate().rev() {
            let get = |at: usize| common.get(at).copied().unwrap_or_default();
            let value = match a == b {
                true => get(at(row + 1, column + 1)) + 1,
                false => get(at(row + 1, column)).max(get(at(row, column + 1))),
            };
            *common.get_mut(at(row, column))? = value;
        }
    }
    let mut all: Vec<Line<'a>> = head.iter().map(|line| Line::Both(line)).collect();
    let (mut row, mut column) = (0, 0);
    loop {
        match (old.get(row), new.get(column)) {
            (Some(a), Some(b)) if a == b => {
                all.push(Line::Both(a));
                (row, column) = (row + 1, column + 1);
            }
            (Some(a), b) => {
                let down = common.get(at(row + 1, column)) >= common.get(at(row, column + 1));
                match b {
                    Some(b) if !down => {
                        all.push(Line::New(b));
                        column += 1;
                    }
                    _ => {
                        all.push(Line::Old(a));
                        row += 1;
                    }
                }
            }
            (None, Some(b)) => {
                all.push(Line::New(b));
                column += 1;
            }
            (None, None) => break,
        }
    }
    all.extend(end.iter().map(|line| Line::Both(line)));
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> String {
        unified(old.as_bytes(), new.as_bytes()).unwrap().join("\n")
    }

    #[test]
    fn a_changed_line_is_shown_with_those_around_it() {
        assert_eq!(diff("a\nb\nc\n", "a\nB\nc\n"), "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c");
        assert_eq!(diff("", "a\n"), "@@ -0,0 +1,1 @@\n+a");
        assert_eq!(diff("a\n", ""), "@@ -1,1 +0,0 @@\n-a");
        assert_eq!(diff("a\n", "a\n"), "");
    }

    #[test]
    fn changes_far_apart_have_hunks_of_their_own() {
        let old: Vec<String> = (1..=30).map(|number| number.to_string()).collect();
        let mut new = old.clone();
        new[1] = "two".to_owned();
        new.remove(19);
        let text = diff(&old.join("\n"), &new.join("\n"));
        let heads: Vec<_> = text.lines().filter(|line| line.starts_with("@@")).collect();
        assert_eq!(heads, ["@@ -1,5 +1,5 @@", "@@ -17,7 +17,6 @@"]);
    }

    #[test]
    fn what_is_no_text_or_too_much_is_not_compared() {
        assert_eq!(unified(b"a\0", b"b"), None);
        assert_eq!(unified(b"\xff", b"b"), None);
        let text = |word: &str| (0..3000).map(|n| format!("{word}{n}\n")).collect::<String>();
        assert_eq!(unified(text("a").as_bytes(), text("b").as_bytes()), None);
    }
}
