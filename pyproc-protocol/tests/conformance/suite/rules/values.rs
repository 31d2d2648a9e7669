use super::{not_tried, rule};
use crate::suite::{
    Rule,
    subject::Subject,
    verdict::{Outcome, not_applicable},
    wire::request,
};

pub(super) const RULES: &[Rule] = &[
    rule(
        "1-V1",
        "Objects keep their members, and their order.",
        members,
    ),
    rule(
        "1-V2",
        "Integers of 64 bits arrive exactly, and doubles as they are.",
        numbers,
    ),
    rule("1-V3", "Texts arrive unchanged, U+0000 among them.", texts),
    not_tried(
        "1-V4",
        "Duplicate keys within a body have no meaning.",
        "the rule allows any choice",
    ),
];

fn members(subject: &Subject) -> Outcome {
    let body = r#"{"b":null,"a":{"z":[],"y":{"":false}},"B":[{"k":1},{}]}"#;
    let mut peer = subject.connect()?;
    peer.send(request(1, "echo", body));
    peer.text(&format!(r#"{{"id":1,"ok":true,"body":{body}}}"#))
}

fn numbers(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    for number in [0.1, -2.5, 1e-7, 5e-324, 1e300, f64::MAX, f64::MIN_POSITIVE] {
        let answer = peer.call("echo", &format!("{number:?}"))?;
        peer.check(answer.as_f64() == Some(number), &format!("{number:?}"))?;
    }
    for number in [
        i128::from(i64::MIN),
        -1,
        0,
        9_007_199_254_740_993,
        u64::MAX.into(),
    ] {
        let answer = peer.call("echo", &number.to_string())?;
        let came = answer.to_string();
        if came == number.to_string() {
            continue;
        }
        if answer.as_f64() == Some(number as f64) {
            return not_applicable("its integers are doubles, which its documentation must say");
        }
        return peer.fail(&number.to_string(), came);
    }
    Ok(())
}

fn texts(subject: &Subject) -> Outcome {
    let mut peer = subject.connect()?;
    for text in [
        "größe & 雪 <🐍>",
        "\0\u{1}\u{1f}\u{7f}\u{80}",
        "\u{e9} is not e\u{301}",
        "\u{2028}\u{2029}\u{fffd}\u{ffff}\u{10ffff}\u{feff}",
        "\"\\/\\u0041",
    ] {
        let body = serde_json::to_string(text).unwrap_or_default();
        let answer = peer.call("echo", &body)?;
        peer.check(answer == text, &body)?;
    }
    Ok(())
}
