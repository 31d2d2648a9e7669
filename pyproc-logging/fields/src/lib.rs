#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, ffi::OsString};

/// The variable that sets any field.
pub const VARIABLE: &str = "PYPROC_LOG_FIELDS";

/// Fields and the variables that set them. The first variable that is set counts.
const BY_KUBERNETES: [(&str, [&str; 2]); 3] = [
    ("pod_name", ["POD_NAME", "MY_POD_NAME"]),
    ("namespace", ["POD_NAMESPACE", "MY_POD_NAMESPACE"]),
    ("node_name", ["NODE_NAME", "MY_NODE_NAME"]),
];

/// The keys that log lines have themselves. The last one, `target`, is only on lines of a log with that setting.
pub const LINE_KEYS: [&str; 7] = [
    "time",
    "level",
    "msg",
    "trace_id",
    "span_id",
    "trace_flags",
    "target",
];

/// The keys for the origin of a record that another process made.
pub const ORIGIN_KEYS: [&str; 6] = [
    "worker_id",
    "function_name",
    "stream",
    "trace_id",
    "span_id",
    "trace_flags",
];

/// The key of the line about dropped lines.
const DROPPED_KEY: &str = "dropped_lines";

/// A variable with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
#[non_exhaustive]
pub struct InvalidVariable {
    /// The variable's name.
    pub variable: String,
    /// What is wrong, and which values are valid.
    pub reason: String,
}

/// The fields that the environment sets; `lookup` gives the value of a variable. An empty one counts as not set.
///
/// # Errors
///
/// Names the variable with the invalid value.
pub fn from_env(
    lookup: impl Fn(&str) -> Option<OsString>,
) -> Result<BTreeMap<String, String>, InvalidVariable> {
    let mut fields = BTreeMap::new();
    for (name, variables) in BY_KUBERNETES {
        for variable in variables.iter().rev() {
            let value = text(variable, &lookup)?;
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    if let Some(pairs) = text(VARIABLE, &lookup)? {
        let pairs = parse(&pairs).map_err(|reason| invalid(VARIABLE, reason))?;
        fields.extend(pairs);
    }
    Ok(fields)
}

/// Whether this variable sets a field.
pub fn is_variable(name: &str) -> bool {
    let mut by_kubernetes = BY_KUBERNETES.iter().flat_map(|(_, variables)| variables);
    name == VARIABLE || by_kubernetes.any(|variable| *variable == name)
}

/// Whether a field may have this name.
///
/// # Errors
///
/// The reason, in one sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    if name.is_empty() {
        return Err("a field has no name".into());
    }
    if !name.bytes().all(is_plain) {
        return Err(format!(
            "{name:?} cannot be the name of a field: it may have ASCII letters, digits and _ - . /"
        ));
    }
    if LINE_KEYS.contains(&name) || ORIGIN_KEYS.contains(&name) || name == DROPPED_KEY {
        return Err(format!(
            "`{name}` cannot be a field of every line, as log lines use that key themselves; choose another name"
        ));
    }
    Ok(())
}

/// The field's name in OpenTelemetry's conventions, if it has one.
pub fn attribute_name(field: &str) -> Option<&'static str> {
    match field {
        "pod_name" => Some("k8s.pod.name"),
        "namespace" => Some("k8s.namespace.name"),
        "node_name" => Some("k8s.node.name"),
        "version" => Some("service.version"),
        _ => None,
    }
}

fn text(
    variable: &str,
    lookup: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, InvalidVariable> {
    let value = lookup(variable).filter(|value| !value.is_empty());
    let text = value.map(OsString::into_string).transpose();
    text.map_err(|_| invalid(variable, "is not UTF-8".into()))
}

fn invalid(variable: &str, reason: String) -> InvalidVariable {
    InvalidVariable {
        variable: variable.into(),
        reason,
    }
}

/// `name=value,name=value`
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(',').map(str::trim);
    pairs
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("{pair:?} is no field: write name=value,name=value"))?;
            let name = name.trim();
            check_name(name)?;
            let value = percent_decoded(value.trim()).ok_or_else(|| {
                format!("the value of `{name}` has a % that begins no percent-encoded UTF-8")
            })?;
            Ok((name.to_owned(), value))
        })
        .collect()
}

/// Strict: `percent-encoding` accepts a `%` without two digits.
fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<BTreeMap<String, String>, InvalidVariable> {
        from_env(|name| {
            let mut variables = variables.iter();
            let found = variables.find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    }

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn each_variable_sets_its_field() {
        let read = read(&[
            ("POD_NAME", "shop-1"),
            ("MY_POD_NAME", "other"),
            ("MY_POD_NAMESPACE", "prod"),
            ("NODE_NAME", ""),
            (
                "PYPROC_LOG_FIELDS",
                "version=1.4.2, region = eu%2Cwest ,empty=,namespace=mine,a=b=c,",
            ),
        ]);
        let expected = fields(&[
            ("pod_name", "shop-1"),
            ("namespace", "mine"),
            ("version", "1.4.2"),
            ("region", "eu,west"),
            ("empty", ""),
            ("a", "b=c"),
        ]);
        assert_eq!(read.unwrap(), expected);
        assert_eq!(self::read(&[]).unwrap(), BTreeMap::new());
        assert!(is_variable("MY_POD_NAME") && is_variable(VARIABLE) && !is_variable("POD"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_sentence() {
        for (value, reason) in [
            (
                "version",
                "\"version\" is no field: write name=value,name=value",
            ),
            ("=x", "a field has no name"),
            (
                "a b=x",
                "\"a b\" cannot be the name of a field: it may have ASCII letters, digits and _ - . /",
            ),
            (
                "a=%2",
                "the value of `a` has a % that begins no percent-encoded UTF-8",
            ),
            (
                "a=%+1",
                "the value of `a` has a % that begins no percent-encoded UTF-8",
            ),
            (
                "a=%ff",
                "the value of `a` has a % that begins no percent-encoded UTF-8",
            ),
            (
                "level=x",
                "`level` cannot be a field of every line, as log lines use that key themselves; choose another name",
            ),
        ] {
            let error = read(&[(VARIABLE, value)]).unwrap_err();
            assert_eq!((&*error.variable, &*error.reason), (VARIABLE, reason));
        }
        let keys = LINE_KEYS.iter().chain(&ORIGIN_KEYS).chain([&DROPPED_KEY]);
        for name in keys {
            assert!(check_name(name).is_err(), "{name}");
        }
        let not_unicode = |name: &str| (name == "POD_NAME").then(|| OsString::from_vec(vec![0xff]));
        assert_eq!(from_env(not_unicode).unwrap_err().variable, "POD_NAME");
    }

    proptest! {
        #[test]
        fn any_value_can_be_written_and_any_text_read(value in any::<String>(), text in any::<String>()) {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let read = parse(&format!("name={encoded}")).unwrap();
            prop_assert_eq!(read, [("name".to_owned(), value)]);
            let _ = parse(&text);
        }
    }
}
