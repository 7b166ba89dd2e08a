//! A configuration as the text of a file, with the origin of each value behind it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::mistake::Origin;
use super::secret::mask_url;

/// `config` as TOML; `origin` says where the value at a path comes from, `None` if it is the
/// default.
pub fn render(config: &Value, origin: impl Fn(&[String]) -> Option<Origin>) -> String {
    let mut out = Output {
        text: String::new(),
        origin,
    };
    if let Value::Object(sections) = config {
        out.section(sections, &mut Vec::new());
    }
    out.text
}

/// What a section is called in TOML, where the elements of a list have no numbers.
fn name(path: &[String]) -> String {
    let steps = path.iter().map(String::as_str);
    let steps: Vec<_> = steps.filter(|s| s.parse::<usize>().is_err()).collect();
    steps.join(".")
}

struct Output<F> {
    text: String,
    origin: F,
}

impl<F: Fn(&[String]) -> Option<Origin>> Output<F> {
    /// The plain values first: in TOML, what follows a header belongs to it.
    fn section(&mut self, section: &Map<String, Value>, path: &mut Vec<String>) {
        for (key, value) in section.iter().filter(|(_, value)| !is_section(value)) {
            path.push(key.clone());
            self.line(key, value, path);
            path.pop();
        }
        for (key, value) in section.iter().filter(|(_, value)| is_section(value)) {
            path.push(key.clone());
            match value {
                Value::Object(inner) => self.headed(&format!("[{}]", name(path)), inner, path),
                Value::Array(items) => {
                    let header = format!("[[{}]]", name(path));
                    for (index, item) in items.iter().enumerate() {
                        path.push(index.to_string());
                        if let Value::Object(inner) = item {
                            self.headed(&header, inner, path);
                        }
                        path.pop();
                    }
                }
                _ => {}
            }
            path.pop();
        }
    }

    fn headed(&mut self, header: &str, section: &Map<String, Value>, path: &mut Vec<String>) {
        let _ = writeln!(self.text, "\n{header}");
        self.section(section, path);
    }

    fn line(&mut self, key: &str, value: &Value, path: &[String]) {
        let origin = (self.origin)(path).map_or_else(|| "default".to_owned(), |o| o.to_string());
        let line = match toml_value(value) {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} is not set"),
        };
        let _ = writeln!(self.text, "{line:<48} # {origin}");
    }
}

fn is_section(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => matches!(items.first(), Some(Value::Object(_))),
        _ => false,
    }
}

fn toml_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(toml::Value::String(mask_url(text)).to_string()),
        other => Some(other.to_string()),
    }
}
