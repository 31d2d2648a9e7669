/// Declares the settings of a crate, each in one place.
///
/// ```
/// use std::{path::PathBuf, time::Duration};
///
/// use pyproc_settings::{Invalid, Layers, kind::*, settings};
///
/// settings! {
///     /// All settings of a shop.
///     #[derive(Clone, PartialEq, serde::Deserialize)]
///     #[serde(default, deny_unknown_fields)]
///     pub struct ShopConfig with builder_methods! {
///         /// Shelves. Default 3, at most 100.
///         #[variable("SHOP_SHELVES" as number(1..=100))]
///         #[builder(value)]
///         pub shelves: u32 = 3,
///         /// Where the stock is kept. Default: nowhere.
///         #[variable("SHOP_STOCK" as optional(path()))]
///         #[builder(into PathBuf)]
///         pub stock: Option<PathBuf> = None,
///         /// How long a customer waits. Default 5 s.
///         #[variable("SHOP_PATIENCE" as duration)]
///         #[check(longer_than_zero)]
///         #[builder(value)]
///         #[serde(with = "humantime_serde")]
///         pub patience: Duration = Duration::from_secs(5),
///     }
/// }
///
/// #[derive(Default)]
/// pub struct ShopBuilder {
///     settings: Layers<ShopConfig>,
/// }
///
/// impl ShopBuilder {
///     builder_methods!();
/// }
///
/// # fn main() -> Result<(), Invalid> {
/// let builder = ShopBuilder::default().shelves(5).stock("cellar");
/// let settings = builder.settings.read_env();
/// let variables = |name: &str| (name == "SHOP_SHELVES").then(|| "7".into());
/// let config = settings.in_effect(pyproc_settings::read_declared, check, variables)?;
/// assert_eq!(config.shelves, 5, "code counts more than the environment");
/// # Ok(())
/// # }
///
/// fn check(config: &ShopConfig) -> Result<(), Invalid> {
///     pyproc_settings::Settings::check_values(config)
/// }
/// ```
///
/// Each field has its documentation, then these attributes, in this order, as far as it needs them, then its default:
///
/// | attribute | meaning |
/// | --- | --- |
/// | `#[variable("A", "B" as kind)]` | variables that set it, the last of which counts, and the [`Kind`](crate::Kind) of its value. Without `as`, the crate reads them itself |
/// | `#[check(function)]` | what must be true of its value, wherever that came from; the function gives the reason if it is not |
/// | `#[section(name)]` | its type is a declaration, too, whose fields are known as `name.field` |
/// | `#[builder(value)]` | a method of the builder that takes the field's type; `value T`: a `T` for a field that is an `Option<T>` |
/// | `#[builder(into T)]` | one that takes anything that becomes a `T` |
/// | `#[builder(list T)]` | one that takes anything whose items become a `T` each |
/// | `#[builder(entry name)]` | a method `name` that takes a name and a value and adds them to the map |
/// | `#[debug(function)]` | what `Debug` shows in place of the value, such as that of a secret |
/// | `#[serde(…)]` | for serde |
///
/// The type has a `Default` and a `Debug`, and is [`Settings`](crate::Settings). The macro that is named after `with`, if any, stands
/// for the methods in the `impl` of a builder, which has a field `settings`: the [`Layers`](crate::Layers) of the declared type. So the
/// builder knows the declaration, which need not know the builder.
#[macro_export]
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $Config:ident with $methods:ident! { $($fields:tt)* }
    ) => {
        $crate::settings! { $(#[$meta])* pub struct $Config { $($fields)* } }

        macro_rules! $methods {
            () => { $crate::methods_of_fields! { $($fields)* } };
        }
        pub(crate) use $methods;
    };
    (
        $(#[$meta:meta])*
        pub struct $Config:ident {
            $(
                $(#[doc = $doc:literal])*
                $(#[variable($($variable:tt)*)])?
                $(#[check($check:expr)])?
                $(#[section($section:ident)])?
                $(#[builder($($builder:tt)*)])?
                $(#[debug($debug:expr)])?
                $(#[serde($($serde:tt)*)])?
                pub $field:ident: $type:ty = $default:expr,
            )*
        }
    ) => {
        $(#[$meta])*
        pub struct $Config {
            $(
                $(#[doc = $doc])*
                $(#[serde($($serde)*)])?
                pub $field: $type,
            )*
        }

        impl ::std::default::Default for $Config {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl ::std::fmt::Debug for $Config {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($Config));
                $(shown.field(stringify!($field), &$crate::of_field!(shown(&self.$field) $($debug)?));)*
                shown.finish()
            }
        }

        impl $crate::Settings for $Config {
            fn rows() -> ::std::vec::Vec<$crate::Row> {
                let mut rows = ::std::vec::Vec::new();
                $($crate::of_field!(
                    rows(rows, $field: $type, concat!($($doc, "\n"),*))
                    $(variable($($variable)*))? $(section($section))?
                );)*
                rows
            }

            fn read_variables(
                &mut self,
                env: &$crate::Env<'_>,
            ) -> ::std::result::Result<(), $crate::Invalid> {
                $($crate::of_field!(
                    read(env, &mut self.$field)
                    $(variable($($variable)*))? $(section($section))?
                );)*
                Ok(())
            }

            fn check_values(&self) -> ::std::result::Result<(), $crate::Invalid> {
                $(
                    $crate::of_field!(
                        check($field, &self.$field)
                        $(variable($($variable)*))? $(section($section))?
                    );
                    $($crate::Invalid::unless(stringify!($field), $check(&self.$field))?;)?
                )*
                Ok(())
            }
        }
    };
}

/// What one field adds to the body of a method of [`Settings`](crate::Settings), by its attributes.
#[doc(hidden)]
#[macro_export]
macro_rules! of_field {
    (shown($value:expr)) => { $value };
    (shown($value:expr) $show:expr) => { &$show($value) };

    (rows($rows:ident, $field:ident: $type:ty, $doc:expr) section($section:ident)) => {
        $rows.extend($crate::section_rows::<$type>(stringify!($section)))
    };
    (
        rows($rows:ident, $field:ident: $type:ty, $doc:expr)
        $(variable($($name:literal),+ $(as $kind:expr)?))?
    ) => {
        $rows.push($crate::Row {
            field: stringify!($field).into(),
            variables: &[$($($name),+)?],
            doc: $doc,
        })
    };

    (read($env:ident, $place:expr) section($section:ident)) => {
        $crate::Settings::read_variables($place, $env)?
    };
    (read($env:ident, $place:expr) variable($($name:literal),+ as $kind:expr)) => {
        $($env.set($name, $place, &$kind)?;)+
    };
    (read($env:ident, $place:expr) $($otherwise:tt)*) => {};

    (check($field:ident, $value:expr) section($section:ident)) => {
        $crate::Settings::check_values($value)
            .map_err(|error| error.in_section(stringify!($section)))?
    };
    (check($field:ident, $value:expr) variable($($name:literal),+ as $kind:expr)) => {
        $crate::Invalid::unless(stringify!($field), $crate::Kind::check(&$kind, $value))?
    };
    (check($field:ident, $value:expr) $($otherwise:tt)*) => {};
}

/// The builder's methods: one for each field with `#[builder(…)]`.
#[doc(hidden)]
#[macro_export]
macro_rules! methods_of_fields {
    ($(
        $(#[doc = $doc:literal])*
        $(#[variable $variable:tt])?
        $(#[check $check:tt])?
        $(#[section $section:tt])?
        $(#[builder($($builder:tt)*)])?
        $(#[debug $debug:tt])?
        $(#[serde $serde:tt])?
        pub $field:ident: $type:ty = $default:expr,
    )*) => {
        $($crate::method_of_field! { [$(#[doc = $doc])*] $field: $type, $($($builder)*)? })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! method_of_field {
    ([$($doc:tt)*] $field:ident: $type:ty,) => {};
    ([$($doc:tt)*] $field:ident: $type:ty, value) => {
        $crate::method_of_field! { [$($doc)*] $field: $type, value $type }
    };
    ([$($doc:tt)*] $field:ident: $type:ty, value $value:ty) => {
        $($doc)*
        pub fn $field(mut self, $field: $value) -> Self {
            self.settings.set(move |config| config.$field = $field.clone().into());
            self
        }
    };
    ([$($doc:tt)*] $field:ident: $type:ty, into $value:ty) => {
        $($doc)*
        pub fn $field(mut self, $field: impl ::std::convert::Into<$value>) -> Self {
            let $field: $value = $field.into();
            self.settings.set(move |config| config.$field = $field.clone().into());
            self
        }
    };
    ([$($doc:tt)*] $field:ident: $type:ty, list $item:ty) => {
        $($doc)*
        pub fn $field<T: ::std::convert::Into<$item>>(
            mut self,
            $field: impl ::std::iter::IntoIterator<Item = T>,
        ) -> Self {
            let $field: ::std::vec::Vec<$item> = $field.into_iter().map(T::into).collect();
            self.settings.set(move |config| config.$field = $field.clone());
            self
        }
    };
    ([$($doc:tt)*] $field:ident: $type:ty, entry $name:ident) => {
        $($doc)*
        pub fn $name(
            mut self,
            name: impl ::std::convert::Into<::std::string::String>,
            value: impl ::std::convert::Into<::std::string::String>,
        ) -> Self {
            let (name, value) = (name.into(), value.into());
            self.settings.set(move |config| {
                config.$field.insert(name.clone(), value.clone());
            });
            self
        }
    };
}

/// The rows of a section, as they are seen from outside.
#[doc(hidden)]
pub fn section_rows<C: crate::Settings>(section: &str) -> Vec<crate::Row> {
    let mut rows = C::rows();
    for row in &mut rows {
        row.field = format!("{section}.{}", row.field);
    }
    rows
}
