//! Rows as arrays: one statement inserts many rows, whose columns `unnest` puts side by side.

use std::fmt::{Display, Write as _};

use memchr::memmem;
use serde::Serialize;

/// One value of each row.
pub(crate) fn column<'r, R, T>(rows: &'r [R], value: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// An array in a column: numbers or addresses as PostgreSQL writes an array of them.
pub(crate) fn literal<T: Display>(values: &[T]) -> String {
    let mut literal = String::with_capacity(2 + 8 * values.len());
    literal.push('{');
    for (number, value) in values.iter().enumerate() {
        if number > 0 {
            literal.push(',');
        }
        // Writing to a String cannot fail.
        _ = write!(literal, "{value}");
    }
    literal.push('}');
    literal
}

/// The same of texts.
pub(crate) fn text_literal(texts: &[String]) -> String {
    let mut literal = String::from("{");
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            literal.push(',');
        }
        literal.push('"');
        for character in text.chars() {
            if matches!(character, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(character);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

/// A document of numbers, booleans, texts and lists of them.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("plain values go into a growing buffer")
}

/// Whether a document has the character U+0000, which PostgreSQL takes in a document but cannot take out of it.
pub(crate) fn json_has_nul(json: &[u8]) -> bool {
    memmem::find_iter(json, r"\u0000").any(|at| {
        // Behind a backslash that is escaped itself it is plain text.
        let backslashes = json[..=at].iter().rev().take_while(|byte| **byte == b'\\');
        backslashes.count() % 2 == 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_character_itself_is_found() {
        for (text, expected) in [
            ("\0", true),
            ("a\0b", true),
            ("\\\0", true),
            (r"\u0000", false),
            (r"\\u0000", false),
            ("u0000", false),
            ("\u{1}", false),
        ] {
            let json = json(text);
            assert_eq!(json_has_nul(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn any_text_is_an_element_of_an_array() {
        let texts = [
            "plain",
            "",
            "null",
            "a,b",
            r#"say "no""#,
            r"back\slash",
            "{x}",
        ];
        let literal = text_literal(&texts.map(String::from));
        assert_eq!(
            literal,
            r#"{"plain","","null","a,b","say \"no\"","back\\slash","{x}"}"#
        );
    }
}
