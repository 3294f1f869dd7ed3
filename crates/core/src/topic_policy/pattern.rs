//! Sets of topics, and the three questions about them: is a topic in it, is all of a filter in it, is any of a filter in it.
//!
//! A pattern is a list of tokens that is walked by the set of places where one can stand in it: bits on the stack, all of
//! which are moved together by each byte. So a question costs a word for each 64 places and byte of the topic, whatever a
//! tenant writes; nothing recurses, and nothing goes back to try another way.

use fleetward_base::limits;

/// More bytes than a topic has cannot match one; each may have a wildcard beside it.
pub(super) const PLACES: usize = 2 * limits::MQTT_TOPIC_BYTES + 2;
const WORDS: usize = PLACES.div_ceil(64);
static NOWHERE: [u64; WORDS] = [0; WORDS];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Byte(u8),
    /// Any run within a level.
    Level,
    /// Any run, slashes too.
    Any,
    /// A slash and any run, or the end.
    Rest,
}

impl Token {
    const fn is_run(self) -> bool {
        matches!(self, Self::Level | Self::Any)
    }

    /// Leads on from its place with this byte.
    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Byte(wanted) => wanted == byte,
            Self::Rest => byte == b'/',
            Self::Level | Self::Any => false,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// No run is beside another. Empty with `never`.
    tokens: Box<[Token]>,
    /// Longer than any topic, so that it matches nothing.
    never: bool,
    /// The bytes that tokens take, in their order.
    bytes: Box<[u8]>,
    /// Sets of places, each in as many words as all places need: where a run within a level stands, where any run, and for each
    /// of `bytes` the places that it leads on from.
    sets: Box<[u64]>,
}

/// What a walk meets: the bytes of a topic, or those of a filter and its wildcards.
#[derive(Clone, Copy)]
enum Step {
    Byte(u8),
    Level,
    Any,
}

/// The places where one can stand.
#[derive(Clone, Copy)]
struct Places([u64; WORDS]);

impl Places {
    const NONE: Self = Self([0; WORDS]);

    fn add(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn with(mut self, other: &Self) -> Self {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
        self
    }
}

impl Pattern {
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        let tokens = tidy(tokens);
        if tokens.len() >= PLACES {
            return Self { never: true, ..Self::default() };
        }
        let mut bytes: Vec<u8> = tokens
            .iter()
            .filter_map(|token| match token {
                Token::Byte(byte) => Some(*byte),
                Token::Rest => Some(b'/'),
                Token::Level | Token::Any => None,
            })
            .collect();
        bytes.sort_unstable();
        bytes.dedup();
        let words = words(&tokens);
        let mut sets = Vec::with_capacity(words * (bytes.len() + 2));
        let mut note = |wanted: &dyn Fn(Token) -> bool| {
            let mut places = Places::NONE;
            let found = tokens.iter().enumerate().filter(|(_, token)| wanted(**token));
            found.for_each(|(place, _)| places.add(place));
            sets.extend(places.0.into_iter().take(words));
        };
        note(&|token| token == Token::Level);
        note(&|token| token == Token::Any);
        for byte in &bytes {
            note(&|token| token.takes(*byte));
        }
        let (tokens, bytes, sets) = (tokens.into_boxed_slice(), bytes.into_boxed_slice(), sets.into_boxed_slice());
        Self { tokens, never: false, bytes, sets }
    }

    /// What it counts for where patterns are limited together.
    pub(super) fn weight(&self) -> usize {
        self.tokens.len()
    }

    /// Whether the first level is a wildcard, which does not reach `$`.
    fn begins_wild(&self) -> bool {
        self.tokens.first().is_some_and(|token| token.is_run())
    }

    /// Whether `topic`, a topic name, is in it.
    pub fn matches(&self, topic: &str) -> bool {
        self.walk(topic.starts_with('$'), topic.bytes().map(Step::Byte)).0
    }

    /// Whether everything that `filter` can match is in it, but for the level above its `#`. What stands there is looked at
    /// when a message comes.
    pub fn covers(&self, filter: &str) -> bool {
        let steps = filter.bytes().map(|byte| match byte {
            b'+' => Step::Level,
            b'#' => Step::Any,
            byte => Step::Byte(byte),
        });
        self.walk(filter.starts_with('$'), steps).0
    }

    /// Whether the end is reached, and how many words that took.
    fn walk(&self, reserved: bool, steps: impl Iterator<Item = Step>) -> (bool, usize) {
        if self.never || (reserved && self.begins_wild()) {
            return (false, 0);
        }
        let (mut here, mut walked) = (self.start(), 0);
        for step in steps {
            here = self.step(&here, step);
            walked += words(&self.tokens);
            if here.is_empty() {
                return (false, walked);
            }
        }
        (here.has(self.tokens.len()), walked)
    }

    fn start(&self) -> Places {
        let mut here = Places::NONE;
        here.add(0);
        self.close(&mut here);
        here
    }

    fn set(&self, number: usize) -> &[u64] {
        let words = words(&self.tokens);
        let from = words.saturating_mul(number);
        self.sets.get(from..from.saturating_add(words)).unwrap_or_default()
    }

    /// Where one stands after `step`.
    fn step(&self, here: &Places, step: Step) -> Places {
        let (on, within) = match step {
            Step::Byte(byte) => {
                (self.bytes.binary_search(&byte).map_or(NOWHERE.as_slice(), |at| self.set(at + 2)), byte != b'/')
            }
            // It stays in the run: whatever a wildcard of the filter stands for is part of it.
            Step::Level => (NOWHERE.as_slice(), true),
            Step::Any => (NOWHERE.as_slice(), false),
        };
        let mut next = Places::NONE;
        let mut carry = 0;
        let sets = self.set(0).iter().zip(self.set(1)).zip(on);
        for ((next, here), ((level, any), on)) in next.0.iter_mut().zip(here.0).zip(sets) {
            let moved = here & on;
            let stays = here & if within { level | any } else { *any };
            *next = (moved << 1) | carry | stays;
            carry = moved >> 63;
        }
        self.close(&mut next);
        next
    }

    /// Wherever one gets from there without a byte: past a run, and to the end from a slash that need not come.
    fn close(&self, here: &mut Places) {
        let mut carry = 0;
        for (word, (level, any)) in here.0.iter_mut().zip(self.set(0).iter().zip(self.set(1))) {
            let passed = *word & (level | any);
            *word |= (passed << 1) | carry;
            carry = passed >> 63;
        }
        if let [.., Token::Rest, _] = &*self.tokens
            && here.has(self.tokens.len() - 2)
        {
            here.add(self.tokens.len());
        }
    }

    /// Whether there is a topic that both `filter` and the pattern match.
    pub fn meets(&self, filter: &str) -> bool {
        self.meet(filter).0
    }

    /// The filter is gone through once, with the places of the pattern where one can be at each of its own: `fresh` before the
    /// first byte of a topic, `here` after it. How much that took beside it.
    fn meet(&self, filter: &str) -> (bool, usize) {
        if self.never {
            return (false, 0);
        }
        let filter = of_filter(filter);
        // The first byte is not a $ where one of the two begins with a wildcard.
        let dollar = !self.begins_wild() && !filter.first().is_some_and(|token| token.is_run());
        let (mut fresh, mut here, mut walked) = (self.start(), Places::NONE, 0);
        for token in filter {
            match token {
                Token::Byte(byte) => {
                    let from = if byte == b'$' && !dollar { here } else { here.with(&fresh) };
                    here = self.step(&from, Step::Byte(byte));
                    fresh = Places::NONE;
                    walked += words(&self.tokens);
                }
                Token::Level | Token::Any => {
                    let slash = token == Token::Any;
                    here = here.with(&self.one_byte(&fresh, slash, dollar));
                    self.flood(&mut here, slash);
                    walked += 2 * self.tokens.len();
                }
                Token::Rest => {
                    if here.has(self.tokens.len()) {
                        return (true, walked);
                    }
                    here = self.step(&here.with(&fresh), Step::Byte(b'/'));
                    fresh = Places::NONE;
                    walked += words(&self.tokens);
                }
            }
            if here.is_empty() && fresh.is_empty() {
                return (false, walked);
            }
        }
        (here.has(self.tokens.len()), walked)
    }

    /// Where one stands after one byte that may be anything, or anything but a slash or a dollar.
    fn one_byte(&self, from: &Places, slash: bool, dollar: bool) -> Places {
        let mut next = Places::NONE;
        for (place, token) in self.tokens.iter().enumerate().filter(|(place, _)| from.has(*place)) {
            match token {
                Token::Byte(b'/') | Token::Rest if !slash => {}
                Token::Byte(b'$') if !dollar => {}
                Token::Byte(_) | Token::Rest => next.add(place + 1),
                Token::Level | Token::Any => next.add(place),
            }
        }
        self.close(&mut next);
        next
    }

    /// Wherever one gets from there by any number of bytes; they lead on, so that one pass finds all.
    fn flood(&self, here: &mut Places, slash: bool) {
        for (place, token) in self.tokens.iter().enumerate() {
            if !here.has(place) {
                continue;
            }
            if *token == Token::Rest {
                here.add(self.tokens.len());
            }
            if slash || !matches!(token, Token::Byte(b'/') | Token::Rest) {
                here.add(place + 1);
            }
        }
    }
}

/// The words of a set of the places before, between and behind the tokens.
fn words(tokens: &[Token]) -> usize {
    (tokens.len() + 1).div_ceil(64)
}

/// Runs that follow each other are one.
fn tidy(tokens: Vec<Token>) -> Vec<Token> {
    let mut tidied: Vec<Token> = Vec::with_capacity(tokens.len() + 1);
    for token in tokens {
        match tidied.last_mut() {
            Some(last) if last.is_run() && token.is_run() => {
                if token == Token::Any {
                    *last = Token::Any;
                }
            }
            _ => tidied.push(token),
        }
    }
    if tidied.last() == Some(&Token::Rest) {
        // What is behind its slash.
        tidied.push(Token::Any);
    }
    tidied
}

/// The tokens of an MQTT filter.
fn of_filter(filter: &str) -> Vec<Token> {
    let (text, rest) = match filter.strip_suffix("/#") {
        Some(text) => (text, true),
        None => (filter, false),
    };
    let mut tokens: Vec<Token> = text
        .bytes()
        .map(|byte| match byte {
            b'+' => Token::Level,
            b'#' => Token::Any,
            byte => Token::Byte(byte),
        })
        .collect();
    if rest {
        tokens.push(Token::Rest);
    }
    tidy(tokens)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        let tokens = text.bytes().map(|byte| match byte {
            b'+' => Token::Level,
            b'*' => Token::Any,
            byte => Token::Byte(byte),
        });
        Pattern::new(tokens.collect())
    }

    fn steps(topic: &str) -> impl Iterator<Item = Step> {
        topic.bytes().map(Step::Byte)
    }

    #[test]
    fn what_would_be_tried_in_each_way_is_gone_through_once() {
        // Each star could stand for each run of the topic: 2^60 ways and more for a matcher that tries them.
        let topic = "a".repeat(limits::MQTT_TOPIC_BYTES);
        let hard = pattern(&format!("{}b", "*a".repeat(127)));
        let (matched, walked) = hard.walk(false, steps(&topic));
        assert_eq!((matched, walked), (false, 256 * 4), "four words for each byte");
        let (met, walked) = hard.meet(&format!("{}/#", "+/".repeat(14).trim_end_matches('/')));
        assert!(met && walked <= 2 * 255 * 16 + 256 * 4, "{walked}");
    }

    proptest! {
        /// Steps, not time: whatever the pattern and the topic, as many words as both are long.
        #[test]
        fn a_question_costs_what_both_are_long(
            text in "[ab*+/]{1,256}|(\\*a){1,128}|(\\*ab?/?){1,80}",
            topic in "[ab/]{1,256}|a{200,256}",
            filter in "([ab]{0,3}|\\+)(/([ab]{0,3}|\\+)){0,14}(/#)?",
        ) {
            let pattern = pattern(&text);
            let words = (pattern.weight() + 1).div_ceil(64);
            prop_assert!(pattern.walk(false, steps(&topic)).1 <= topic.len() * words);
            let wildcards = filter.bytes().filter(|byte| matches!(byte, b'+' | b'#')).count();
            let most = filter.len() * words + wildcards * 2 * pattern.weight();
            prop_assert!(pattern.meet(&filter).1 <= most + words);
        }
    }
}
