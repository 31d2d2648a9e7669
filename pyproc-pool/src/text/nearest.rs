//! Finds the known name that an unknown one may have meant.

/// Longer names are not compared.
const LONGEST: usize = 64;

/// The known name with the smallest distance, if that is at most a third of the name's length.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let most = (name.len() / 3).max(1);
    known
        .filter(|it| it.len().abs_diff(name.len()) <= most)
        .map(|it| (distance(name, it), it))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, nearest)| nearest)
}

/// The number of bytes to insert, remove or replace, regardless of case (Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(!from.eq_ignore_ascii_case(&to));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slip_finds_the_name_and_another_name_finds_none() {
        let known = || ["predict", "add", "MAX_QUEUE"].into_iter();
        for (name, expected) in [
            ("predcit", Some("predict")),
            ("Predict", Some("predict")),
            ("ad", Some("add")),
            ("MAXQUEUE", Some("MAX_QUEUE")),
            ("health", None),
            ("", None),
            ("größe", None),
        ] {
            assert_eq!(nearest(name, known()), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn it_is_a_distance(a in "\\PC{0,12}", b in "\\PC{0,12}") {
            prop_assert_eq!(distance(&a, &a), 0);
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert!(distance(&a, &b) >= a.len().abs_diff(b.len()));
            prop_assert!(distance(&a, &b) <= a.len().max(b.len()));
        }
    }
}
