//! Text for terminals: cleaning, tables, sizes, colour and JSON.
//!
//! Names, messages and reasons come from a server or from inside an image, and either may be
//! hostile. [`clean`] takes the characters away with which text can command a terminal or show
//! itself as something else; everything that is printed goes through it.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

/// `text` on one line, without control and direction characters. What the service says on a second line, what
/// to do as a rule, follows after a semicolon.
pub fn clean(text: &str) -> String {
    joined(text, "; ")
}

/// As [`clean`], but line ends stay.
pub fn clean_lines(text: &str) -> String {
    joined(text, "\n")
}

fn joined(text: &str, separator: &str) -> String {
    text.lines()
        .map(clean_line)
        .collect::<Vec<_>>()
        .join(separator)
}

fn clean_line(line: &str) -> String {
    line.chars()
        .filter_map(|c| match c {
            '\t' => Some(' '),
            c if is_unsafe(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Control characters, those that reorder or hide their neighbours, and those that are none (XML
/// does not admit them).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Writes `value` as indented JSON.
///
/// JSON leaves most [`is_unsafe`] characters as they are. They can only stand inside strings, so
/// they are written as escapes, which says the same to a parser and nothing to a terminal.
///
/// # Errors
/// Those of writing.
pub fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    escaped(out, &serde_json::to_string_pretty(value)?)
}

/// Prints `value` as JSON on one line, for a sequence of them.
///
/// # Errors
/// Those of writing.
pub fn json_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    escaped(out, &serde_json::to_string(value)?)
}

/// Prints JSON with nothing in its strings that a terminal would act upon.
fn escaped(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let mut safe = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c != '\n' && is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    out.write_all(safe.as_bytes())
}

/// Bytes with a binary unit and one decimal: `4.0 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of a unit in integers: exact, and there is no conversion to get wrong.
    let mut unit = 0;
    let mut whole = bytes;
    let mut tenths = 0;
    while let Some(name) = UNITS.get(unit) {
        tenths = (u128::from(bytes) * 10) >> (10 * (unit + 1));
        whole = u64::try_from(tenths / 10).unwrap_or(u64::MAX);
        if whole < 1024 {
            return format!("{whole}.{} {name}", tenths % 10);
        }
        unit += 1;
    }
    format!("{whole}.{} EiB", tenths % 10)
}

/// `1 image`, `3 images`.
pub fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Columns aligned by display width, two spaces apart.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a header line.
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        Self {
            rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()],
        }
    }

    /// Adds a line. Cells are cleaned; an empty one shows as `-`.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        let cells = cells.iter().map(|cell| match clean(cell) {
            cell if cell.trim().is_empty() => "-".to_owned(),
            cell => cell,
        });
        self.rows.push(cells.collect());
    }

    /// Writes all lines.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Writes `label: value` lines with the values aligned; empty values are left out.
///
/// # Errors
/// Those of writing.
pub fn fields(out: &mut dyn Write, fields: &[(&str, String)]) -> io::Result<()> {
    let shown = || fields.iter().filter(|(_, value)| !value.trim().is_empty());
    let width = shown().map(|(label, _)| label.width()).max().unwrap_or(0);
    for (label, value) in shown() {
        let pad = " ".repeat(width - label.width());
        writeln!(out, "{label}:{pad} {}", clean(value))?;
    }
    Ok(())
}

/// Colour, where the output is a terminal and the user did not turn it off.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    on: bool,
}

impl Style {
    /// For standard output, respecting <https://no-color.org>.
    pub fn stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            on: !refused && io::stdout().is_terminal(),
        }
    }

    /// No colour.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { on: false }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub fn green(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }
}

/// Columns to write in: those of the terminal, but no fewer than 40 and no more than 100; 80
/// when standard output is not a terminal.
pub fn width() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).clamp(40, 100),
        _ => 80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_commands_do_not_survive() {
        assert_eq!(
            clean("a\x1b[31mb\x07\u{9b}c\u{202e}d\ne\tf"),
            "a[31mbcd; e f"
        );
        assert_eq!(clean_lines("a\x1b\r\nb\x08"), "a\nb");
        assert_eq!(clean("Nürnberg 東京"), "Nürnberg 東京");
    }

    #[test]
    fn json_is_safe_to_print_and_means_the_same() {
        let value = serde_json::json!({"name": "x\u{9b}31m\u{202e}\x7f\x1b\u{e0041} ü"});
        let mut out = Vec::new();
        json(&mut out, &value).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !is_unsafe(c)), "{text:?}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }

    #[test]
    fn sizes_read_well() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (4 << 30, "4.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn tables_align_by_display_width() {
        let mut table = Table::new(["ID", "NAME", "STATE"]);
        table.row(["7".into(), "東京\x1b".into(), "ok".into()]);
        table.row(["12345".into(), "a".into(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ID     NAME  STATE\n7      東京  ok\n12345  a     -\n"
        );
    }

    #[test]
    fn fields_without_value_are_left_out() {
        let mut out = Vec::new();
        let lines = [
            ("id", "1".to_owned()),
            ("description", String::new()),
            ("name", "n".to_owned()),
        ];
        fields(&mut out, &lines).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "id:   1\nname: n\n");
    }
}
