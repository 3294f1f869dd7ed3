//! Enums that are stored and shown as one fixed text each, and lines that people write.

/// A text that is none of the known ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}")]
pub struct UnknownText {
    /// What was expected, in words.
    pub kind: &'static str,
}

/// Defines an enum whose variants have one spelling: `as_str`, `ALL`, `Display`, `FromStr` and serde all agree on it.
macro_rules! text_enum {
    ($(#[$doc:meta])* pub enum $name:ident ($kind:literal) { $($(#[$vdoc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The one spelling that is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::text::UnknownText;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::text::UnknownText { kind: $kind }),
                }
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::text::UnknownText;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$name> for &'static str {
            fn from(value: $name) -> Self {
                value.as_str()
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use text_enum;

/// A line that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{least} to {most} bytes without control characters")]
pub struct BadLine {
    least: usize,
    most: usize,
}

/// Holds a name or a reason to its limit: some text, on one line.
///
/// # Errors
/// [`BadLine`] for one that is blank, too long, or has control characters.
pub fn check_line(text: &str, most: usize) -> Result<(), BadLine> {
    if text.trim().is_empty() {
        Err(BadLine { least: 1, most })
    } else {
        check_note(text, most).map_err(|bad| BadLine { least: 1, ..bad })
    }
}

/// As [`check_line`], for a note that may be empty.
///
/// # Errors
/// [`BadLine`] for one that is too long, or has control characters.
pub fn check_note(text: &str, most: usize) -> Result<(), BadLine> {
    if text.len() > most || text.chars().any(char::is_control) { Err(BadLine { least: 0, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_notes() {
        for (text, line, note) in [
            ("a reason", true, true),
            ("é é", true, true),
            ("12345678", true, true),
            ("123456789", false, false),
            ("ééééé", false, false),
            ("", false, true),
            ("  ", false, true),
            ("a\nb", false, false),
            ("a\u{85}b", false, false),
        ] {
            assert_eq!((check_line(text, 8).is_ok(), check_note(text, 8).is_ok()), (line, note), "{text:?}");
        }
        let told = check_line("", 8).map_err(|bad| bad.to_string());
        assert_eq!(told, Err("1 to 8 bytes without control characters".to_owned()));
    }
}
