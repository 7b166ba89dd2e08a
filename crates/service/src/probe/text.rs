//! What a serial line sent, as plain text.
//!
//! A guest sends what it likes, for ever: escape sequences, bytes of any encoding, lines without end.
//! [`Plain`] makes lines of it that hold nothing but text, and [`Log`] keeps the beginning and the end.

use std::collections::VecDeque;

/// A line that is longer goes on in the next.
const MAX_LINE: usize = 2048;
/// Bytes of the beginning of a log that are kept.
const KEPT_HEAD: usize = 192 << 10;
/// And of its end.
const KEPT_TAIL: usize = 64 << 10;

/// Where in an escape sequence (ECMA-48) the bytes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence, until a byte of `@` to `~`.
    Sequence,
    /// In a string, until BEL or ESC.
    String,
}

/// Makes lines of bytes.
#[derive(Debug, Default)]
pub struct Plain {
    state: State,
    line: Vec<u8>,
    /// A carriage return came, and nothing since: with a line feed it is the end of a line, and
    /// without one what follows is written over the line.
    returned: bool,
}

impl Plain {
    /// Takes `bytes`, and hands each line that ends with them to `line`.
    pub fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        for &byte in bytes {
            let Some(byte) = self.strip(byte) else {
                continue;
            };
            match byte {
                b'\r' => self.returned = true,
                b'\n' => self.end(&mut line),
                byte => {
                    let full = self.line.len() >= MAX_LINE;
                    if full || (self.returned && !self.line.is_empty()) {
                        self.end(&mut line);
                    }
                    self.returned = false;
                    self.line.push(byte);
                }
            }
        }
    }

    /// The line that has not ended.
    pub fn rest(&self) -> String {
        text(&self.line)
    }

    fn end(&mut self, line: &mut impl FnMut(String)) {
        line(text(&self.line));
        self.line.clear();
        self.returned = false;
    }

    /// The byte, if it is text or the end of a line.
    fn strip(&mut self, byte: u8) -> Option<u8> {
        let (state, shown) = match (self.state, byte) {
            (_, 0x1b) => (State::Escape, None),
            (State::Escape, b'[') => (State::Sequence, None),
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (State::String, None),
            // Two-byte sequences, and those that name a character set, whose third is text otherwise.
            (State::Escape, b'(' | b')' | b'#' | b'%') => (State::Escape, None),
            (State::Escape, _) => (State::Text, None),
            (State::Sequence, 0x40..=0x7e) => (State::Text, None),
            // What is no part of a sequence ends it, as a line break does that came in between.
            (State::Sequence, b'\n') | (State::String, b'\n') => (State::Text, Some(b'\n')),
            (State::Sequence, _) => (State::Sequence, None),
            (State::String, 0x07) => (State::Text, None),
            (State::String, _) => (State::String, None),
            (State::Text, b'\t') => (State::Text, Some(b' ')),
            (State::Text, b'\r' | b'\n') => (State::Text, Some(byte)),
            (State::Text, 0x00..=0x1f | 0x7f) => (State::Text, None),
            (State::Text, byte) => (State::Text, Some(byte)),
        };
        self.state = state;
        shown
    }
}

/// Bytes as text without control characters; those of C1 come as two bytes and are seen only here.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end()
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

/// The lines of a log, but for the middle of a long one.
#[derive(Debug, Default)]
pub struct Log {
    head: String,
    tail: VecDeque<String>,
    tail_bytes: usize,
    left_out: u64,
}

impl Log {
    /// Adds a line.
    pub fn push(&mut self, line: &str) {
        let all_in_head = self.tail.is_empty() && self.left_out == 0;
        if all_in_head && self.head.len() + line.len() < KEPT_HEAD {
            self.head.push_str(line);
            self.head.push('\n');
            return;
        }
        self.tail_bytes += line.len() + 1;
        self.tail.push_back(line.to_owned());
        while self.tail_bytes > KEPT_TAIL
            && let Some(line) = self.tail.pop_front()
        {
            self.tail_bytes -= line.len() + 1;
            self.left_out += 1;
        }
    }

    /// All that is kept, and how much is not.
    pub fn text(&self) -> String {
        let mut text = self.head.clone();
        if self.left_out > 0 {
            text.push_str(&format!("[{} lines are left out here]\n", self.left_out));
        }
        for line in &self.tail {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[&[u8]]) -> (Vec<String>, String) {
        let mut plain = Plain::default();
        let mut lines = Vec::new();
        for part in parts {
            plain.feed(part, |line| lines.push(line));
        }
        (lines, plain.rest())
    }

    #[test]
    fn only_text_is_left_wherever_the_bytes_are_cut() {
        let bytes =
            b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1)\r\n\x1b]0;title\x07a\tb\x00\x07\r\r\n\
            [\x1b[0;32m  OK  \x1b[0m] Reached \xe2\x80\xa6 caf\xe9\n\x1b(Bx\xc2\x9b31m\nlogin: ";
        let expected = [
            "SeaBIOS (version 1)",
            "a b",
            "[  OK  ] Reached \u{2026} caf\u{fffd}",
            "x31m",
        ];
        let (whole, rest) = lines(&[bytes]);
        assert_eq!(whole, expected);
        assert_eq!(rest, "login:");
        for cut in 1..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(lines(&[first, second]).0, expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_written_over_a_line_is_a_line() {
        let (lines, rest) = lines(&[
            b"\r[*  ] waiting\r[ * ] waiting\r\r\nnext\n\r\n\r'\r\n",
            b"\rx",
        ]);
        assert_eq!(lines, ["[*  ] waiting", "[ * ] waiting", "next", "", "'"]);
        assert_eq!(rest, "x");
    }

    #[test]
    fn lines_and_strings_without_end_take_no_memory() {
        let (found, rest) = lines(&[&[b'x'; 10_000]]);
        assert_eq!(found.len(), 4);
        assert!(rest.len() <= MAX_LINE);
        let (found, rest) = lines(&[b"\x1b]", &[b'x'; 10_000], b"\nback\n"]);
        assert_eq!(
            (found, rest),
            (vec![String::new(), "back".to_owned()], String::new())
        );
    }

    #[test]
    fn a_long_log_keeps_both_ends() {
        let mut log = Log::default();
        for number in 0..100_000 {
            log.push(&format!("line {number}"));
        }
        let text = log.text();
        assert!(text.len() < KEPT_HEAD + KEPT_TAIL + 100, "{}", text.len());
        assert!(text.starts_with("line 0\nline 1\n"));
        assert!(text.ends_with("line 99998\nline 99999\n"));
        let kept = text.lines().count();
        let left_out: usize = text
            .lines()
            .find_map(|line| line.strip_prefix('[')?.split(' ').next()?.parse().ok())
            .unwrap();
        assert_eq!(kept - 1 + left_out, 100_000);
    }
}
