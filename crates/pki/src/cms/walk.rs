//! Walking through DER elements whose bytes are kept as they came.

use der::{Reader, SliceReader, Tag, TagNumber};

/// One element: its tag, its content, and all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: Tag,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Elements that stand one after the other.
#[derive(Clone)]
pub(crate) struct Walk<'a>(SliceReader<'a>);

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> der::Result<Self> {
        Ok(Self(SliceReader::new(bytes)?))
    }

    pub(crate) fn done(&self) -> bool {
        self.0.is_finished()
    }

    pub(crate) fn next(&mut self) -> der::Result<Element<'a>> {
        let header = self.0.peek_header()?;
        let whole = self.0.tlv_bytes()?;
        let start = whole.len() - usize::try_from(header.length)?;
        Ok(Element { tag: header.tag, content: whole.get(start..).unwrap_or_default(), whole })
    }

    /// The next one, which must have this tag.
    pub(crate) fn expect(&mut self, tag: Tag) -> der::Result<Element<'a>> {
        let element = self.next()?;
        element.tag.assert_eq(tag)?;
        Ok(element)
    }

    /// The next one, where it has this tag.
    pub(crate) fn optional(&mut self, tag: Tag) -> der::Result<Option<Element<'a>>> {
        if !self.done() && self.0.peek_header()?.tag == tag { self.next().map(Some) } else { Ok(None) }
    }

    /// Into the next one, which must have this tag.
    pub(crate) fn enter(&mut self, tag: Tag) -> der::Result<Walk<'a>> {
        Walk::new(self.expect(tag)?.content)
    }

    /// There must be nothing more.
    pub(crate) fn end(self) -> der::Result<()> {
        self.0.finish(())
    }
}

/// `[number]` around something, or in place of a SEQUENCE or SET.
pub(crate) fn context(number: TagNumber) -> Tag {
    Tag::ContextSpecific { constructed: true, number }
}

/// `[number]` in place of a primitive.
pub(crate) fn primitive(number: TagNumber) -> Tag {
    Tag::ContextSpecific { constructed: false, number }
}

/// The one element that `bytes` are.
pub(crate) fn only(bytes: &[u8], tag: Tag) -> der::Result<Walk<'_>> {
    let mut outer = Walk::new(bytes)?;
    let inner = outer.enter(tag)?;
    outer.end()?;
    Ok(inner)
}
