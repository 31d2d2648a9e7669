/// A version of the wire. The first byte of a frame's body says which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// JSON, frozen. Every peer supports it. The specification is in [`spec`](crate::spec).
    V1,
    /// Binary. Used only after both sides named it in the hello. The specification is in
    /// [`spec_v2`](crate::spec_v2).
    V2,
}

impl Version {
    /// The newest version that this crate supports.
    pub const NEWEST: Self = Self::V2;

    /// The version's number in the hello.
    pub fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The version with this number; `None` if this crate does not support it.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// The newest version among `numbers` that this crate supports.
    pub(crate) fn newest_of(numbers: &[u32]) -> Option<Self> {
        let supported = numbers.iter().copied().filter_map(Self::from_number);
        supported.max()
    }
}
