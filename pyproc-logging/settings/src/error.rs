/// A value that is not allowed. Each crate makes its own public error of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The field, or the environment variable.
    pub field: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Invalid {
    /// Names the field, or the variable, and the reason.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// An error of this field if the check of its value gave a reason.
    ///
    /// # Errors
    ///
    /// It did.
    pub fn unless(field: &str, check: Result<(), String>) -> Result<(), Self> {
        check.map_err(|reason| Self::new(field, reason))
    }

    /// The same error, seen from outside of the section.
    #[must_use]
    pub fn in_section(self, section: &str) -> Self {
        Self {
            field: format!("{section}.{}", self.field),
            ..self
        }
    }
}

/// `Debug` is the text, as that is what a `main` that returns the error prints.
#[macro_export]
macro_rules! debug_as_text {
    ($($error:ty),*) => {
        $(impl ::std::fmt::Debug for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        })*
    };
}
