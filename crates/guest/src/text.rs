//! Bytes of the guest made fit to be shown.
//!
//! A guest controls its file names and file contents, and a report is printed on terminals. So
//! every string is cleaned once, here, where facts are made: control characters (terminal escape
//! sequences among them) and invisible direction marks appear as `\u{1b}`, and length is limited.

use std::fmt::Write as _;

/// Longest string that a fact holds, in characters.
pub(crate) const MAX_CHARS: usize = 300;

/// `bytes` as printable text: invalid UTF-8 replaced, controls escaped, cut with `…`.
pub fn clean(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    // Four bytes per character at most; what lies beyond cannot appear in the result.
    let bytes = bytes.get(..(MAX_CHARS + 1) * 4).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    for (count, c) in text.trim().chars().enumerate() {
        if count == MAX_CHARS {
            out.push('…');
            break;
        }
        if c == '\t' {
            out.push(' ');
        } else if c.is_control() || is_invisible(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that change how neighbours are displayed without showing themselves.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_are_shown_not_sent() {
        assert_eq!(clean("a\x1b[31mred\x07"), "a\\u{1b}[31mred\\u{7}");
        assert_eq!(clean("a\u{9b}31m"), "a\\u{9b}31m");
        assert_eq!(clean("abc\u{202e}fed"), "abc\\u{202e}fed");
        assert_eq!(clean("abc\u{61c}def"), "abc\\u{61c}def");
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(clean(b"caf\xe9 au lait"), "caf\u{fffd} au lait");
    }

    #[test]
    fn length_is_limited() {
        assert_eq!(clean("x".repeat(MAX_CHARS)).chars().count(), MAX_CHARS);
        let cut = clean("ü".repeat(1_000_000));
        assert_eq!(cut.chars().count(), MAX_CHARS + 1);
        assert!(cut.ends_with('…'));
    }
}
