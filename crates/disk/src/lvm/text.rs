//! The text format of LVM's metadata, which is that of its configuration files.
//!
//! ```text
//! section  = key "{" (assignment | section)* "}"
//! assignment = key "=" value
//! value    = number | string | "[" value, … "]"
//! ```
//!
//! Space separates, `#` begins a comment that ends with the line. Memory is bounded by
//! [`MAX_VALUES`], depth by [`MAX_DEPTH`].

use std::str;

/// Sections within sections; LVM itself needs four.
const MAX_DEPTH: u32 = 16;
/// Values, sections included; a text of 1 MiB, the longest that is read, has about 60 000.
const MAX_VALUES: u32 = 200_000;

/// A value, or the content of a section.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    Number(u64),
    /// Without the quotes; escapes are left as they are.
    Text(&'a str),
    List(Vec<Value<'a>>),
    Section(Section<'a>),
}

/// Keys and values in the order of the text.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Section<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Section<'a> {
    /// Reads a whole text; `None` if it does not follow the grammar.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        // The text in an area is ended by a zero.
        let mut rest = Rest {
            text: text.trim_end_matches('\0'),
            values: 0,
        };
        let section = rest.section(0)?;
        rest.text.is_empty().then_some(section)
    }

    fn get(&self, key: &str) -> Option<&Value<'a>> {
        let mut all = self.0.iter();
        all.find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The number called `key`.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The string called `key`.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The list called `key`.
    pub(super) fn list(&self, key: &str) -> Option<&[Value<'a>]> {
        match self.get(key)? {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The section called `key`.
    pub(super) fn section(&self, key: &str) -> Option<&Self> {
        match self.get(key)? {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    /// All sections in this one, with their names.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&'a str, &Self)> {
        self.0.iter().filter_map(|(key, value)| match value {
            Value::Section(section) => Some((*key, section)),
            _ => None,
        })
    }
}

/// The text that is still to be read.
struct Rest<'a> {
    text: &'a str,
    /// How many values were read.
    values: u32,
}

impl<'a> Rest<'a> {
    /// Counts a value; `None` if there are too many.
    fn count(&mut self) -> Option<()> {
        self.values += 1;
        (self.values <= MAX_VALUES).then_some(())
    }

    /// Skips space and comments.
    fn skip(&mut self) {
        loop {
            self.text = self.text.trim_start();
            if !self.text.starts_with('#') {
                break;
            }
            self.text = self.text.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }

    /// Takes `mark` if it is next, after space.
    fn take(&mut self, mark: char) -> bool {
        self.skip();
        match self.text.strip_prefix(mark) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    /// Takes characters as long as `wanted` holds, at least one.
    fn word(&mut self, wanted: impl Fn(char) -> bool) -> Option<&'a str> {
        let end = self.text.find(|c| !wanted(c)).unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(end);
        self.text = rest;
        (!word.is_empty()).then_some(word)
    }

    /// What is in a section, up to its closing brace or the end of the text.
    fn section(&mut self, depth: u32) -> Option<Section<'a>> {
        let mut section = Section::default();
        loop {
            self.skip();
            if self.text.is_empty() || self.text.starts_with('}') {
                return Some(section);
            }
            let key = self.word(|c| !c.is_whitespace() && !"={}#\"[],".contains(c))?;
            let value = if self.take('=') {
                self.value(depth)?
            } else {
                if depth == MAX_DEPTH || !self.take('{') {
                    return None;
                }
                self.count()?;
                let content = self.section(depth + 1)?;
                if !self.take('}') {
                    return None;
                }
                Value::Section(content)
            };
            section.0.push((key, value));
        }
    }

    fn value(&mut self, depth: u32) -> Option<Value<'a>> {
        self.count()?;
        if self.take('"') {
            return self.string().map(Value::Text);
        }
        if !self.take('[') {
            let number = self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))?;
            // Fractions and negative numbers occur in settings only, not in what is read here.
            return Some(number.parse().map_or(Value::Text(number), Value::Number));
        }
        if depth == MAX_DEPTH {
            return None;
        }
        let mut list = Vec::new();
        while !self.take(']') {
            list.push(self.value(depth + 1)?);
            if !self.take(',') && !self.text.starts_with(']') {
                return None;
            }
        }
        Some(Value::List(list))
    }

    /// The rest of a string, up to its closing quote.
    fn string(&mut self) -> Option<&'a str> {
        let mut escaped = false;
        let end = self.text.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        let text = &self.text[..end];
        self.text = &self.text[end + 1..];
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_read() {
        let text = b"# a comment\nvg-1.x_+ {\n\tid = \"a\\\"b\" # more\n n = 12 f=-0.5\n\
                     list = [ \"pv0\", 3 , [] ]\n empty { } }\nend = 1 # no newline\0";
        let all = Section::parse(text).unwrap();
        let group = all.section("vg-1.x_+").unwrap();
        assert_eq!(group.text("id"), Some("a\\\"b"));
        assert_eq!(group.number("n"), Some(12));
        assert_eq!(group.number("f"), None);
        assert_eq!(
            group.list("list").unwrap(),
            [Value::Text("pv0"), Value::Number(3), Value::List(vec![])]
        );
        assert_eq!(group.sections().count(), 1);
        assert_eq!(group.section("empty"), Some(&Section::default()));
        assert_eq!(all.number("end"), Some(1));
        assert_eq!((all.text("vg-1.x_+"), all.list("none")), (None, None));
    }

    #[test]
    fn whatever_else_is_refused() {
        for text in [
            "a",
            "a = ",
            "a {",
            "a }",
            "}",
            "a = \"b",
            "a = [1",
            "a = [1 2]",
            "a = [,]",
            "= 1",
            "a { b = 1 } }",
            "a = b = {",
            "\"a\" = 1",
            "a = {}",
            "a = \u{fc}",
            "a = \"\\\"",
        ] {
            assert_eq!(Section::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Section::parse(b"a = \"\xff\""), None);
        assert!(Section::parse(b"").is_some());
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in [("a {", "}"), ("[", "]")] {
            let nested = |depth: usize| {
                let start = if open == "[" { "a = " } else { "" };
                format!("{start}{}{}", open.repeat(depth), close.repeat(depth))
            };
            assert!(Section::parse(nested(16).as_bytes()).is_some());
            assert!(Section::parse(nested(17).as_bytes()).is_none());
            assert!(Section::parse(nested(100_000).as_bytes()).is_none());
        }
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        for (count, read) in [(199_999, true), (200_000, false)] {
            let text = format!("a = [{}]", "1,".repeat(count));
            assert_eq!(Section::parse(text.as_bytes()).is_some(), read);
        }
    }
}
