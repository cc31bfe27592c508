//! Standard output: data for whoever asked.

use std::io::{self, BufWriter, StdoutLock, Write};

use anyhow::Result;

/// Prints a text.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Tells a person something, on standard error.
pub(crate) fn tell(text: &str) {
    // Nobody may be listening there.
    _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Standard output for much of it.
pub(crate) fn buffered() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}

/// Text of a report for a terminal: what could move the cursor or hide is shown as `�`.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|character| {
            let hides = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            if character.is_control() || hides { '\u{fffd}' } else { character }
        })
        .collect()
}

/// Prints rows in columns as wide as they need; those named in `right` are numbers.
pub(crate) fn print_table(
    out: &mut impl Write,
    head: &[&str],
    right: &[usize],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|cell| (*cell).into()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            if right.contains(&column) {
                line.push_str(&format!("{cell:>width$}"));
            } else {
                line.push_str(&format!("{cell:<width$}"));
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Part of a whole in per cent, one digit; nothing of nothing is a dash.
pub(crate) fn per_cent(part: i64, whole: i64) -> String {
    if whole == 0 {
        return "-".into();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}c");
    }

    #[test]
    fn columns_line_up() {
        let mut out = Vec::new();
        let rows = [
            vec!["a".into(), "1".into()],
            vec!["bcd".into(), "23".into()],
        ];
        print_table(&mut out, &["x", "n"], &[1], &rows).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "x     n\na     1\nbcd  23\n"
        );
    }

    #[test]
    fn nothing_of_nothing_is_no_share() {
        assert_eq!(per_cent(0, 0), "-");
        assert_eq!(per_cent(1, 3), "33.3 %");
    }
}
