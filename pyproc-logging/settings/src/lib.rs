#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod declare;
mod env;
mod error;
pub mod kind;
mod layers;
#[cfg(feature = "testing")]
pub mod testing;

#[doc(hidden)]
pub use declare::section_rows;
pub use env::Env;
pub use error::Invalid;
pub use kind::Kind;
pub use layers::{Layers, from_deserializer, read_declared};

/// What [`settings!`] makes of a declaration.
pub trait Settings: Clone + Default + 'static {
    /// One for each setting, in the order of the declaration.
    fn rows() -> Vec<Row>;

    /// Reads each variable that was declared with `as` and is set. Of several variables of one setting the last wins.
    ///
    /// # Errors
    ///
    /// Names the variable whose value is not allowed.
    fn read_variables(&mut self, env: &Env<'_>) -> Result<(), Invalid>;

    /// Checks each value, as its [`Kind`] and `#[check(…)]` say.
    ///
    /// # Errors
    ///
    /// Names the first field whose value is not allowed.
    fn check_values(&self) -> Result<(), Invalid>;
}

/// What users read about one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The field's name, with that of its section before it, such as `restart.max_attempts`.
    pub field: String,
    /// The variables that set it; a later one beats those before it.
    pub variables: &'static [&'static str],
    /// Its documentation, as written.
    pub doc: &'static str,
}
