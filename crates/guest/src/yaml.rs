//! A few values out of a YAML file, with the lines they are on.
//!
//! cloud-init's configuration is YAML; an inspection wants some twenty values of it. So nothing
//! is built in memory: parser events are followed, and only the wanted paths are kept. An alias is
//! not expanded, hence no "billion laughs"; nesting and the number of events are limited.
//!
//! cloud-init reads with PyYAML, which knows YAML 1.1 and drops a file for things that are allowed
//! here; those are looked for. One is not: two anchors of the same name.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, Span};

/// Deepest nesting followed. cloud-init's own files have five levels.
const MAX_DEPTH: usize = 64;
/// Parser events for all files of one configuration. A stock cloud.cfg has about 300; the slowest
/// text takes some 20 µs for each.
pub(crate) const EVENTS: usize = 40_000;
/// Longest line in which tabs are looked for.
const MAX_TABBED_LINE: usize = 4096;
/// Items kept of one list.
const MAX_ITEMS: usize = 256;

/// A value and the line of its key, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) line: u32,
    pub(crate) content: Content,
}

/// What a value consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Scalar(String),
    List(Vec<Item>),
    /// A mapping, or an alias.
    Other,
}

/// An item of a list and the line it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) line: u32,
    /// The scalar; of a nested list its first scalar, of a mapping the value of its key `name`.
    /// cloud-init names modules and users in these ways.
    pub(crate) text: String,
}

/// Why a text could not be read, and the line at which that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) line: u32,
    pub(crate) what: String,
}

/// Finds the values at `paths` (keys joined by dots, `system_info.default_user.name`) in `text`. As
/// in PyYAML, the last of several equal keys counts. At most `events` parser events are spent, and
/// taken off.
///
/// # Errors
/// If the text is no YAML, or exceeds the limits, or is what cloud-init does not take although it
/// is YAML: no mapping, several documents, a list or mapping as a key, a tag of an application.
/// What was found before that place is lost, as it would be for cloud-init.
pub(crate) fn find(
    text: &str,
    paths: &[&'static str],
    events: &mut usize,
) -> Result<HashMap<&'static str, Value>, Broken> {
    let mut parser = Parser::new_from_str(text);
    let deepest = paths.iter().map(|path| path.split('.').count()).max();
    let mut search = Search {
        paths,
        tabs: Tabs::of(text),
        deepest: deepest.unwrap_or(0),
        found: HashMap::new(),
        stack: Vec::new(),
    };
    let mut documents = 0;
    while *events > 0 {
        *events -= 1;
        let (event, span) = match parser.next_event() {
            None => return Ok(search.found),
            Some(next) => next.map_err(|error| Broken {
                line: line_number(error.marker().line()),
                what: error.info().to_owned(),
            })?,
        };
        match event {
            Event::StreamEnd => return Ok(search.found),
            Event::DocumentStart(_) if documents > 0 => {
                return Err(Broken {
                    line: line_number(span.start.line()),
                    what: "a second document begins".to_owned(),
                });
            }
            Event::DocumentStart(_) => documents += 1,
            event => search.take(event, &span)?,
        }
    }
    Err(Broken {
        line: 1,
        what: format!("the configuration has more than {EVENTS} parts"),
    })
}

fn line_number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

enum Level {
    /// A mapping; the key of the value that comes next and its line, if it has been read.
    Mapping(Option<(String, u32)>),
    /// A list, and whether its items are kept under a wanted path.
    List(Option<&'static str>),
    /// A list that is an item of the list at a path.
    Entry(&'static str),
    /// A mapping that is an item of the list at a path, with its key as above.
    Record(&'static str, Option<(String, u32)>),
}

/// PyYAML stops at a tab before a key or a value, which YAML 1.2 allows in some places.
struct Tabs<'a> {
    /// The lines, if there is any tab.
    lines: Vec<&'a str>,
}

impl<'a> Tabs<'a> {
    fn of(text: &'a str) -> Self {
        let lines = if text.contains('\t') {
            text.lines().collect()
        } else {
            Vec::new()
        };
        Self { lines }
    }

    /// Whether a tab stands right before the place where something begins.
    fn before(&self, start: &Marker) -> bool {
        // Columns count characters, so a long line would take a while; nobody indents that far.
        let line = self.lines.get(start.line().saturating_sub(1));
        let line = line.filter(|line| line.len() <= MAX_TABBED_LINE);
        let column = start.col().checked_sub(1);
        line.zip(column)
            .is_some_and(|(line, column)| line.chars().nth(column) == Some('\t'))
    }
}

struct Search<'a> {
    paths: &'a [&'static str],
    tabs: Tabs<'a>,
    /// Keys in the longest path.
    deepest: usize,
    found: HashMap<&'static str, Value>,
    stack: Vec<Level>,
}

impl Search<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Broken> {
        let line = line_number(span.start.line());
        if !matches!(event, Event::MappingEnd | Event::SequenceEnd) && self.tabs.before(&span.start)
        {
            return Err(Broken {
                line,
                what: "a tab stands where only spaces may".to_owned(),
            });
        }
        if let Event::Scalar(.., Some(tag))
        | Event::SequenceStart(_, Some(tag))
        | Event::MappingStart(_, Some(tag)) = &event
            && !tag.handle.is_empty()
            && !tag.is_yaml_core_schema()
        {
            return Err(Broken {
                line,
                what: format!("the tag `{}{}` is unknown", tag.handle, tag.suffix),
            });
        }
        match event {
            Event::Scalar(text, ..) => self.scalar(&text, line)?,
            Event::Alias(_) => {
                self.value(Content::Other);
                self.item(line, "");
                self.after_value();
            }
            Event::MappingStart(..) => {
                let level = match self.item(line, "") {
                    Some(path) => Level::Record(path, None),
                    None => {
                        self.value(Content::Other);
                        Level::Mapping(None)
                    }
                };
                self.push(level, line)?;
            }
            Event::SequenceStart(..) => {
                if self.stack.is_empty() {
                    return Err(no_mapping(line));
                }
                let level = match self.item(line, "") {
                    Some(path) => Level::Entry(path),
                    None => Level::List(self.value(Content::List(Vec::new()))),
                };
                self.push(level, line)?;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.stack.pop();
                self.after_value();
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, level: Level, line: u32) -> Result<(), Broken> {
        if let Some(Level::Mapping(None) | Level::Record(_, None)) = self.stack.last() {
            return Err(Broken {
                line,
                what: "a key is a list or a mapping".to_owned(),
            });
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(Broken {
                line,
                what: format!("it is nested more than {MAX_DEPTH} deep"),
            });
        }
        self.stack.push(level);
        Ok(())
    }

    fn scalar(&mut self, text: &str, line: u32) -> Result<(), Broken> {
        match self.stack.last_mut() {
            // A file without content, or with comments only, is one empty scalar.
            None if text.is_empty() || text == "~" => {}
            None => return Err(no_mapping(line)),
            Some(Level::Mapping(key @ None) | Level::Record(_, key @ None)) => {
                *key = Some((text.to_owned(), line));
                return Ok(());
            }
            Some(Level::List(Some(_))) => {
                self.item(line, text);
            }
            Some(Level::Entry(path)) => {
                let path = *path;
                self.name_item(path, text);
            }
            Some(Level::Record(path, Some((key, _)))) => {
                let (path, is_name) = (*path, key == "name");
                if is_name {
                    self.name_item(path, text);
                }
            }
            _ => {
                self.value(Content::Scalar(text.to_owned()));
            }
        }
        self.after_value();
        Ok(())
    }

    /// Adds an item if this is the inside of a wanted list; its path is returned then.
    fn item(&mut self, line: u32, text: &str) -> Option<&'static str> {
        let Some(&Level::List(Some(path))) = self.stack.last() else {
            return None;
        };
        if let Some(Content::List(items)) = self.found.get_mut(path).map(|v| &mut v.content)
            && items.len() < MAX_ITEMS
        {
            let text = text.to_owned();
            items.push(Item { line, text });
        }
        Some(path)
    }

    /// Names the last item of a list, if it has no name yet.
    fn name_item(&mut self, path: &'static str, text: &str) {
        if let Some(Content::List(items)) = self.found.get_mut(path).map(|v| &mut v.content)
            && let Some(item) = items.last_mut()
            && item.text.is_empty()
        {
            text.clone_into(&mut item.text);
        }
    }

    /// Keeps a value if its path is wanted; the path is returned then.
    fn value(&mut self, content: Content) -> Option<&'static str> {
        if self.stack.len() > self.deepest {
            return None;
        }
        let mut keys = Vec::new();
        let mut line = 1;
        for level in &self.stack {
            match level {
                Level::Mapping(Some((key, place))) => {
                    keys.push(key.as_str());
                    line = *place;
                }
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

    /// A value of a mapping is complete: the next scalar is a key. An alias may be a key, too, but
    /// none that anybody wants.
    fn after_value(&mut self) {
        if let Some(Level::Mapping(key) | Level::Record(_, key)) = self.stack.last_mut() {
            *key = match key {
                Some(_) => None,
                None => Some((String::new(), 0)),
            };
        }
    }
}

fn no_mapping(line: u32) -> Broken {
    let what = "it is not a mapping of keys to values".to_owned();
    Broken { line, what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever stands in a file, it is read or broken.
        #[test]
        fn no_text_panics(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "datasource_list", "name", ":", " ", "\n", "  ", "- ", "[", "]", "{", "}",
                    ",", "? ", "&x", "*x", "!t ", "|", ">", "'", "\"", "\t", "#", "---\n", "...\n",
                    "%", "\u{e9}", "\0", "~", "<<: ",
                ]),
                0..60,
            ),
        ) {
            let text = parts.concat();
            if let Err(broken) = find(&text, &["a", "datasource_list", "a.name"]) {
                prop_assert!(!broken.what.is_empty());
            }
        }
    }

    fn find(text: &str, paths: &[&'static str]) -> Result<HashMap<&'static str, Value>, Broken> {
        super::find(text, paths, &mut EVENTS.clone())
    }

    fn list(text: &str) -> Option<(u32, Vec<String>)> {
        let mut found = find(text, &["datasource_list"]).unwrap();
        found
            .remove("datasource_list")
            .map(|value| match value.content {
                Content::List(items) => (
                    value.line,
                    items.into_iter().map(|item| item.text).collect(),
                ),
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
    fn nested_values() {
        let text = "system_info:\n  distro: debian\n  default_user:\n    name: debian\n";
        let found = find(text, &["system_info.default_user.name"]).unwrap();
        let value = &found["system_info.default_user.name"];
        assert_eq!(value.content, Content::Scalar("debian".to_owned()));
        assert_eq!(value.line, 4);
    }

    #[test]
    fn what_cloud_init_does_not_take_is_broken() {
        for text in [
            "? [complex, key]\n: value\n",
            "a: {[x]: y}\n",
            "a: 1\n---\nb: 2\n",
            "a: 1\n---\n",
            "a: !thing 1\n",
            "a: !thing {b: 1}\n",
            "a: !thing [b]\n",
            "a: *nowhere\n",
            "\ta: 1\n",
            "a:\t1\n",
            "a:\t[1]\n",
            "a:\n-\t{b: 1}\n",
            "a: [\tb]\n",
            "a:\n\tb: 1\n",
        ] {
            assert!(find(text, &["a"]).is_err(), "{text:?}");
        }
        for text in [
            "---\na: 1\n...\n",
            "a: !!str 1\n",
            "a: &x 1\n*x : 2\n",
            "a: \"\tb\" # \tc\n",
        ] {
            assert!(find(text, &["a"]).is_ok(), "{text:?}");
        }
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
        assert!((2..=4).contains(&error.line), "{error:?}");
        assert!(!error.what.is_empty());
    }

    #[test]
    fn only_mappings_and_nothing_are_configurations() {
        for text in ["", "# comment\n", "---\n...\n", "~\n", "a: 1\n"] {
            assert!(find(text, &["a"]).is_ok(), "{text:?}");
        }
        for text in ["just text\n", "- a\n- b\n", "[a]"] {
            assert_eq!(find(text, &["a"]).unwrap_err().line, 1, "{text:?}");
        }
    }

    #[test]
    fn items_have_lines_and_the_names_of_what_is_nested_in_them() {
        let text = "users:\n  - default\n  - name: eve\n    groups: [a, b]\n  - gecos: X\n    name: bob\n\
            \x20 - [late, always]\n  - {}\n  - last\nz: [q]\n";
        let found = find(text, &["users", "z"]).unwrap();
        let Content::List(items) = &found["users"].content else {
            panic!("{found:?}");
        };
        let items: Vec<_> = items
            .iter()
            .map(|item| (item.line, item.text.as_str()))
            .collect();
        assert_eq!(
            items,
            [
                (2, "default"),
                (3, "eve"),
                (5, "bob"),
                (7, "late"),
                (8, ""),
                (9, "last")
            ]
        );
        assert!(matches!(&found["z"].content, Content::List(items) if items.len() == 1));
    }
}
