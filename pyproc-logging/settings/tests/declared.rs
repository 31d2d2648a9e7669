//! What a declaration makes, for each attribute.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, time::Duration,
};

use pyproc_settings::{
    Invalid, Layers, Settings,
    kind::{duration, flag, list, longer_than_zero, number, optional, path, paths, text, word},
    read_declared, settings,
    testing::{self, BySerde, Case},
};
use serde::{Deserialize, Serialize};

settings! {
    /// All settings.
    #[derive(Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct ShopConfig with builder_methods! {
        /// Shelves: [`Some`] or [`None`](Option::None) of `a|b`. Default 3.
        ///
        /// What follows is no part of the README.
        #[variable("SHOP_SHELVES" as number(1..=100))]
        #[builder(value)]
        pub shelves: u32 = 3,
        /// Its name. Default: none.
        #[variable("SHOP_OLD_NAME", "SHOP_NAME" as optional(text))]
        #[builder(into String)]
        pub name: Option<String> = None,
        /// Where it is. Default: here.
        #[variable("SHOP_PLACE" as path())]
        #[builder(into PathBuf)]
        pub place: PathBuf = PathBuf::new(),
        /// Its doors. Default: none.
        #[variable("SHOP_DOORS" as paths())]
        #[builder(list PathBuf)]
        pub doors: Vec<PathBuf> = Vec::new(),
        /// What it has. Default: nothing.
        #[variable("SHOP_GOODS" as list)]
        #[builder(list String)]
        pub goods: Vec<String> = Vec::new(),
        /// The keys of its doors. Default: none.
        #[builder(entry key)]
        #[debug(BTreeMap::len)]
        pub keys: BTreeMap<String, String> = BTreeMap::new(),
        /// Its till.
        #[section(till)]
        #[builder(value)]
        pub till: TillConfig = TillConfig::default(),
    }
}

settings! {
    /// A section.
    #[derive(Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct TillConfig {
        /// Whether it is open. Default `false`.
        #[variable("SHOP_TILL_OPEN" as flag)]
        pub open: bool = false,
        /// How long one waits there. Default 1 s.
        #[variable("SHOP_TILL_WAIT" as duration)]
        #[check(longer_than_zero)]
        #[serde(with = "humantime_serde")]
        pub wait: Duration = Duration::from_secs(1),
        /// Its tray. Default `Wood`.
        #[variable("SHOP_TILL_TRAY" as word)]
        pub tray: Tray = Tray::Wood,
        /// What somebody else reads. Default: none.
        #[variable("SHOP_TILL_A", "SHOP_TILL_B")]
        pub other: Option<String> = None,
    }
}

/// What the tray is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Tray {
    /// Of wood.
    Wood,
    /// Of steel.
    Steel,
}

#[derive(Default, Debug)]
struct ShopBuilder {
    settings: Layers<ShopConfig>,
}

impl ShopBuilder {
    builder_methods!();
}

impl From<ShopConfig> for ShopBuilder {
    fn from(config: ShopConfig) -> Self {
        Self {
            settings: config.into(),
        }
    }
}

impl testing::Builder for ShopBuilder {
    type Config = ShopConfig;

    fn read_env(self) -> Self {
        Self {
            settings: self.settings.read_env(),
        }
    }

    fn in_effect(&self, lookup: &dyn Fn(&str) -> Option<OsString>) -> ShopConfig {
        in_effect(&self.settings, lookup).unwrap()
    }
}

fn in_effect(
    settings: &Layers<ShopConfig>,
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Result<ShopConfig, Invalid> {
    settings.in_effect(read_declared, ShopConfig::check_values, lookup)
}

fn with(builder: ShopBuilder, variable: &str, value: &[u8]) -> Result<ShopConfig, Invalid> {
    let value = OsString::from_vec(value.to_vec());
    let lookup = |name: &str| (name == variable).then(|| value.clone());
    in_effect(&builder.settings.read_env(), &lookup)
}

#[test]
fn code_beats_the_environment_that_beats_the_file_in_every_order() {
    const SETTINGS: [BySerde<ShopBuilder>; 7] = [
        ("shelves", |it| it.shelves(4), "SHOP_SHELVES=5", "6"),
        ("name", |it| it.name("a"), "SHOP_NAME=b", r#""c""#),
        ("place", |it| it.place("a"), "SHOP_PLACE=b", r#""c""#),
        ("doors", |it| it.doors(["a", "b"]), "SHOP_DOORS=b:a", "[]"),
        (
            "goods",
            |it| it.goods(["a", "b"]),
            "SHOP_GOODS=b , a",
            r#"["a"]"#,
        ),
        ("keys", |it| it.key("a", "b"), "", r#"{"a": "c"}"#),
        (
            "till",
            |it| it.till(TillConfig::default()),
            "SHOP_TILL_TRAY=Steel",
            r#"{"open": true}"#,
        ),
    ];
    testing::code_beats_environment_beats_file(&SETTINGS.map(Case::by_serde), &[]);
}

#[test]
fn the_readme_has_a_row_for_each_setting() {
    testing::readme_has_settings::<ShopConfig>(
        "A table:

| setting | variable | meaning |
| --- | --- | --- |
| `shelves` | `SHOP_SHELVES` | Shelves: `Some` or `None` of `a\\|b`. Default 3. |
| `name` | `SHOP_NAME`, `SHOP_OLD_NAME` | Its name. Default: none. |
| `place` | `SHOP_PLACE` | Where it is. Default: here. |
| `doors` | `SHOP_DOORS` | Its doors. Default: none. |
| `goods` | `SHOP_GOODS` | What it has. Default: nothing. |
| `keys` | | The keys of its doors. Default: none. |
| `till.open` | `SHOP_TILL_OPEN` | Whether it is open. Default `false`. |
| `till.wait` | `SHOP_TILL_WAIT` | How long one waits there. Default 1 s. |
| `till.tray` | `SHOP_TILL_TRAY` | Its tray. Default `Wood`. |
| `till.other` | `SHOP_TILL_B`, `SHOP_TILL_A` | What somebody else reads. Default: none. |

Text after it.",
    );
}

#[test]
#[should_panic(expected = "the README must have this table")]
fn a_readme_with_another_row_is_refused() {
    testing::readme_has_settings::<TillConfig>("| setting | variable | meaning |\n| --- |");
}

#[test]
fn of_several_variables_the_last_counts() {
    let both = |name: &str| name.starts_with("SHOP_").then(|| name[5..].into());
    let only = |name: &str| both(name).filter(|_| name.ends_with("NAME"));
    let settings = Layers::default().read_env();
    assert_eq!(
        in_effect(&settings, &only).unwrap().name,
        Some("NAME".into())
    );
    let config = with(ShopBuilder::default(), "SHOP_OLD_NAME", b"old").unwrap();
    assert_eq!(config.name, Some("old".into()));
    // An empty one counts as not set, and so does one that somebody else reads.
    for name in ["SHOP_NAME", "SHOP_SHELVES", "SHOP_TILL_OPEN"] {
        let config = with(ShopBuilder::default(), name, b"").unwrap();
        assert_eq!(config, ShopConfig::default());
    }
    let config = with(ShopBuilder::default(), "SHOP_TILL_A", b"a").unwrap();
    assert_eq!(config, ShopConfig::default());
}

#[test]
fn an_error_names_the_variable_and_says_what_to_write() {
    for (variable, value, reason) in [
        (
            "SHOP_SHELVES",
            "many",
            r#""many": write a whole number between 1 and 100"#,
        ),
        (
            "SHOP_SHELVES",
            "-1",
            r#""-1": write a whole number between 1 and 100"#,
        ),
        ("SHOP_SHELVES", "101", "101 is not between 1 and 100"),
        ("SHOP_TILL_OPEN", "yes", r#""yes": write true or false"#),
        (
            "SHOP_TILL_WAIT",
            "5",
            r#""5": is no duration, such as 5s or 250ms"#,
        ),
        ("SHOP_TILL_WAIT", "0s", "must be longer than zero"),
        (
            "SHOP_TILL_TRAY",
            "Tin",
            r#""Tin": unknown variant `Tin`, expected `Wood` or `Steel`"#,
        ),
    ] {
        let error = with(ShopBuilder::default(), variable, value.as_bytes());
        assert_eq!(error.unwrap_err(), Invalid::new(variable, reason));
    }
    let error = with(ShopBuilder::default(), "SHOP_NAME", &[0xff]);
    assert_eq!(
        error.unwrap_err(),
        Invalid::new("SHOP_NAME", "is not UTF-8")
    );
    let config = with(ShopBuilder::default(), "SHOP_PLACE", &[0xff]).unwrap();
    assert_eq!(config.place, PathBuf::from(OsString::from_vec(vec![0xff])));
}

#[test]
fn an_error_of_a_file_or_of_code_names_the_field() {
    let late = || TillConfig {
        wait: Duration::ZERO,
        ..TillConfig::default()
    };
    let error = with(ShopBuilder::default().till(late()), "SHOP_TILL_OPEN", b"1");
    assert_eq!(error.unwrap_err().field, "till.wait");
    // The variable is in range, and code counts.
    let error = with(ShopBuilder::default().shelves(0), "SHOP_SHELVES", b"5");
    assert_eq!(error.unwrap_err().field, "shelves");
    // The variable is out of range, and code counts.
    let config = with(ShopBuilder::default().shelves(5), "SHOP_SHELVES", b"0");
    assert_eq!(config.unwrap().shelves, 5);
}

#[test]
fn debug_shows_no_secret() {
    let text = format!("{:?}", ShopBuilder::default().key("door", "s3cret"));
    assert!(
        text.contains("keys: 1") && text.contains("shelves: 3"),
        "{text}"
    );
}
