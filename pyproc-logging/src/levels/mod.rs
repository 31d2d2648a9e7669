//! Which events are logged ([`Levels`]), and how that changes while the program runs ([`SharedLevels`]).

mod by_target;
mod shared;

pub use by_target::{Levels, LevelsError};
pub(crate) use shared::SharedLevels;
