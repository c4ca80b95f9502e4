//! What a boot wrote down, read again: a hint, never trusted.

use std::collections::HashMap;
use std::path::Path;

use tinyjson::JsonValue;

use crate::boot::record::RECORD;
use crate::host::Host;
use crate::report::Code;

/// More than a record can sensibly have.
const LONGEST: u64 = 1 << 18;
/// Brackets within brackets; a record of ours has four.
const DEEPEST: usize = 32;
/// A clock may be set by so much between power-on and the writing of the record, in seconds.
const SLACK: i64 = 120;

/// What a boot wrote down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The mode in which it left the machine.
    pub mode: String,
    /// What it found.
    pub findings: Vec<Past>,
}

/// Something that a boot found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// The class of it.
    pub code: Code,
    /// What it was.
    pub what: String,
    /// What to type.
    pub next: String,
}

/// The record, when it was written since the machine started.
pub(super) fn of_this_boot(host: &dyn Host) -> Option<Record> {
    let (files, path) = (host.files(), Path::new(RECORD));
    let written = files.stat(path).ok()?.attributes.modified.seconds;
    let uptime = i64::try_from(host.uptime().as_secs()).ok()?;
    let started = host.services().now().checked_sub(uptime)?;
    if written.checked_add(SLACK)? < started {
        return None;
    }
    parse(&String::from_utf8_lossy(&files.read(path, LONGEST).ok()?))
}

/// Reads a record. `None` for what is none; what is not understood in one is left out.
pub(super) fn parse(text: &str) -> Option<Record> {
    let value: JsonValue = Some(text).filter(|text| is_shallow(text))?.parse().ok()?;
    let record: &HashMap<String, JsonValue> = value.get()?;
    let mode = record.get("mode")?.get::<String>()?.clone();
    let findings = record.get("findings").and_then(|all| all.get::<Vec<JsonValue>>());
    let findings = findings.into_iter().flatten().filter_map(past).collect();
    Some(Record { mode, findings })
}

/// The parser calls itself for each level: a text of brackets must not use up the stack.
fn is_shallow(text: &str) -> bool {
    let mut depth = 0_usize;
    text.bytes().all(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth <= DEEPEST
    })
}

fn past(value: &JsonValue) -> Option<Past> {
    let fields: &HashMap<String, JsonValue> = value.get()?;
    let text = |name: &str| fields.get(name)?.get::<String>().cloned();
    let id = text("code")?;
    let code = Code::ALL.iter().copied().find(|code| code.id() == id)?;
    Some(Past { code, what: text("what")?, next: text("next").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_boot_wrote_is_read_and_everything_else_is_nothing() {
        let text = r#"{"schema":1,"mode":"degraded","seconds":1.5,"findings":[
            {"code":"E37","what":"3 files","details":[],"next":"df /etc"},
            {"code":"E99","what":"of a later version"}, 7, {"code":3}]}"#;
        let record = parse(text).unwrap();
        assert_eq!(record.mode, "degraded");
        let past = Past { code: Code::E37, what: "3 files".into(), next: "df /etc".into() };
        assert_eq!(record.findings, [past]);
        for text in ["", "{", "[]", "7", "{\"mode\":7}", "{\"findings\":[]}", "\u{0}\u{ff}"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&deep), None);
    }
}
