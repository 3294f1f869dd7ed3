//! Sets of topics, and the three questions about them: is a topic in it, is all of a filter in it, is any of a filter in it.
//!
//! A pattern is a list of tokens that is walked by the set of places where one can stand in it, so the work is bounded by
//! the two lengths and nothing recurses. Topics are short (`limits::MQTT_TOPIC_BYTES`), and so is the set: bits on the stack.

use fleetward_base::limits;

/// More bytes than a topic has cannot match one; each may have a wildcard beside it.
const PLACES: usize = 2 * limits::MQTT_TOPIC_BYTES + 2;
const WORDS: usize = PLACES.div_ceil(64);

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

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// None: longer than any topic, so that it matches nothing.
    tokens: Option<Box<[Token]>>,
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

    fn each(&self, mut visit: impl FnMut(usize)) {
        for (at, word) in self.0.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                let bit = word.trailing_zeros();
                visit(at * 64 + usize::try_from(bit).unwrap_or_default());
                word &= word - 1;
            }
        }
    }
}

impl Pattern {
    pub(super) fn new(mut tokens: Vec<Token>) -> Self {
        if tokens.last() == Some(&Token::Rest) {
            // What is behind its slash.
            tokens.push(Token::Any);
        }
        Self { tokens: (tokens.len() < PLACES).then(|| tokens.into_boxed_slice()) }
    }

    /// The pattern of an MQTT filter.
    fn of_filter(filter: &str) -> Self {
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
        Self::new(tokens)
    }

    fn tokens(&self) -> &[Token] {
        self.tokens.as_deref().unwrap_or_default()
    }

    /// Whether the first level is a wildcard, which does not reach `$`.
    fn begins_wild(&self) -> bool {
        matches!(self.tokens().first(), Some(Token::Level | Token::Any))
    }

    /// Whether `topic`, a topic name, is in it.
    pub fn matches(&self, topic: &str) -> bool {
        self.accepts(topic.starts_with('$'), topic.bytes().map(Step::Byte))
    }

    /// Whether everything that `filter` can match is in it, but for the level above its `#`. What stands there is looked at
    /// when a message comes.
    pub fn covers(&self, filter: &str) -> bool {
        let steps = filter.bytes().map(|byte| match byte {
            b'+' => Step::Level,
            b'#' => Step::Any,
            byte => Step::Byte(byte),
        });
        self.accepts(filter.starts_with('$'), steps)
    }

    fn accepts(&self, reserved: bool, steps: impl Iterator<Item = Step>) -> bool {
        let Some(tokens) = &self.tokens else { return false };
        if reserved && self.begins_wild() {
            return false;
        }
        let mut here = Places::NONE;
        enter(tokens, 0, &mut here);
        for step in steps {
            let mut next = Places::NONE;
            here.each(|place| {
                match (tokens.get(place), step) {
                    (Some(Token::Byte(want)), Step::Byte(byte)) if *want == byte => enter(tokens, place + 1, &mut next),
                    (Some(Token::Rest), Step::Byte(b'/')) => enter(tokens, place + 1, &mut next),
                    // It stays in the run: whatever a wildcard of the filter stands for is part of it.
                    (Some(Token::Level), Step::Byte(byte)) if byte != b'/' => enter(tokens, place, &mut next),
                    (Some(Token::Level), Step::Level) | (Some(Token::Any), _) => enter(tokens, place, &mut next),
                    _ => {}
                }
            });
            if next.is_empty() {
                return false;
            }
            here = next;
        }
        here.has(tokens.len())
    }

    /// Whether there is a topic that both `filter` and the pattern match.
    pub fn meets(&self, filter: &str) -> bool {
        if self.tokens.is_none() {
            return false;
        }
        let other = Self::of_filter(filter);
        let (mine, theirs) = (self.tokens(), other.tokens());
        // The first byte is not a $ where one of the two begins with a wildcard.
        let dollar = self.begins_wild() || other.begins_wild();
        let mut seen = vec![Places::NONE; mine.len() + 1];
        let (mut first, mut todo) = (Vec::new(), Vec::new());
        pairs(mine, theirs, (0, 0), &mut seen, &mut first);
        seen.fill(Places::NONE);
        for pair in first {
            follow(mine, theirs, pair, dollar, &mut seen, &mut todo);
        }
        while let Some(pair) = todo.pop() {
            if pair == (mine.len(), theirs.len()) {
                return true;
            }
            follow(mine, theirs, pair, false, &mut seen, &mut todo);
        }
        false
    }
}

/// Goes on by one byte from a pair of places.
fn follow(
    mine: &[Token],
    theirs: &[Token],
    (a, b): (usize, usize),
    dollar: bool,
    seen: &mut [Places],
    todo: &mut Vec<(usize, usize)>,
) {
    let (Some(one), Some(two)) = (mine.get(a), theirs.get(b)) else { return };
    let Some((byte, stays, other_stays)) = common(*one, *two) else { return };
    if dollar && byte == Some(b'$') {
        return;
    }
    let next = (if stays { a } else { a + 1 }, if other_stays { b } else { b + 1 });
    pairs(mine, theirs, next, seen, todo);
}

/// One byte that both tokens take (`None`: any will do), and whether each of them stays where it is.
fn common(one: Token, two: Token) -> Option<(Option<u8>, bool, bool)> {
    let stays = |token| matches!(token, Token::Level | Token::Any);
    let byte = match (one, two) {
        (Token::Byte(a), Token::Byte(b)) => (a == b).then_some(Some(a))?,
        (Token::Byte(a), Token::Rest) | (Token::Rest, Token::Byte(a)) => (a == b'/').then_some(Some(a))?,
        (Token::Byte(a), Token::Level) | (Token::Level, Token::Byte(a)) => (a != b'/').then_some(Some(a))?,
        (Token::Byte(a), Token::Any) | (Token::Any, Token::Byte(a)) => Some(a),
        (Token::Rest, Token::Rest | Token::Any) | (Token::Any, Token::Rest) => Some(b'/'),
        (Token::Rest, Token::Level) | (Token::Level, Token::Rest) => return None,
        (Token::Level | Token::Any, Token::Level | Token::Any) => None,
    };
    Some((byte, stays(one), stays(two)))
}

/// Stands at `place`, and wherever one gets from there without a byte.
fn enter(tokens: &[Token], mut place: usize, places: &mut Places) {
    loop {
        places.add(place);
        match tokens.get(place) {
            Some(Token::Level | Token::Any) => place += 1,
            Some(Token::Rest) => {
                places.add(tokens.len());
                return;
            }
            Some(Token::Byte(_)) | None => return,
        }
    }
}

/// Notes the pairs of places that are reached together at `(a, b)` and were not before.
fn pairs(mine: &[Token], theirs: &[Token], (a, b): (usize, usize), seen: &mut [Places], todo: &mut Vec<(usize, usize)>) {
    let (mut left, mut right) = (Places::NONE, Places::NONE);
    enter(mine, a, &mut left);
    enter(theirs, b, &mut right);
    left.each(|a| {
        right.each(|b| {
            if let Some(known) = seen.get_mut(a)
                && !known.has(b)
            {
                known.add(b);
                todo.push((a, b));
            }
        });
    });
}
