//! What the server says beside the payload of a message of its own.

/// MQTT 5.0 properties of a message that the server itself sends, as they are on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(Vec<u8>);

impl Properties {
    /// What all properties of a message together may take; what does not fit is left out.
    const BYTES: usize = 4096;

    /// Content Type, §3.3.2.3.9.
    #[must_use]
    pub fn content_type(mut self, media: &str) -> Self {
        self.put(0x03, &[media]);
        self
    }

    /// A User Property, §3.3.2.3.7.
    #[must_use]
    pub fn user(mut self, name: &str, value: &str) -> Self {
        self.put(0x26, &[name, value]);
        self
    }

    fn put(&mut self, id: u8, texts: &[&str]) {
        let bytes: usize = texts.iter().map(|text| text.len().saturating_add(2)).sum();
        if self.0.len().saturating_add(bytes) >= Self::BYTES {
            return;
        }
        self.0.push(id);
        for text in texts {
            let len = u16::try_from(text.len()).unwrap_or_default();
            self.0.extend_from_slice(&len.to_be_bytes());
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_as_mqtt_has_them_and_bounded() {
        let some = Properties::default().content_type("a/b").user("k", "v");
        assert_eq!(some.encoded(), b"\x03\x00\x03a/b\x26\x00\x01k\x00\x01v");
        let long = "x".repeat(5000);
        assert_eq!(some.clone().user("k", &long), some, "what does not fit is left out");
    }
}
