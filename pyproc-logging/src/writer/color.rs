use std::ffi::OsString;

use crate::Color;

/// Whether lines for an output are coloured.
pub(crate) fn wanted(
    color: Color,
    is_terminal: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let forbidden = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = variable("TERM").is_some_and(|value| value == "dumb");
            is_terminal && !forbidden && !dumb
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(is_terminal: bool, variables: &[(&str, &str)]) -> bool {
        wanted(Color::Auto, is_terminal, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    }

    #[test]
    fn only_a_terminal_is_coloured_and_only_if_nobody_objects() {
        assert!(auto(true, &[]));
        assert!(auto(true, &[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!auto(true, &[("NO_COLOR", "1")]));
        assert!(!auto(true, &[("NO_COLOR", "0")]));
        assert!(!auto(true, &[("TERM", "dumb")]));
        assert!(!auto(false, &[("TERM", "xterm")]));
    }

    #[test]
    fn a_choice_of_the_user_is_kept() {
        let no_color = |name: &str| (name == "NO_COLOR").then(|| "1".into());
        assert!(wanted(Color::Always, false, no_color));
        assert!(!wanted(Color::Never, true, |_| None));
    }
}
