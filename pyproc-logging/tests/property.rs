//! Whatever is logged comes back from the line.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use proptest::{collection::vec, option, prelude::*};
use pyproc_logging::LoggingBuilder;
use serde_json::value::RawValue;
use support::{Object, logged};
use tracing::{Value, info, info_span};

/// Reserved names, their other names, and odd ones; in the order in which the macros below have them.
const NAMES: [&str; 16] = [
    "time",
    "level",
    "msg",
    "trace_id",
    "span_id",
    "trace_flags",
    "level_2",
    "msg_2",
    "msg_3",
    "a",
    "a_2",
    "a_2_2",
    "odd \"name\"\n",
    "user.id",
    "type",
    "",
];
const RESERVED: [&str; 6] = ["time", "level", "msg", "trace_id", "span_id", "trace_flags"];

macro_rules! with_names {
    ($macro:ident!($($first:tt)*), $v:ident, $($last:tt)*) => {
        $macro!(
            $($first)*
            "time" = $v[0], "level" = $v[1], "msg" = $v[2], "trace_id" = $v[3], "span_id" = $v[4],
            "trace_flags" = $v[5], level_2 = $v[6], msg_2 = $v[7], msg_3 = $v[8], a = $v[9], a_2 = $v[10],
            a_2_2 = $v[11], "odd \"name\"\n" = $v[12], user.id = $v[13], r#type = $v[14], "" = $v[15],
            $($last)*
        )
    };
}

#[derive(Debug, Clone, PartialEq)]
enum Held {
    Text(String),
    Signed(i64),
    Unsigned(u64),
    Huge(u128),
    Float(f64),
    Bool(bool),
}

impl Held {
    fn boxed(&self) -> Box<dyn Value> {
        match self.clone() {
            Self::Text(text) => Box::new(text),
            Self::Signed(number) => Box::new(number),
            Self::Unsigned(number) => Box::new(number),
            Self::Huge(number) => Box::new(number),
            Self::Float(number) => Box::new(number),
            Self::Bool(value) => Box::new(value),
        }
    }

    /// Whether this is what stands on the line.
    fn is(&self, json: &RawValue) -> bool {
        let text = || serde_json::from_str::<String>(json.get()).ok();
        match self {
            Self::Text(expected) => text().as_ref() == Some(expected),
            Self::Signed(expected) => json.get().parse() == Ok(*expected),
            Self::Unsigned(expected) => json.get().parse() == Ok(*expected),
            Self::Huge(expected) if *expected <= u128::from(u64::MAX) => {
                json.get().parse() == Ok(*expected)
            }
            Self::Huge(expected) => text() == Some(expected.to_string()),
            Self::Float(expected) if expected.is_finite() => {
                // A number with a point or an exponent, not a whole one.
                json.get().contains(['.', 'e'])
                    && json.get().parse::<f64>().map(f64::to_bits) == Ok(expected.to_bits())
            }
            Self::Float(expected) => text() == Some(expected.to_string()),
            Self::Bool(expected) => json.get().parse() == Ok(*expected),
        }
    }
}

fn held() -> impl Strategy<Value = Held> {
    prop_oneof![
        any::<String>().prop_map(Held::Text),
        any::<i64>().prop_map(Held::Signed),
        any::<u64>().prop_map(Held::Unsigned),
        any::<u128>().prop_map(Held::Huge),
        any::<f64>().prop_map(Held::Float),
        any::<bool>().prop_map(Held::Bool),
        // So that equal values meet.
        Just(Held::Signed(1)),
        Just(Held::Unsigned(1)),
        Just(Held::Text("x".into())),
    ]
}

fn fields() -> impl Strategy<Value = Vec<Option<Held>>> {
    vec(option::of(held()), NAMES.len())
}

fn values(held: &[Option<Held>]) -> Vec<Option<Box<dyn Value>>> {
    held.iter()
        .map(|held| held.as_ref().map(Held::boxed))
        .collect()
}

/// Whether the key is one that a field gets whose own name is taken.
fn is_other_name(name: &str, key: &str) -> bool {
    let number = key
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('_'));
    number.is_some_and(|number| number.parse::<usize>().is_ok_and(|number| number >= 2))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_is_logged_comes_back(
        message in any::<String>(),
        event in fields(),
        inner in fields(),
        late in fields(),
        outer in fields(),
    ) {
        let lines = logged(LoggingBuilder::default(), || {
            let (o, i, e) = (values(&outer), values(&inner), values(&event));
            let _outer = with_names!(info_span!("outer",), o,).entered();
            let inner_span = with_names!(info_span!("inner",), i,).entered();
            for (name, value) in NAMES.iter().zip(values(&late)) {
                inner_span.record(*name, value);
            }
            with_names!(info!(), e, "{message}");
        })
        .objects();

        prop_assert_eq!(lines.len(), 1);
        let line = &lines[0];
        prop_assert_eq!(&line.keys()[..3], ["time", "level", "msg"]);
        prop_assert_eq!(line.text("level"), "INFO");
        prop_assert_eq!(line.text("msg"), message);

        let inner: Vec<_> = late.into_iter().zip(inner).map(|(late, first)| late.or(first)).collect();
        // Each value once that differs from the others of its name, the innermost first.
        let mut logged: Vec<(&str, &Held)> = Vec::new();
        for fields in [&event, &inner, &outer] {
            for (name, held) in NAMES.iter().zip(fields) {
                let Some(held) = held else { continue };
                if !logged.iter().any(|(known, other)| known == name && same(other, held)) {
                    logged.push((name, held));
                }
            }
        }
        let mut rest: Vec<_> = line.0[3..].iter().collect();
        let mut others = Vec::new();
        for (at, (name, held)) in logged.iter().enumerate() {
            let innermost = !logged[..at].iter().any(|(known, _)| known == name);
            if !innermost || RESERVED.contains(name) {
                others.push((name, held));
                continue;
            }
            let found = rest.iter().position(|(key, _)| key == name);
            prop_assert!(found.is_some(), "{} is lost", name);
            let (_, json) = rest.swap_remove(found.unwrap());
            prop_assert!(held.is(json), "{} is {}, not {:?}", name, json, held);
        }
        for (name, held) in others {
            let found = rest.iter().position(|(key, json)| is_other_name(name, key) && held.is(json));
            prop_assert!(found.is_some(), "{} = {:?} is lost in {:?}", name, held, line.0);
            rest.swap_remove(found.unwrap());
        }
        prop_assert!(rest.is_empty(), "nobody logged {:?}", rest);
    }
}

/// What JSON can hold, but objects in their own order and with keys that may come twice, and numbers with
/// their digits.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    /// A number, a boolean or null.
    Plain(String),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn write(&self, space: &str) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::Text(text) => serde_json::to_string(text).unwrap(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.write(space)).collect();
                format!("[{space}{}]", items.join(&format!(",{space}")))
            }
            Self::Object(members) => {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| {
                        let name = serde_json::to_string(name).unwrap();
                        format!("{name}{space}:{space}{}", value.write(space))
                    })
                    .collect();
                format!("{{{}{space}}}", members.join(&format!("{space},")))
            }
        }
    }

    /// Refuses keys that come twice.
    fn read(json: &RawValue) -> Self {
        let text = json.get();
        match text.as_bytes()[0] {
            b'"' => Self::Text(serde_json::from_str(text).unwrap()),
            b'[' => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap();
                Self::List(items.iter().map(|item| Self::read(item)).collect())
            }
            b'{' => {
                let members = Object::parse(text).0.into_iter();
                Self::Object(
                    members
                        .map(|(name, value)| (name, Self::read(&value)))
                        .collect(),
                )
            }
            _ => Self::Plain(text.into()),
        }
    }

    /// Whether this came out as the other, in whose objects no key comes twice.
    fn became(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(before), Self::List(after)) => {
                before.len() == after.len()
                    && before
                        .iter()
                        .zip(after)
                        .all(|(one, other)| one.became(other))
            }
            (Self::Object(before), Self::Object(after)) => {
                let same_name = |at: usize, key: &str| {
                    let (name, _) = &before[at];
                    let first = !before[..at].iter().any(|(earlier, _)| earlier == name);
                    if first {
                        key == name
                    } else {
                        is_other_name(name, key)
                    }
                };
                before.len() == after.len()
                    && before
                        .iter()
                        .zip(after)
                        .enumerate()
                        .all(|(at, (one, other))| same_name(at, &other.0) && one.1.became(&other.1))
            }
            _ => self == other,
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(&NAMES[..]).prop_map(Into::into),
        prop::sample::select(&["worker_id", "fields", "message", "time_unix_nano"][..])
            .prop_map(Into::into),
        any::<String>(),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let plain = prop_oneof![
        Just("null".into()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{0,40}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
    ];
    let leaf = prop_oneof![
        plain.prop_map(Tree::Plain),
        any::<String>().prop_map(Tree::Text)
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Tree::List),
            vec((name(), inner), 0..4).prop_map(Tree::Object),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_a_record_of_another_process_holds_comes_back(
        members in vec((name(), tree()), 0..12),
        space in "[ \t\r\n]{0,3}",
    ) {
        let fields = Tree::Object(members.clone()).write(&space);
        let lines = logged(LoggingBuilder::default(), || {
            info!(target: "pyproc::python", worker_id = 1, fields, "m");
        })
        .objects();

        prop_assert_eq!(lines.len(), 1);
        prop_assert_eq!(&lines[0].keys()[..4], ["time", "level", "msg", "worker_id"]);
        let all: Vec<_> = lines[0].0[3..].iter().map(|(key, json)| (key.as_str(), Tree::read(json))).collect();
        let mut rest = all[1..].to_vec();
        let (late, plain): (Vec<_>, Vec<_>) = members.iter().enumerate().partition(|(at, (name, _))| {
            RESERVED.contains(&name.as_str())
                || name == "worker_id"
                || members[..*at].iter().any(|(known, _)| known == name)
        });
        for (_, (name, value)) in plain {
            let found = rest.iter().position(|(key, json)| key == name && value.became(json));
            prop_assert!(found.is_some(), "{} = {:?} is lost in {:?}", name, value, all);
            rest.swap_remove(found.unwrap());
        }
        for (_, (name, value)) in late {
            let renamed = |(key, json): &(&str, Tree)| is_other_name(name, key) && value.became(json);
            // What was said already is not said again.
            let said = |(key, json): &(&str, Tree)| key == name && value.became(json);
            match rest.iter().position(renamed) {
                Some(place) => drop(rest.swap_remove(place)),
                None => prop_assert!(all.iter().any(|it| renamed(it) || said(it)), "{} = {:?} is lost in {:?}", name, value, all),
            }
        }
        prop_assert!(rest.is_empty(), "nobody logged {:?}", rest);
    }
}

/// Whether two values look the same on a line.
fn same(one: &Held, other: &Held) -> bool {
    let json = |held: &Held| match held {
        Held::Text(text) => format!("{text:?}"),
        Held::Signed(number) => number.to_string(),
        Held::Unsigned(number) => number.to_string(),
        Held::Huge(number) if *number <= u128::from(u64::MAX) => number.to_string(),
        Held::Huge(number) => format!("{:?}", number.to_string()),
        Held::Float(number) if number.is_finite() => format!("{number:?}"),
        Held::Float(number) => format!("{:?}", number.to_string()),
        Held::Bool(value) => value.to_string(),
    };
    json(one) == json(other)
}
