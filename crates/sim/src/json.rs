//! Reading JSON that others wrote: what is not there is `null`, and nothing panics.

use anyhow::Context as _;
use serde_json::Value;

static NULL: Value = Value::Null;

/// What stands at a JSON pointer, or `null`.
pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&NULL)
}

/// A count at a JSON pointer; zero where there is none.
pub fn count(value: &Value, pointer: &str) -> u64 {
    at(value, pointer).as_u64().unwrap_or(0)
}

/// A text field that must be there.
pub fn text(value: &Value, field: &str) -> anyhow::Result<String> {
    let found = value.get(field).and_then(Value::as_str).with_context(|| format!("the answer has no `{field}`"))?;
    Ok(found.to_owned())
}

/// The object with one more field; anything else becomes an object with that field alone.
pub fn with(object: Value, field: &str, value: impl Into<Value>) -> Value {
    let mut fields = match object {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    fields.insert(field.to_owned(), value.into());
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_is_null() {
        let value = json!({ "a": { "b": 3 }, "t": "x" });
        assert_eq!((count(&value, "/a/b"), count(&value, "/a/c")), (3, 0));
        assert_eq!(text(&value, "t").expect("it is there"), "x");
        assert!(text(&value, "a").is_err());
        assert_eq!(with(json!({ "a": 1 }), "b", 2), json!({ "a": 1, "b": 2 }));
        assert_eq!(with(Value::Null, "b", 2), json!({ "b": 2 }));
    }
}
