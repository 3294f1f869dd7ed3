//! Reading a question: words, then terms, then what joins them.

use fleetward_base::limits;

use super::{Field, Pattern, Query};

/// Brackets and `NOT` in each other.
const DEPTH: usize = 8;

/// A question that cannot be read. Says nothing of the values in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    #[error("longer than {} bytes", limits::SEARCH_BYTES)]
    TooLong,
    #[error("more than {} terms", limits::SEARCH_TERMS)]
    TooMany,
    #[error("brackets or NOT lie deeper than {DEPTH} levels")]
    TooDeep,
    #[error("nothing is asked")]
    Empty,
    #[error("a quotation mark is open")]
    Quote,
    #[error("a bracket is open, or closed without being open")]
    Bracket,
    #[error("something is missing beside AND, OR or NOT")]
    Missing,
    #[error("a term without a value; write field:value")]
    Value,
    #[error("ranges and comparisons are not offered")]
    Range,
    #[error("the field {name} is not known")]
    Field { name: String },
}

#[derive(Clone, Debug, PartialEq)]
enum Word {
    Open,
    Close,
    And,
    Or,
    Not,
    Term(Query),
}

pub(super) fn parse(text: &str) -> Result<Query, BadQuery> {
    if text.len() > limits::SEARCH_BYTES {
        return Err(BadQuery::TooLong);
    }
    let words = words(text)?;
    if words.is_empty() {
        return Err(BadQuery::Empty);
    }
    if words.iter().filter(|word| matches!(word, Word::Term(_))).count() > limits::SEARCH_TERMS {
        return Err(BadQuery::TooMany);
    }
    let mut reader = Reader { words: words.into_iter().peekable() };
    let query = reader.any(0)?;
    match reader.words.next() {
        None => Ok(query),
        Some(Word::Close) => Err(BadQuery::Bracket),
        Some(_) => Err(BadQuery::Missing),
    }
}

fn words(text: &str) -> Result<Vec<Word>, BadQuery> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '(' => (Word::Open, rest.get(1..).unwrap_or_default()),
            ')' => (Word::Close, rest.get(1..).unwrap_or_default()),
            _ => one(rest)?,
        };
        words.push(word);
        rest = behind.trim_start();
    }
    Ok(words)
}

fn one(text: &str) -> Result<(Word, &str), BadQuery> {
    let end = text.find([' ', '\t', '\r', '\n', '(', ')', ':', '"']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match name {
        "AND" => return Ok((Word::And, rest)),
        "OR" => return Ok((Word::Or, rest)),
        "NOT" => return Ok((Word::Not, rest)),
        "*" if !rest.starts_with(':') => return Ok((Word::Term(Query::All), rest)),
        _ => {}
    }
    let (negative, name) = name.strip_prefix('-').map_or((false, name), |name| (true, name));
    let Some(rest) = rest.strip_prefix(':') else {
        if name.contains(['<', '>', '=']) || name.starts_with('[') || name.starts_with('{') {
            return Err(BadQuery::Range);
        }
        // A word alone is a name.
        let (pattern, rest) = value(if negative { text.get(1..).unwrap_or_default() } else { text })?;
        return Ok((word(negative, Query::Term(Field::Name, pattern)), rest));
    };
    let field = Field::parse(name).ok_or_else(|| BadQuery::Field { name: name.chars().take(64).collect() })?;
    let (pattern, rest) = value(rest)?;
    Ok((word(negative, Query::Term(field, pattern)), rest))
}

fn word(negative: bool, term: Query) -> Word {
    Word::Term(if negative { Query::Not(Box::new(term)) } else { term })
}

fn value(text: &str) -> Result<(Pattern, &str), BadQuery> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (inside, rest) = quoted.split_once('"').ok_or(BadQuery::Quote)?;
        return if inside.is_empty() { Err(BadQuery::Value) } else { Ok((Pattern::exact(inside), rest)) };
    }
    let end = text.find([' ', '\t', '\r', '\n', '(', ')', '"']).unwrap_or(text.len());
    let (inside, rest) = text.split_at(end);
    if inside.is_empty() {
        return Err(BadQuery::Value);
    }
    if inside.starts_with(['[', '{', '<', '>']) {
        return Err(BadQuery::Range);
    }
    Ok((Pattern(inside.to_owned()), rest))
}

struct Reader {
    words: std::iter::Peekable<std::vec::IntoIter<Word>>,
}

impl Reader {
    fn any(&mut self, depth: usize) -> Result<Query, BadQuery> {
        let mut any = vec![self.all(depth)?];
        while self.words.next_if_eq(&Word::Or).is_some() {
            any.push(self.all(depth)?);
        }
        Ok(joined(any, Query::Or))
    }

    fn all(&mut self, depth: usize) -> Result<Query, BadQuery> {
        let mut all = vec![self.single(depth)?];
        loop {
            let joined = self.words.next_if_eq(&Word::And).is_some();
            let more = matches!(self.words.peek(), Some(Word::Open | Word::Not | Word::Term(_)));
            match (joined, more) {
                (_, true) => all.push(self.single(depth)?),
                (true, false) => return Err(BadQuery::Missing),
                (false, false) => break,
            }
        }
        Ok(joined(all, Query::And))
    }

    fn single(&mut self, depth: usize) -> Result<Query, BadQuery> {
        if depth > DEPTH {
            return Err(BadQuery::TooDeep);
        }
        match self.words.next() {
            Some(Word::Term(term)) => Ok(term),
            Some(Word::Not) => Ok(Query::Not(Box::new(self.single(depth + 1)?))),
            Some(Word::Open) => {
                let inside = self.any(depth + 1)?;
                match self.words.next() {
                    Some(Word::Close) => Ok(inside),
                    _ => Err(BadQuery::Bracket),
                }
            }
            _ => Err(BadQuery::Missing),
        }
    }
}

fn joined(mut list: Vec<Query>, join: impl FnOnce(Vec<Query>) -> Query) -> Query {
    match (list.len(), list.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            list.push(last);
            join(list)
        }
        (_, None) => Query::All,
    }
}
