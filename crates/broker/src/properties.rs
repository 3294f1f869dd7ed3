//! What the server says beside the payload of a message of its own, and what stands beside one that is kept.

use bytes::Bytes;

/// What MQTT 5.0 says beside a message and hands on with it (§3.3.2.3), read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The payload is text in UTF-8.
    pub utf8: bool,
    pub content_type: Option<String>,
    pub response_topic: Option<String>,
    pub correlation: Option<Bytes>,
    /// In their order; a name may stand more than once.
    pub user: Vec<(String, String)>,
}

/// Together they are longer than a message may carry, or one of them than MQTT can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the properties of the message are longer than {} bytes", Properties::BYTES)]
pub struct LongProperties;

/// MQTT 5.0 properties of a message that the server itself sends, as they are on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(Vec<u8>);

impl Properties {
    /// What all properties of a message together may take; what does not fit is left out.
    pub const BYTES: usize = 4096;

    /// All of these, or none.
    ///
    /// # Errors
    /// [`LongProperties`].
    pub fn of(beside: &Beside) -> Result<Self, LongProperties> {
        let mut all = Self::default();
        let mut whole = !beside.utf8 || all.put(0x01, &[], &[1]);
        for (id, text) in [(0x03, &beside.content_type), (0x08, &beside.response_topic)] {
            whole &= text.as_ref().is_none_or(|text| all.put(id, &[text.as_bytes()], &[]));
        }
        whole &= beside.correlation.as_ref().is_none_or(|bytes| all.put(0x09, &[bytes], &[]));
        for (name, value) in &beside.user {
            whole &= all.put(0x26, &[name.as_bytes(), value.as_bytes()], &[]);
        }
        whole.then_some(all).ok_or(LongProperties)
    }

    /// Content Type, §3.3.2.3.9.
    #[must_use]
    pub fn content_type(mut self, media: &str) -> Self {
        self.put(0x03, &[media.as_bytes()], &[]);
        self
    }

    /// A User Property, §3.3.2.3.7.
    #[must_use]
    pub fn user(mut self, name: &str, value: &str) -> Self {
        self.put(0x26, &[name.as_bytes(), value.as_bytes()], &[]);
        self
    }

    /// A property of texts with their lengths, then of bytes as they are; `false` where it does not fit.
    fn put(&mut self, id: u8, texts: &[&[u8]], bytes: &[u8]) -> bool {
        let len: usize = texts.iter().map(|text| text.len().saturating_add(2)).sum();
        if self.0.len().saturating_add(len).saturating_add(bytes.len()) >= Self::BYTES {
            return false;
        }
        self.0.push(id);
        for text in texts {
            let len = u16::try_from(text.len()).unwrap_or_default();
            self.0.extend_from_slice(&len.to_be_bytes());
            self.0.extend_from_slice(text);
        }
        self.0.extend_from_slice(bytes);
        true
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::publish::beside;

    #[test]
    fn they_are_as_mqtt_has_them_and_bounded() {
        let some = Properties::default().content_type("a/b").user("k", "v");
        assert_eq!(some.encoded(), b"\x03\x00\x03a/b\x26\x00\x01k\x00\x01v");
        let long = "x".repeat(5000);
        assert_eq!(some.clone().user("k", &long), some, "what does not fit is left out");
        let beside = Beside { user: vec![("k".to_owned(), long)], ..Beside::default() };
        assert_eq!(Properties::of(&beside), Err(LongProperties));
    }

    proptest! {
        #[test]
        fn what_is_said_is_read(
            utf8: bool,
            texts in proptest::collection::vec("[a-z/é]{0,20}", 2),
            correlation in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            user in proptest::collection::vec(("[a-z]{0,9}", "\\PC{0,9}"), 0..9),
        ) {
            let [content_type, response_topic] = <[String; 2]>::try_from(texts).expect("two").map(Some);
            let said = Beside { utf8, content_type, response_topic, correlation: correlation.map(Bytes::from), user };
            prop_assert_eq!(beside(Properties::of(&said).expect("short").encoded()), said);
        }

        #[test]
        fn anything_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            beside(&bytes);
        }
    }
}
