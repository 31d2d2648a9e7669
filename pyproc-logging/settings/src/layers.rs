use std::{ffi::OsString, fmt, sync::Arc};

use serde::{Deserialize, Deserializer};

use crate::{Env, Invalid, Settings};

/// The settings of a builder. Of each setting the last of these that has it counts, whatever the order of the calls: the
/// default, a file, the environment if it is to be read, code.
#[derive(Clone)]
pub struct Layers<C> {
    /// The defaults, or a file's settings.
    base: C,
    reads_env: bool,
    /// What code sets, in the order of its calls.
    changes: Vec<Change<C>>,
}

type Change<C> = Arc<dyn Fn(&mut C) + Send + Sync>;

/// How a crate reads its variables, before `code` sets the values of code. It may call `code` on a copy before that,
/// where a variable counts only beside a certain value of another setting.
type Read<C> = fn(&mut C, &Env<'_>, code: &dyn Fn(&mut C)) -> Result<(), Invalid>;

/// How a crate reads its variables if all of them are declared with `as`.
///
/// # Errors
///
/// Names the variable whose value cannot be read.
pub fn read_declared<C: Settings>(
    config: &mut C,
    env: &Env<'_>,
    code: &dyn Fn(&mut C),
) -> Result<(), Invalid> {
    config.read_variables(env)?;
    code(config);
    Ok(())
}

impl<C: Settings> Layers<C> {
    /// Sets a value in code.
    pub fn set(&mut self, change: impl Fn(&mut C) + Send + Sync + 'static) {
        self.changes.push(Arc::new(change));
    }

    /// Lets the environment count.
    #[must_use]
    pub fn read_env(self) -> Self {
        Self {
            reads_env: true,
            ..self
        }
    }

    /// The settings in effect, which `check` accepts.
    ///
    /// # Errors
    ///
    /// Names the variable that set the value that is not allowed, else the field.
    pub fn in_effect(
        &self,
        read: Read<C>,
        check: fn(&C) -> Result<(), Invalid>,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<C, Invalid> {
        let without_env = self.without_env();
        if !self.reads_env {
            return check(&without_env).map(|()| without_env);
        }
        let env = Env::new(&lookup);
        let mut config = self.base.clone();
        read(&mut config, &env, &|config| self.change(config))?;
        match check(&config) {
            Ok(()) => Ok(config),
            // The environment is not to blame.
            Err(error) if check(&without_env).as_ref() == Err(&error) => Err(error),
            Err(error) => Err(naming_the_variable::<C>(error, &env)),
        }
    }

    fn without_env(&self) -> C {
        let mut config = self.base.clone();
        self.change(&mut config);
        config
    }

    fn change(&self, config: &mut C) {
        self.changes.iter().for_each(|change| change(config));
    }
}

/// The variable that gave the field its value, in place of the field.
fn naming_the_variable<C: Settings>(error: Invalid, env: &Env<'_>) -> Invalid {
    let rows = C::rows();
    let row = rows.iter().find(|row| row.field == error.field);
    let variables = row.into_iter().flat_map(|row| row.variables).rev();
    match variables.copied().find(|name| env.get(name).is_some()) {
        Some(name) => Invalid::new(name, error.reason),
        None => error,
    }
}

impl<C: Settings> Default for Layers<C> {
    fn default() -> Self {
        Self::from(C::default())
    }
}

/// Settings of a file, below those of the environment and of code.
impl<C: Settings> From<C> for Layers<C> {
    fn from(base: C) -> Self {
        Self {
            base,
            reads_env: false,
            changes: Vec::new(),
        }
    }
}

impl<C: Settings + fmt::Debug> fmt::Debug for Layers<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("config", &self.without_env())
            .field("reads_env", &self.reads_env)
            .finish_non_exhaustive()
    }
}

/// Reads settings from any serde format. For a field whose value no error may repeat, `shape` says what it must be.
///
/// # Errors
///
/// Names the field that is unknown or of the wrong type.
pub fn from_deserializer<'de, C: Deserialize<'de>>(
    source: impl Deserializer<'de>,
    shape: impl Fn(&str) -> Option<&'static str>,
) -> Result<C, Invalid> {
    serde_path_to_error::deserialize(source).map_err(|error| {
        let field = error.path().to_string();
        match shape(&field) {
            Some(shape) => Invalid::new(field, shape),
            None => Invalid::new(field, error.inner().to_string()),
        }
    })
}
