//! The answer for programs: one JSON object on one line. nanozfs(8) describes every member.

use super::{Item, PoolState, Section, Status};
use crate::report::json::{array, object, seconds, text};

/// Version of the form; it grows when a member changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// Every member of the object, and those of the objects in it, in order; nanozfs(8) is compared with this.
pub const MEMBERS: &[(&str, &[&str])] = &[
    ("schema", &[]),
    ("version", &[]),
    ("verdict", &[]),
    ("exit", &[]),
    ("headline", &[]),
    ("items", &["line", "topic", "weight", "code", "text", "advice"]),
    ("next", &[]),
    ("cfg", &[]),
    ("var", &[]),
    (
        "pools",
        &["name", "imported", "health", "size", "free", "missing", "place", "serial", "last_seen"],
    ),
    ("running", &[]),
    ("next_boot", &[]),
    ("boot_mode", &[]),
    ("uptime", &[]),
    ("disks", &["name", "serial", "size", "is"]),
    ("datasets", &["name", "mounted", "used"]),
    ("slots", &["slot", "provider", "marks", "running", "next", "holds"]),
    ("upgrades", &["id", "slot", "name", "version", "end", "why"]),
    ("boots", &["began", "mode", "seconds", "finished"]),
];

/// The object.
pub(super) fn render(status: &Status) -> String {
    let items = status.items.iter().enumerate().map(|(at, one)| item(at + 1, one));
    let mut fields = vec![
        ("schema", SCHEMA.to_string()),
        ("version", text(env!("CARGO_PKG_VERSION"))),
        ("verdict", text(status.verdict.name())),
        ("exit", status.verdict.exit().code().to_string()),
        ("headline", text(&status.headline)),
        ("items", array(items)),
        ("next", text(&status.next)),
        ("cfg", maybe(status.cfg.as_deref())),
        ("var", maybe(status.var.as_deref())),
        ("pools", array(status.pools.iter().map(pool))),
        ("running", maybe(status.slots.0)),
        ("next_boot", maybe(status.slots.1)),
        ("boot_mode", maybe(status.boot_mode.as_deref())),
        ("uptime", seconds(status.uptime)),
    ];
    // The pools are above already.
    let more = status.sections.iter().filter(|section| section.name != "pools");
    fields.extend(more.map(|section| (section.name, rows(section))));
    object(&fields)
}

fn item(line: usize, item: &Item) -> String {
    object(&[
        ("line", line.to_string()),
        ("topic", text(item.topic)),
        ("weight", text(item.weight.name())),
        ("code", maybe(item.code.map(crate::report::Code::id))),
        ("text", text(&item.text)),
        ("advice", maybe(item.advice.as_deref())),
    ])
}

fn pool(pool: &PoolState) -> String {
    let missing = pool.missing.iter().map(|disk| {
        object(&[
            ("place", text(&disk.place)),
            ("serial", maybe(disk.serial.as_deref())),
            ("last_seen", maybe(disk.last_seen.as_deref())),
        ])
    });
    object(&[
        ("name", text(&pool.name)),
        ("imported", pool.imported.map_or("null".to_owned(), |one| one.to_string())),
        ("health", maybe(pool.health.as_deref())),
        ("size", number(pool.size)),
        ("free", number(pool.free)),
        ("missing", array(missing)),
    ])
}

fn rows(section: &Section) -> String {
    let with_fields = section.rows.iter().filter(|row| !row.fields.is_empty());
    array(with_fields.map(|row| object(&row.fields)))
}

/// A string, or `null`.
pub(super) fn maybe(word: Option<&str>) -> String {
    word.map_or("null".to_owned(), text)
}

/// A number, or `null`.
pub(super) fn number(number: Option<u64>) -> String {
    number.map_or("null".to_owned(), |number| number.to_string())
}
