//! A TOML document whose values remember where they came from.
//!
//! Overrides from the environment and the command line are values of the same tree. Their spans
//! lie beyond the end of the text: the first override at one byte beyond it, the second at two,
//! and so on. So one span tells of every value, and of every error of the deserialiser, what it
//! came from.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Where in the text something lies, or which override it is.
pub type Span = Range<usize>;

/// A value that replaces one of the file.
#[derive(Debug, Clone)]
pub struct Override {
    /// The setting: keys, and indexes of elements.
    pub path: Vec<String>,
    /// TOML, or a text as it is.
    pub value: String,
}

/// A document with overrides.
#[derive(Debug, Clone)]
pub struct Document<'i> {
    root: DeTable<'i>,
    length: usize,
}

impl<'i> Document<'i> {
    /// Reads `text`.
    ///
    /// # Errors
    /// With everything that is not TOML.
    pub fn parse(text: &'i str) -> Result<Self, Vec<toml::de::Error>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            root: root.into_inner(),
            length: text.len(),
        })
    }

    /// The span of the override `index`.
    pub fn override_span(&self, index: usize) -> Span {
        let start = self.length + 1 + index;
        start..start + 1
    }

    /// Which override `span` is, if it is one.
    pub fn override_index(&self, span: &Span) -> Option<usize> {
        span.start.checked_sub(self.length + 1)
    }

    /// Puts the override `index` in its place: as TOML where it can be read as that and
    /// `as_text` is false, or else as a text.
    ///
    /// # Errors
    /// When something on the way to the setting is no section.
    pub fn apply(&mut self, index: usize, with: &'i Override, as_text: bool) -> Result<(), String> {
        let span = self.override_span(index);
        let parsed = if as_text {
            None
        } else {
            DeValue::parse(&with.value).ok()
        };
        let mut value = parsed.map_or_else(
            || DeValue::String(Cow::Borrowed(&with.value)),
            Spanned::into_inner,
        );
        respan(&mut value, &span);
        set(
            &mut self.root,
            &with.path,
            Spanned::new(span.clone(), value),
            &span,
        )
    }

    /// What the document says, as a `T`.
    ///
    /// # Errors
    /// With the first value that does not fit.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, toml::de::Error> {
        let root = Spanned::new(0..self.length, self.root.clone());
        T::deserialize(toml::Deserializer::from(root))
    }

    /// The span of the setting at `path`, if the document has it.
    pub fn span_of(&self, path: &[String]) -> Option<Span> {
        let (first, rest) = path.split_first()?;
        let mut value = self.root.get(first.as_str())?;
        for step in rest {
            value = match value.get_ref() {
                DeValue::Table(table) => table.get(step.as_str())?,
                DeValue::Array(array) => array.get(step.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(value.span())
    }

    /// The path to what has exactly `span`, or else to the innermost value around it.
    pub fn path_at(&self, span: &Span) -> Option<Vec<String>> {
        let mut path = Vec::new();
        find(&self.root, span, &mut path).then_some(path)
    }

    /// Takes out what is at `path`.
    pub fn remove(&mut self, path: &[String]) {
        if let [key] = path {
            self.root.remove(key.as_str());
        } else if let Some((first, rest)) = path.split_first()
            && let Some(value) = self.root.get_mut(first.as_str())
        {
            remove(value.get_mut(), rest);
        }
    }
}

/// An override is one place, however many values it has inside.
fn respan(value: &mut DeValue<'_>, span: &Span) {
    match value {
        DeValue::Array(array) => {
            for item in array.iter_mut() {
                respan(item.get_mut(), span);
                let inner = std::mem::replace(item.get_mut(), DeValue::Boolean(false));
                *item = Spanned::new(span.clone(), inner);
            }
        }
        DeValue::Table(table) => {
            for (key, mut item) in std::mem::take(table) {
                respan(item.get_mut(), span);
                table.insert(
                    Spanned::new(span.clone(), key.into_inner()),
                    Spanned::new(span.clone(), item.into_inner()),
                );
            }
        }
        _ => {}
    }
}

fn set<'i>(
    table: &mut DeTable<'i>,
    path: &[String],
    value: Spanned<DeValue<'i>>,
    span: &Span,
) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        return Err("names no setting".to_owned());
    };
    let own_key = || Spanned::new(span.clone(), Cow::Owned(key.clone()));
    if rest.is_empty() {
        // Removed first: an equal key would stay, with the span of the old value.
        table.remove(key.as_str());
        table.insert(own_key(), value);
        return Ok(());
    }
    if !table.contains_key(key.as_str()) {
        let empty = DeValue::Table(DeTable::new());
        table.insert(own_key(), Spanned::new(span.clone(), empty));
    }
    let inner = table.get_mut(key.as_str()).map(Spanned::get_mut);
    match inner {
        Some(DeValue::Table(table)) => set(table, rest, value, span),
        Some(DeValue::Array(array)) => set_element(array, key, rest, value, span),
        _ => Err(format!("`{key}` is no section")),
    }
}

fn set_element<'i>(
    array: &mut DeArray<'i>,
    key: &str,
    path: &[String],
    value: Spanned<DeValue<'i>>,
    span: &Span,
) -> Result<(), String> {
    let count = array.len();
    let element = path
        .first()
        .and_then(|index| index.parse::<usize>().ok())
        .and_then(|index| array.get_mut(index))
        .ok_or_else(|| {
            format!("`{key}` is a list of {count}; name an element by its index, from 0")
        })?;
    match (element.get_mut(), path.get(1..).unwrap_or_default()) {
        (_, []) => {
            *element = value;
            Ok(())
        }
        (DeValue::Table(table), rest) => set(table, rest, value, span),
        _ => Err(format!("the elements of `{key}` are no sections")),
    }
}

fn find(table: &DeTable<'_>, span: &Span, path: &mut Vec<String>) -> bool {
    table.iter().any(|(key, value)| {
        path.push(key.get_ref().to_string());
        let found = find_value(value.get_ref(), span, path)
            || covers(&key.span(), span)
            || covers(&value.span(), span);
        if !found {
            path.pop();
        }
        found
    })
}

fn find_value(value: &DeValue<'_>, span: &Span, path: &mut Vec<String>) -> bool {
    match value {
        DeValue::Table(table) => find(table, span, path),
        DeValue::Array(array) => array.iter().enumerate().any(|(index, item)| {
            path.push(index.to_string());
            let found = find_value(item.get_ref(), span, path) || covers(&item.span(), span);
            if !found {
                path.pop();
            }
            found
        }),
        _ => false,
    }
}

fn covers(outer: &Span, inner: &Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn remove(value: &mut DeValue<'_>, path: &[String]) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    match value {
        DeValue::Table(table) if rest.is_empty() => {
            table.remove(step.as_str());
        }
        DeValue::Table(table) => {
            if let Some(inner) = table.get_mut(step.as_str()) {
                remove(inner.get_mut(), rest);
            }
        }
        DeValue::Array(array) => {
            let Ok(index) = step.parse::<usize>() else {
                return;
            };
            if !rest.is_empty() {
                if let Some(inner) = array.get_mut(index) {
                    remove(inner.get_mut(), rest);
                }
                return;
            }
            let mut kept = DeArray::new();
            for (at, item) in array.iter().enumerate() {
                if at != index {
                    kept.push(item.clone());
                }
            }
            *array = kept;
        }
        _ => {}
    }
}
