//! YAML documents as JSON values that remember the line of each field.
//!
//! Text goes in, one [`Document`] for each `---` comes out. Duplicate keys, unknown anchors and
//! documents that are too large or too deep are errors with their line.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;

/// One document.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its content.
    pub value: Value,
    /// The line, from 1, of the document itself (key `""`) and of each field
    /// (`spec.listeners[0].port`).
    pub lines: BTreeMap<String, u64>,
}

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct YamlError {
    /// The line, from 1; absent when the parser does not know it.
    pub line: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl Document {
    /// The line of a field, or of the nearest field around it.
    #[must_use]
    pub fn line_of(&self, path: &str) -> u64 {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(cut) => path = path.get(..cut).unwrap_or_default(),
                None => return self.lines.get("").copied().unwrap_or(1),
            }
        }
    }
}

/// Reads all documents of a text; empty ones are left out.
///
/// # Errors
/// When the text is not YAML.
pub fn parse(text: &str) -> Result<Vec<Document>, YamlError> {
    let trees: Vec<Spanned<Tree>> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        YamlError {
            line,
            reason: reason(&error.to_string()),
        }
    })?;
    Ok(trees
        .into_iter()
        .filter(|tree| !matches!(tree.value, Tree::Scalar(Value::Null)))
        .map(|tree| {
            let mut lines = BTreeMap::new();
            let value = flatten(tree, String::new(), &mut lines);
            Document { value, lines }
        })
        .collect())
}

/// The parser's message for a person: without the line, which is told apart, and the picture that
/// follows; with what to do where it does not say.
fn reason(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let told = line.strip_prefix("line ").and_then(|rest| {
        let (_, rest) = rest.split_once(" column ")?;
        rest.split_once(": ")
    });
    let (column, what) = told.unwrap_or(("", line));
    if what.starts_with("budget breached") {
        return "too much for one file, where an alias counts as all that it stands for: \
                write less, or part it into several files"
            .to_owned();
    }
    let hint = if what.starts_with("tabs disallowed") {
        ": indent with spaces"
    } else {
        ""
    };
    if column.is_empty() {
        format!("{what}{hint}")
    } else {
        format!("{what}{hint} (column {column})")
    }
}

/// A value whose parts know where they stand.
#[derive(Debug)]
enum Tree {
    Scalar(Value),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(String, Spanned<Tree>)>),
}

fn flatten(tree: Spanned<Tree>, path: String, lines: &mut BTreeMap<String, u64>) -> Value {
    lines.insert(path.clone(), tree.referenced.line());
    match tree.value {
        Tree::Scalar(value) => value,
        Tree::List(items) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| flatten(item, format!("{path}[{index}]"), lines))
            .collect(),
        Tree::Map(fields) => fields
            .into_iter()
            .map(|(name, field)| {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                (name, flatten(field, below, lines))
            })
            .collect(),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Bool(truth)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        // `.inf` and `.nan` have no JSON: they stay text, which no field of ours takes.
        let value = Number::from_f64(number)
            .map_or_else(|| Value::String(number.to_string()), Value::Number);
        Ok(Tree::Scalar(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::String(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(field) = fields.next_entry()? {
            map.push(field);
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_knows_its_line() {
        let text =
            "# first\nkind: A\nspec:\n  list:\n  - name: one\n    port: 25\n---\n\nkind: B\n";
        let documents = parse(text).unwrap();
        let [first, second] = documents.as_slice() else {
            panic!("two documents")
        };
        assert_eq!(first.value["spec"]["list"][0]["port"], 25);
        assert_eq!(first.line_of("spec.list[0].port"), 6);
        assert_eq!(first.line_of("spec.list[0].missing"), 5);
        assert_eq!(first.line_of("spec.list[7].name"), 5);
        assert_eq!(second.line_of("kind"), 9);
    }

    #[test]
    fn a_duplicate_key_is_an_error_with_its_line() {
        let error = parse("kind: A\nspec: 1\nspec: 2\n").unwrap_err();
        assert_eq!(error.line, Some(3), "{error}");
        assert!(error.reason.contains("spec"), "{error}");
    }

    #[test]
    fn text_that_is_not_yaml_is_an_error_with_its_line() {
        let error = parse("kind: A\nspec: [1, 2\nmore: {").unwrap_err();
        assert!(error.line.is_some_and(|line| line >= 2), "{error:?}");
    }

    #[test]
    fn an_empty_document_is_none() {
        assert!(parse("---\n---\n# nothing\n").unwrap().is_empty());
    }
}
