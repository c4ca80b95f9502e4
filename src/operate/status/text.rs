//! The answer for a person: the verdict, numbered lines, and what to type next.

use super::Status;
use crate::report::Console;
use crate::upgrade::summary::capital;

/// Columns used at most.
pub(super) const WIDTH: usize = 72;

pub(super) fn render(status: &Status, console: &mut Console<'_>) {
    console.heading(&status.headline, WIDTH);
    let mut number = 0;
    let mut item = |console: &mut Console<'_>, text: &str| {
        number += 1;
        console.item(number, text, WIDTH);
    };
    for one in &status.items {
        item(console, &one.text);
    }
    for section in status.sections.iter().filter(|section| !section.rows.is_empty()) {
        console.heading(&format!(" {}:", capital(section.name)), WIDTH);
        for row in &section.rows {
            item(console, &row.text);
        }
    }
    console.item_named("Next", &status.next, WIDTH);
}
