//! CSV (RFC 4180) that no spreadsheet takes for formulas.

use std::borrow::Cow;

use csv::{Terminator, Writer, WriterBuilder};
use serde_json::{Value, value::RawValue};

use super::columns::Columns;

/// A text for a cell of CSV. Spreadsheets run what begins like a formula, so that gets an apostrophe in front, which
/// they take for "this is text". They look behind blanks and quotes, and take full-width signs for plain ones.
pub fn csv_cell(text: &str) -> Cow<'_, str> {
    let is_passed_over = |char: char| {
        char.is_whitespace()
            || char.is_control()
            || matches!(char, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}')
            // What has no width or only turns the direction of writing.
            || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(char, '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let is_sign = |char| {
        "=+-@\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}\u{2212}\u{fe63}\u{fe62}\u{fe66}".contains(char)
    };
    let begins_a_formula = text.starts_with(['\t', '\r', '\n'])
        || text.trim_start_matches(is_passed_over).starts_with(is_sign);
    if begins_a_formula {
        Cow::Owned(["'", text].concat())
    } else {
        Cow::Borrowed(text)
    }
}

/// The line with the names of the columns.
pub(super) fn header(columns: &Columns) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = lines(&mut out);
    let names = columns.iter().map(|column| column.name.as_str());
    writer.write_record(names).expect(IN_MEMORY);
    drop(writer);
    out
}

/// Appends a line for each item.
pub(super) fn write(items: &[&RawValue], columns: &Columns, out: &mut Vec<u8>) {
    let mut writer = lines(out);
    for item in items {
        let item: Value = serde_json::from_str(item.get()).expect("a raw value is JSON");
        for column in columns {
            let value = column
                .path
                .iter()
                .try_fold(&item, |value, key| value.get(key));
            writer.write_field(cell(value).as_bytes()).expect(IN_MEMORY);
        }
        writer.write_record(None::<&[u8]>).expect(IN_MEMORY);
    }
}

const IN_MEMORY: &str = "lines of equal length are written to memory";

fn lines(out: &mut Vec<u8>) -> Writer<&mut Vec<u8>> {
    let mut builder = WriterBuilder::new();
    builder.terminator(Terminator::CRLF).from_writer(out)
}

/// Null and empty lists are empty cells, other lists and objects are JSON.
fn cell(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None | Some(Value::Null) => Cow::Borrowed(""),
        Some(Value::String(text)) => csv_cell(text),
        Some(Value::Bool(true)) => Cow::Borrowed("true"),
        Some(Value::Bool(false)) => Cow::Borrowed("false"),
        Some(Value::Number(number)) => Cow::Owned(number.to_string()),
        Some(Value::Array(items)) if items.is_empty() => Cow::Borrowed(""),
        Some(value @ (Value::Array(_) | Value::Object(_))) => Cow::Owned(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_begins_like_a_formula_becomes_text() {
        for text in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\tx",
            "\rx",
            "\nx",
            " =1",
            "\u{a0}=1",
            "\u{feff}=1",
            "\u{200b}\u{202e}=1",
            "\"=1\"",
            "'=1",
            "\" \"@x",
            "\u{ff1d}1",
            "\u{ff0b}1",
            "\u{ff0d}1",
            "\u{ff20}x",
            "\u{2212}1",
            "\0=1",
        ] {
            assert_eq!(csv_cell(text), format!("'{text}"), "{text:?}");
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in [
            "",
            "example.com",
            "a=b",
            "1-2",
            "2001:db8::1",
            "\u{fc}",
            "\"a\"",
            "#",
        ] {
            assert_eq!(csv_cell(text), text);
        }
    }

    #[test]
    fn values_have_their_cells() {
        let check = |value: Value, expected: &str| assert_eq!(cell(Some(&value)), expected);
        check(json!(null), "");
        check(json!(-5), "-5");
        check(json!("-5"), "'-5");
        check(json!(true), "true");
        check(json!([]), "");
        check(json!(["=1"]), r#"["=1"]"#);
        assert_eq!(cell(None), "");
    }
}
