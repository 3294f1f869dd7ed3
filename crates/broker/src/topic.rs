//! Topic names and filters (MQTT 5.0 §4.7): what is one, and which filter matches which name.
//!
//! Stricter than the standard where it leaves a choice: control characters are refused, and length and depth have limits,
//! so that nothing here recurses or grows with what a client sends.

use fleetward_base::limits;

/// Why a text is not a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadFilter {
    /// Empty, too long, too deep, control characters, or a wildcard where none may stand; `$share` without a name or a
    /// filter.
    Invalid,
}

/// The name and the filter of `$share/{name}/{filter}` (§4.8.2); None for any other filter.
pub(crate) fn split_share(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix("$share/")?.split_once('/')
}

fn valid_text(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::MQTT_TOPIC_BYTES
        && !text.bytes().any(|b| b < 0x20 || b == 0x7F)
        && (text.is_ascii() || !text.chars().any(char::is_control))
        && text.bytes().filter(|b| *b == b'/').count() < limits::MQTT_TOPIC_LEVELS
}

/// A name that a message can be published to.
pub(crate) fn valid_name(topic: &str) -> bool {
    valid_text(topic) && !topic.bytes().any(|b| matches!(b, b'+' | b'#'))
}

/// Whether a message can be published to it.
pub fn is_name(topic: &str) -> bool {
    valid_name(topic)
}

/// Whether it can be subscribed to; the filter that is shared where it is `$share/...`.
pub fn is_filter(filter: &str) -> bool {
    check_filter(filter).is_ok()
}

/// A filter that can be subscribed to.
pub(crate) fn check_filter(filter: &str) -> Result<(), BadFilter> {
    if filter == "$share" || filter.starts_with("$share/") {
        let Some((name, inner)) = split_share(filter) else { return Err(BadFilter::Invalid) };
        let named = valid_text(name) && !name.bytes().any(|b| matches!(b, b'+' | b'#'));
        return if named && split_share(inner).is_none() { check_filter(inner) } else { Err(BadFilter::Invalid) };
    }
    if !valid_text(filter) {
        return Err(BadFilter::Invalid);
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let wild = level.bytes().any(|b| matches!(b, b'+' | b'#'));
        if wild && level != "+" && (level != "#" || levels.peek().is_some()) {
            return Err(BadFilter::Invalid);
        }
    }
    Ok(())
}

/// The part of a filter before its first wildcard level, without the slash, and how many levels that is; the rest of the
/// filter. None for a filter without wildcards.
pub(crate) fn split_at_wildcard(filter: &str) -> Option<(usize, &str, &str)> {
    let at = filter.find(['+', '#'])?;
    let (before, tail) = filter.split_at(at);
    let prefix = before.strip_suffix('/').unwrap_or(before);
    let depth = before.bytes().filter(|b| *b == b'/').count();
    Some((depth, prefix, tail))
}

/// The same cuts of a topic name: every number of leading levels with its text and what follows it. The last has all
/// levels and nothing (`None`) after it.
pub(crate) fn prefixes(topic: &str) -> impl Iterator<Item = (usize, &str, Option<&str>)> {
    let cuts = topic.bytes().enumerate().filter(|(_, b)| *b == b'/').map(|(at, _)| at);
    let inner = cuts.enumerate().map(|(n, at)| (n + 1, topic.get(..at).unwrap_or_default(), topic.get(at + 1..)));
    let depth = topic.bytes().filter(|b| *b == b'/').count() + 1;
    std::iter::once((0, "", Some(topic))).chain(inner).chain(std::iter::once((depth, topic, None)))
}

/// Whether the tail of a filter matches what follows its prefix in a topic name.
pub(crate) fn tail_matches(tail: &str, rest: Option<&str>) -> bool {
    let Some(rest) = rest else { return tail == "#" };
    let mut names = rest.split('/');
    let mut levels = tail.split('/');
    loop {
        match (levels.next(), names.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(name)) if level == name => {}
            _ => return false,
        }
    }
}

/// Whether a valid filter matches a valid name.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && !filter.starts_with('$') {
        return filter == topic;
    }
    tail_matches(filter, Some(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "/", "a/b", "$aws/things/x/shadow/get", " ", "ä/ö"] {
            assert!(valid_name(good), "{good}");
        }
        let deep = "/".repeat(limits::MQTT_TOPIC_LEVELS);
        let long = "x".repeat(limits::MQTT_TOPIC_BYTES + 1);
        for bad in ["", "a/+", "#", "a#", "a\0b", "a\nb", "a\u{85}b", &deep, &long] {
            assert!(!valid_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn filters() {
        for good in ["a", "#", "+", "a/#", "+/+", "/+", "+/#", "$aws/#", "a/+/b"] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a/b+", "a\0", "##", "++"] {
            assert_eq!(check_filter(bad), Err(BadFilter::Invalid), "{bad}");
        }
        for good in ["$share/g/a", "$share/g/#", "$share/g//", "$share/g/$aws/x"] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in [
            "$share",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/+/a",
            "$share/g/a#",
            "$share/g/$share/h/a",
        ] {
            assert_eq!(check_filter(bad), Err(BadFilter::Invalid), "{bad}");
        }
    }

    #[test]
    fn matching() {
        for (filter, topic) in [
            ("a/b", "a/b"),
            ("a/+", "a/b"),
            ("a/+", "a/"),
            ("+/+", "/b"),
            ("/+", "/b"),
            ("#", "a/b/c"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("+", "a"),
            ("+/b/#", "x/b"),
            ("$aws/#", "$aws/x"),
            ("$aws/+", "$aws/x"),
            ("+/#", "a"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a/+", "a"),
            ("+", "/a"),
            ("a", "a/b"),
            ("a/b", "a"),
            ("#", "$aws/x"),
            ("+/x", "$aws/x"),
            ("a/#", "ab"),
            ("a/+/c", "a/b/d"),
            ("a/b/c/#", "a/b"),
            ("/+", "a"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    /// The two ways of matching, whole and by prefix, agree.
    #[test]
    fn prefix_and_tail_agree_with_the_whole() {
        let parts = ["", "a", "b", "+", "$s"];
        let mut texts = vec![];
        for x in parts {
            texts.push(x.to_owned());
            for y in parts {
                texts.push(format!("{x}/{y}"));
                for z in parts {
                    texts.push(format!("{x}/{y}/{z}"));
                }
            }
        }
        let filters: Vec<String> = texts
            .iter()
            .flat_map(|t| [t.clone(), format!("{t}/#")])
            .chain(["#".into()])
            .filter(|f| check_filter(f).is_ok())
            .collect();
        for topic in texts.iter().filter(|t| valid_name(t)) {
            for filter in &filters {
                let split = match split_at_wildcard(filter) {
                    None => filter == topic,
                    Some((0, _, _)) if topic.starts_with('$') => false,
                    Some((depth, prefix, tail)) => {
                        prefixes(topic).any(|(d, p, rest)| d == depth && p == prefix && tail_matches(tail, rest))
                    }
                };
                assert_eq!(split, matches(filter, topic), "{filter} {topic}");
            }
        }
    }
}
