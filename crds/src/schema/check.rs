//! The walk over an object and its schema.

use serde_json::{Map, Number, Value};

use super::FieldError;
use super::node::{Array, Node, Object, Shape, Text, Uniqueness};
use crate::scalar;

/// All faults of `value`, which is a whole object.
pub(super) fn object(schema: &Node, value: &Value) -> Vec<FieldError> {
    let mut walk = Walk {
        path: String::new(),
        faults: Vec::new(),
    };
    walk.value(schema, value);
    walk.faults
}

/// Where the walk is, and what it has found.
struct Walk {
    path: String,
    faults: Vec<FieldError>,
}

impl Walk {
    fn fault(&mut self, message: impl Into<String>) {
        let path = if self.path.is_empty() {
            "the object"
        } else {
            &self.path
        };
        self.faults.push(FieldError::new(path, message));
    }

    /// Goes one step down and comes back.
    fn below(&mut self, step: &str, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        visit(self);
        self.path.truncate(length);
    }

    fn value(&mut self, node: &Node, value: &Value) {
        match (&node.0, value) {
            (Shape::Any, _) | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::Object(object), Value::Object(fields)) => self.object(object, fields),
            (Shape::Map { values, max }, Value::Object(fields)) => self.map(values, *max, fields),
            (Shape::Array(array), Value::Array(items)) => self.array(array, items),
            (Shape::String(text) | Shape::IntOrString(text), Value::String(value)) => {
                self.text(text, value);
            }
            (Shape::IntOrString(_), Value::Number(number)) if number.is_u64() => {}
            (Shape::Integer { min, max }, Value::Number(number)) => {
                self.integer(*min, *max, number);
            }
            (Shape::Number { min, max }, Value::Number(number)) => self.number(*min, *max, number),
            (shape, value) => {
                self.fault(format!("must be {}, not {}", expected(shape), found(value)));
            }
        }
    }

    fn object(&mut self, object: &Object, fields: &Map<String, Value>) {
        for name in &object.required {
            if !fields.contains_key(name) {
                self.below(name, |walk| walk.fault("is required"));
            }
        }
        if (fields.len() as u64) < object.min_properties {
            let names: Vec<_> = object.properties.keys().map(String::as_str).collect();
            self.fault(format!("must have at least one of {}", names.join(", ")));
        }
        for (name, value) in fields {
            match object.properties.get(name) {
                Some(node) => self.below(name, |walk| walk.value(node, value)),
                None => self.below(name, |walk| walk.fault(unknown(object, name))),
            }
        }
    }

    fn map(&mut self, values: &Node, max: u64, fields: &Map<String, Value>) {
        if fields.len() as u64 > max {
            self.fault(format!(
                "must have at most {max} entries, not {}",
                fields.len()
            ));
        }
        for (name, value) in fields {
            self.below(name, |walk| walk.value(values, value));
        }
    }

    fn array(&mut self, array: &Array, items: &[Value]) {
        let count = items.len() as u64;
        if count < array.min {
            self.fault(format!(
                "must have at least {} items; or leave it out",
                array.min
            ));
        }
        if count > array.max {
            self.fault(format!(
                "must have at most {} items, not {count}",
                array.max
            ));
            return;
        }
        for (index, item) in items.iter().enumerate() {
            self.below(&format!("[{index}]"), |walk| {
                walk.value(&array.items, item);
                if let Some(twice) = duplicate(&array.uniqueness, items, index) {
                    walk.fault(format!("is there twice: {twice}"));
                }
            });
        }
    }

    fn text(&mut self, text: &Text, value: &str) {
        let length = value.chars().count() as u64;
        if !text.values.is_empty() {
            if !text.values.iter().any(|allowed| allowed == value) {
                self.fault(format!(
                    "must be one of {}, not {value:?}",
                    text.values.join(", ")
                ));
            }
        } else if let Some(error) = text
            .scalar
            .as_ref()
            .and_then(|name| scalar::check(name, value).err())
        {
            self.fault(error.to_string());
        } else if length < text.min {
            self.fault("must not be empty");
        } else if length > text.max {
            self.fault(format!(
                "must have at most {} characters, not {length}",
                text.max
            ));
        } else if let Some(pattern) = text.pattern.as_ref().filter(|p| !p.is_match(value)) {
            self.fault(format!("{value:?} does not match {pattern}"));
        }
    }

    fn integer(&mut self, min: Option<i64>, max: Option<i64>, number: &Number) {
        match number.as_i64() {
            Some(value)
                if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) =>
            {
                self.fault(format!("must be {}, not {value}", range(min, max)));
            }
            Some(_) => {}
            None => self.fault(format!("must be a whole number, not {number}")),
        }
    }

    fn number(&mut self, min: Option<f64>, max: Option<f64>, number: &Number) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        let inside = min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max);
        if !inside {
            self.fault(format!("must be {}, not {value}", range(min, max)));
        }
    }
}

/// What stands twice, when the item at `index` repeats an earlier one.
fn duplicate(uniqueness: &Uniqueness, items: &[Value], index: usize) -> Option<String> {
    let (earlier, rest) = items.split_at_checked(index)?;
    let item = rest.first()?;
    match uniqueness {
        Uniqueness::None => None,
        Uniqueness::Items => earlier.contains(item).then(|| item.to_string()),
        Uniqueness::Keys(keys) => {
            let key = |item: &Value| -> Vec<Value> {
                keys.iter()
                    .map(|key| item.get(key).cloned().unwrap_or_default())
                    .collect()
            };
            let own = key(item);
            let shown: Vec<_> = keys
                .iter()
                .zip(&own)
                .map(|(key, value)| format!("{key} {value}"))
                .collect();
            earlier
                .iter()
                .any(|other| key(other) == own)
                .then(|| shown.join(", "))
        }
    }
}

fn range<T: std::fmt::Display>(min: Option<T>, max: Option<T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("between {min} and {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "a number".to_owned(),
    }
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Object(_) | Shape::Map { .. } => "an object",
        Shape::Array(_) => "a list",
        Shape::String(_) => "a string (put it in quotes if it looks like something else)",
        Shape::IntOrString(_) => "a whole number or a string",
        Shape::Integer { .. } => "a whole number",
        Shape::Number { .. } => "a number",
        Shape::Boolean => "true or false",
        Shape::Any => "anything",
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => format!("{:?}", value.chars().take(80).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// An unknown field, with the known one that its writer may have meant.
fn unknown(object: &Object, name: &str) -> String {
    let nearest = object
        .properties
        .keys()
        .map(|known| (edits(&known.to_lowercase(), &name.to_lowercase()), known))
        .min()
        .filter(|(edits, _)| *edits <= 2);
    match nearest {
        Some((_, known)) => format!("is unknown; did you mean {known}?"),
        None => {
            let names: Vec<_> = object.properties.keys().map(String::as_str).collect();
            format!("is unknown here; known are {}", names.join(", "))
        }
    }
}

/// Levenshtein's distance: how many letters differ.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut previous = i + 1;
        for (right, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = *above;
            previous = replaced.min(previous + 1).min(diagonal + 1);
            *above = previous;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
