//! Which events are logged ([`Levels`]), and the change of levels while the program runs ([`SharedLevels`]). What must
//! stay true: spans of level `INFO` and above are kept for their fields, whatever the level is.

mod by_target;
mod shared;

pub use by_target::{Levels, LevelsError};
pub(crate) use shared::SharedLevels;
