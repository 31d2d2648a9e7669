/// A version of the wire. Each frame says by its first byte which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// JSON, frozen; every peer speaks it. [`spec`](crate::spec) has the specification.
    V1,
    /// Binary, after both sides named it in the hello; see [`spec_v2`](crate::spec_v2).
    V2,
}

impl Version {
    /// The newest that this crate speaks.
    pub const NEWEST: Self = Self::V2;

    /// Its number in the hello.
    pub fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The version of this number, if this crate speaks it.
    pub fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// The newest that both this crate and a peer speak.
    pub(crate) fn common(offered: &[u32]) -> Option<Self> {
        offered.iter().copied().filter_map(Self::of).max()
    }
}
