//! Small types of request bodies.

use fleetward_core::registry::Patch;
use serde::{Deserialize, Deserializer};

/// A field of a change: absent keeps, `null` clears, a value sets. With `#[serde(default, deserialize_with = "given")]`.
pub type Given<T> = Option<Option<T>>;

pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Given<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub fn patch<T>(given: Given<T>) -> Patch<T> {
    match given {
        None => Patch::Keep,
        Some(None) => Patch::Clear,
        Some(Some(value)) => Patch::Set(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "given")]
        owner: Given<String>,
    }

    #[test]
    fn absent_null_and_value_differ() {
        let read = |text: &str| patch(serde_json::from_str::<Body>(text).expect("good").owner);
        assert_eq!(read("{}"), Patch::Keep);
        assert_eq!(read(r#"{"owner":null}"#), Patch::Clear);
        assert_eq!(read(r#"{"owner":"ops"}"#), Patch::Set("ops".to_owned()));
    }
}
