//! A few values out of a YAML file, with the lines they are on.
//!
//! cloud-init's configuration is YAML; an inspection wants three or four values of it. So nothing
//! is built in memory: parser events are followed, and only the wanted paths are kept. An alias is
//! not expanded, hence no "billion laughs"; nesting and the number of events are limited.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScanError, Span};

/// Deepest nesting followed. cloud-init's own files have five levels.
const MAX_DEPTH: usize = 64;
/// Parser events for all files of one configuration. A stock cloud.cfg has about 300; the slowest
/// text takes some 20 µs for each.
pub(crate) const EVENTS: usize = 40_000;
/// Items kept of one list.
const MAX_ITEMS: usize = 256;

/// A value and the line it begins on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) line: u32,
    pub(crate) content: Content,
}

/// What a value consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Scalar(String),
    /// The scalars of a list; nested items are left out.
    List(Vec<String>),
    /// A mapping, or an alias.
    Other,
}

/// Finds the values at `paths` (keys joined by dots, `system_info.default_user.name`) in the first
/// document of `text`. As in PyYAML, the last of several equal keys counts. At most `events`
/// parser events are spent, and taken off.
///
/// # Errors
/// One sentence with the line, if the text is no YAML or exceeds the limits. What was found before
/// that place is lost, as it would be for cloud-init.
pub(crate) fn find(
    text: &str,
    paths: &[&'static str],
    events: &mut usize,
) -> Result<HashMap<&'static str, Value>, String> {
    let mut parser = Parser::new_from_str(text);
    let mut search = Search {
        paths,
        found: HashMap::new(),
        stack: Vec::new(),
    };
    while *events > 0 {
        *events -= 1;
        let (event, span) = match parser.next_event() {
            None => return Ok(search.found),
            Some(next) => next.map_err(|error| sentence(&error))?,
        };
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            return Ok(search.found);
        }
        search.take(event, &span)?;
    }
    Err(format!("the configuration has more than {EVENTS} parts"))
}

fn sentence(error: &ScanError) -> String {
    format!("line {}: {}", error.marker().line(), error.info())
}

enum Level {
    /// A mapping; the key of the value that comes next, if its key has been read.
    Mapping(Option<String>),
    /// A list, and whether its scalars are kept under a wanted path.
    List(Option<&'static str>),
}

struct Search<'a> {
    paths: &'a [&'static str],
    found: HashMap<&'static str, Value>,
    stack: Vec<Level>,
}

impl Search<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), String> {
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        match event {
            Event::Scalar(text, ..) => self.scalar(&text, line),
            Event::Alias(_) => {
                self.value(line, Content::Other);
                self.after_value();
            }
            Event::MappingStart(..) => {
                self.value(line, Content::Other);
                self.push(Level::Mapping(None), line)?;
            }
            Event::SequenceStart(..) => {
                let wanted = self.value(line, Content::List(Vec::new()));
                self.push(Level::List(wanted), line)?;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.stack.pop();
                self.after_value();
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, level: Level, line: u32) -> Result<(), String> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(format!(
                "line {line}: it is nested more than {MAX_DEPTH} deep"
            ));
        }
        self.stack.push(level);
        Ok(())
    }

    fn scalar(&mut self, text: &str, line: u32) {
        match self.stack.last_mut() {
            Some(Level::Mapping(key @ None)) => *key = Some(text.to_owned()),
            Some(Level::List(Some(path))) => {
                if let Some(Value {
                    content: Content::List(items),
                    ..
                }) = self.found.get_mut(path)
                    && items.len() < MAX_ITEMS
                {
                    items.push(text.to_owned());
                }
            }
            _ => {
                self.value(line, Content::Scalar(text.to_owned()));
                self.after_value();
            }
        }
    }

    /// Keeps a value if its path is wanted; the path is returned then.
    fn value(&mut self, line: u32, content: Content) -> Option<&'static str> {
        let mut keys = Vec::new();
        for level in &self.stack {
            match level {
                Level::Mapping(Some(key)) => keys.push(key.as_str()),
                _ => return None,
            }
        }
        let path = *self
            .paths
            .iter()
            .find(|path| path.split('.').eq(keys.iter().copied()))?;
        self.found.insert(path, Value { line, content });
        Some(path)
    }

    /// A value of a mapping is complete: the next scalar is a key. A complex key counts as a key
    /// that nobody wants.
    fn after_value(&mut self) {
        if let Some(Level::Mapping(key)) = self.stack.last_mut() {
            *key = match key {
                Some(_) => None,
                None => Some(String::new()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, paths: &[&'static str]) -> Result<HashMap<&'static str, Value>, String> {
        super::find(text, paths, &mut EVENTS.clone())
    }

    fn list(text: &str) -> Option<(u32, Vec<String>)> {
        let mut found = find(text, &["datasource_list"]).unwrap();
        found
            .remove("datasource_list")
            .map(|value| match value.content {
                Content::List(items) => (value.line, items),
                other => panic!("{other:?}"),
            })
    }

    #[test]
    fn flow_and_block_lists_are_found_with_their_lines() {
        let wanted = vec!["NoCloud".to_owned(), "ConfigDrive".to_owned()];
        let flow = "# to update\ndatasource_list: [ NoCloud, ConfigDrive ]\n";
        assert_eq!(list(flow), Some((2, wanted.clone())));
        let block = "a: {b: [c]}\ndatasource_list:\n  - NoCloud\n  - ConfigDrive\nz: 1\n";
        assert_eq!(list(block).unwrap().1, wanted);
    }

    #[test]
    fn only_the_right_depth_counts_and_the_last_key_wins() {
        assert_eq!(list("other:\n  datasource_list: [A]\n"), None);
        assert_eq!(list("x: [{datasource_list: [A]}]\n"), None);
        let twice = "datasource_list: [A]\ndatasource_list: [B]\n";
        assert_eq!(list(twice), Some((2, vec!["B".to_owned()])));
    }

    #[test]
    fn nested_values_and_complex_keys() {
        let text = "? [complex, key]\n: value\nsystem_info:\n  distro: debian\n  default_user:\n    name: debian\n";
        let found = find(text, &["system_info.default_user.name"]).unwrap();
        let value = &found["system_info.default_user.name"];
        assert_eq!(value.content, Content::Scalar("debian".to_owned()));
        assert_eq!(value.line, 6);
    }

    #[test]
    fn bombs_end_quickly() {
        let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for i in 1..64 {
            let before = i - 1;
            laughs += &format!("a{i}: &a{i} [*a{before},*a{before},*a{before},*a{before}]\n");
        }
        laughs += "datasource_list: *a63\n";
        let found = find(&laughs, &["datasource_list"]).unwrap();
        assert_eq!(found["datasource_list"].content, Content::Other);

        let start = std::time::Instant::now();
        assert!(find(&"[".repeat(1 << 20), &["a"]).is_err());
        assert!(find(&"- ".repeat(1 << 19), &["a"]).is_err());
        assert!(find(&"{a: ".repeat(1 << 18), &["a"]).is_err());
        assert!(find(&"? ".repeat(1 << 19), &["a"]).is_err());
        assert!(find(&"- a\n".repeat(1 << 18), &["a"]).is_err());
        assert!(find(&format!("[{}]", "a,".repeat(1 << 17)), &["a"]).is_err());
        let _ = find(&"a".repeat(1 << 20), &["a"]);
        let _ = find(&"&a ".repeat(1 << 18), &["a"]);
        let _ = find(&"\"\\".repeat(1 << 18), &["a"]);
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn broken_yaml_names_the_line() {
        let error = find("a: 1\nb: [1, 2\nc: 3\n", &["a"]).unwrap_err();
        assert!(error.contains("line "), "{error}");
    }
}
