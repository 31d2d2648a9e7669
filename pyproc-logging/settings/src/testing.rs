//! Tests for each crate with settings: that its README has every setting, and which source of a value counts.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::ffi::OsString;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Row, Settings};

/// Checks that the README has the table of the settings: of each the name, the variables, and the first paragraph of its
/// documentation.
///
/// # Panics
///
/// It has another table. The message shows the right one.
pub fn readme_has_settings<C: Settings>(readme: &str) {
    let head = ["| setting | variable | meaning |", "| --- | --- | --- |"].map(str::to_owned);
    let rows = C::rows();
    let table: Vec<_> = head
        .into_iter()
        .chain(rows.iter().map(as_markdown))
        .collect();
    let lines = readme.lines().skip_while(|line| *line != table[0]);
    let found: Vec<_> = lines.take_while(|line| line.starts_with('|')).collect();
    let table = table.join("\n");
    assert!(
        found.join("\n") == table,
        "the README must have this table:\n\n{table}\n"
    );
}

fn as_markdown(row: &Row) -> String {
    let variables = row.variables.iter().rev().map(|name| format!("`{name}`"));
    let variables = variables.collect::<Vec<_>>().join(", ");
    let paragraph = row.doc.lines().map(str::trim);
    let paragraph = paragraph.take_while(|line| !line.is_empty());
    let text = without_links(&paragraph.collect::<Vec<_>>().join(" "));
    let line = format!("| `{}` | {variables} | {text} |", row.field);
    line.replace("|  |", "| |")
}

/// Of `` [`name`](path) `` and of `` [`name`] `` only the name is left, and what would end a cell is escaped.
fn without_links(text: &str) -> String {
    let text = text.replace('|', "\\|");
    let mut parts = text.split("[`");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("`]").unwrap();
        let target = rest.strip_prefix('(').and_then(|it| it.split_once(')'));
        let rest = target.map_or(rest, |(_, rest)| rest);
        plain += &format!("`{name}`{rest}");
    }
    plain
}

/// The builder of a crate.
pub trait Builder: From<Self::Config> {
    /// What it sets.
    type Config: Settings;

    /// Its method of this name.
    #[must_use]
    fn read_env(self) -> Self;

    /// The settings in effect where `lookup` is the environment.
    fn in_effect(&self, lookup: &dyn Fn(&str) -> Option<OsString>) -> Self::Config;
}

/// A setting, and how each source sets it: all to different values.
pub struct Case<B: Builder> {
    name: &'static str,
    code: fn(B) -> B,
    /// `NAME=value`, or nothing.
    variable: &'static str,
    file: Change<B::Config>,
    shown: Show<B::Config>,
}

type Change<C> = Box<dyn Fn(&mut C)>;
type Show<C> = Box<dyn Fn(&C) -> String>;

/// The field, how code sets it, a variable that does, as `NAME=value` (or empty), and its value in a file in JSON.
pub type BySerde<B> = (&'static str, fn(B) -> B, &'static str, &'static str);

impl<B: Builder> Case<B> {
    /// A setting of a configuration that serde does not write. `variable` is `NAME=value`, or empty if there is none.
    pub fn new(
        name: &'static str,
        code: fn(B) -> B,
        variable: &'static str,
        file: fn(&mut B::Config),
        shown: fn(&B::Config) -> String,
    ) -> Self {
        Self {
            name,
            code,
            variable,
            file: Box::new(file),
            shown: Box::new(shown),
        }
    }

    /// A setting that a file sets to a value in JSON.
    pub fn by_serde((name, code, variable, json): BySerde<B>) -> Self
    where
        B::Config: Serialize + DeserializeOwned,
    {
        let file = move |config: &mut B::Config| {
            let mut all = serde_json::to_value(&*config).unwrap();
            all[name] = serde_json::from_str(json).unwrap();
            *config = serde_json::from_value(all).unwrap();
        };
        let shown =
            move |config: &B::Config| serde_json::to_value(config).unwrap()[name].to_string();
        Self {
            name,
            code,
            variable,
            file: Box::new(file),
            shown: Box::new(shown),
        }
    }
}

/// Which settings each source has.
#[derive(Debug, Clone)]
struct Sources {
    file: Vec<bool>,
    env: Vec<bool>,
    code: Vec<bool>,
    /// Of the calls in code; the number behind those of all settings stands for `read_env`.
    order: Vec<usize>,
}

fn sources(settings: usize) -> impl Strategy<Value = Sources> {
    let some = || vec(any::<bool>(), settings);
    let order = Just((0..=settings).collect::<Vec<_>>()).prop_shuffle();
    (some(), some(), some(), order).prop_map(|(file, env, code, order)| Sources {
        file,
        env,
        code,
        order,
    })
}

/// Checks that code beats the environment, which beats the file, whatever the order of the calls, and each setting by
/// itself. `others` are settings without a case.
///
/// # Panics
///
/// They do not, or a setting of the declaration has no case.
pub fn code_beats_environment_beats_file<B: Builder>(cases: &[Case<B>], others: &[&str]) {
    every_setting_has_a_case(cases, others);
    for (at, case) in cases.iter().enumerate() {
        let [file, env, code] = [
            [true, false, false],
            [false, true, false],
            [false, false, true],
        ]
        .map(|[file, env, code]| alone(cases, at, file, env, code));
        assert_ne!(code, file, "{}", case.name);
        assert!(case.variable.is_empty() || code != env, "{}", case.name);
    }
    let mut runner = TestRunner::new(Config::default());
    let result = runner.run(&sources(cases.len()), |sources| {
        let config = of_all(cases, &sources);
        for (at, case) in cases.iter().enumerate() {
            let (file, env, code) = (sources.file[at], sources.env[at], sources.code[at]);
            let expected = alone(cases, at, file, env, code);
            if (case.shown)(&config) != expected {
                return Err(TestCaseError::fail(format!("{}: {expected}", case.name)));
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn every_setting_has_a_case<B: Builder>(cases: &[Case<B>], others: &[&str]) {
    for row in B::Config::rows() {
        let is_named = |name: &str| row.field.starts_with(name);
        let known = cases.iter().any(|case| is_named(case.name));
        assert!(known || others.iter().any(|name| is_named(name)), "{row:?}");
    }
}

fn of_all<B: Builder>(cases: &[Case<B>], sources: &Sources) -> B::Config {
    let mut file = B::Config::default();
    for (at, case) in cases.iter().enumerate() {
        if sources.file[at] {
            (case.file)(&mut file);
        }
    }
    let mut builder = B::from(file);
    for at in &sources.order {
        builder = match cases.get(*at) {
            None => builder.read_env(),
            Some(case) if sources.code[*at] => (case.code)(builder),
            Some(_) => builder,
        };
    }
    builder.in_effect(&|name| {
        let mut cases = cases.iter().zip(&sources.env);
        cases.find_map(|(case, is_set)| case.value_of(name).filter(|_| *is_set))
    })
}

/// What a setting is if it is the only one that any source sets.
fn alone<B: Builder>(cases: &[Case<B>], at: usize, file: bool, env: bool, code: bool) -> String {
    let only = |is_set: bool| (0..cases.len()).map(|it| it == at && is_set).collect();
    let sources = Sources {
        file: only(file),
        env: only(env && !code),
        code: only(code),
        order: (0..=cases.len()).collect(),
    };
    (cases[at].shown)(&of_all(cases, &sources))
}

impl<B: Builder> Case<B> {
    fn value_of(&self, variable: &str) -> Option<OsString> {
        let (name, value) = self.variable.split_once('=')?;
        (name == variable).then(|| value.into())
    }
}
