//! How much is asked with every message of a device, and how much that may be.

use fleetward_base::limits;

/// Rules, and the bytes of their patterns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub rules: usize,
    pub bytes: usize,
}

/// Which of the limits was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("more than {0} rules")]
    Rules(usize),
    #[error("more than {0} bytes of patterns")]
    Bytes(usize),
}

impl Weight {
    /// What policies that are attached to one device, or to one certificate, may come to.
    pub const OF_TARGET: Self =
        Self { rules: limits::TOPIC_RULES_PER_TARGET, bytes: limits::TOPIC_PATTERN_BYTES_PER_TARGET };
    /// The same of those that are attached to the tenant and to selectors, taken together.
    pub const OF_MANY: Self = Self { rules: limits::TOPIC_RULES_FOR_MANY, bytes: limits::TOPIC_PATTERN_BYTES_FOR_MANY };
    /// What holds for a device: its own, those of its certificate, and all for many.
    pub const OF_DEVICE: Self = Self {
        rules: 2 * Self::OF_TARGET.rules + Self::OF_MANY.rules,
        bytes: 2 * Self::OF_TARGET.bytes + Self::OF_MANY.bytes,
    };

    pub(super) fn add(&mut self, bytes: usize) {
        self.rules = self.rules.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether it is more than it may be.
    pub const fn over(self, most: Self) -> Option<TooMuch> {
        if self.rules > most.rules {
            return Some(TooMuch::Rules(most.rules));
        }
        if self.bytes > most.bytes { Some(TooMuch::Bytes(most.bytes)) } else { None }
    }
}
