//! JSON for programs, written field by field, so that people who read it find them in one order.

use std::time::Duration;

use tinyjson::JsonValue;

/// An object with its fields in this order, which people who read it are glad of.
pub fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}:{value}", text(name))).collect();
    format!("{{{}}}", fields.join(","))
}

/// An array of values.
pub fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// A string with its quotes.
pub fn text(text: &str) -> String {
    JsonValue::from(text.to_owned()).stringify().unwrap_or_default()
}

/// A time in seconds, as a number.
pub fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_can_be_read_back_whatever_is_in_it() {
        let hostile = "a \"pool\"\n\u{1b}[2J\\ \u{e9}";
        let record = object(&[("what", text(hostile)), ("all", array([text("x")].into_iter()))]);
        let parsed: JsonValue = record.parse().unwrap();
        let fields: &std::collections::HashMap<String, JsonValue> = parsed.get().unwrap();
        assert_eq!(fields["what"].get::<String>().unwrap(), hostile);
        assert!(record.starts_with("{\"what\":"), "the order is kept");
    }
}
