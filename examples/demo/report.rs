//! The table of results.

use indicatif::HumanCount;

use crate::census::{Census, Sources};

/// Prints the results, and the speed-up by more workers.
pub(crate) fn print(sources: &Sources, workers: usize, by_one: &Census, by_many: &Census) {
    let noun = if workers == 1 { "worker" } else { "workers" };
    println!(
        "\nPython {}'s standard library, read by {workers} {noun}\n",
        sources.python
    );
    count("files", by_many.files, "");
    count("skipped", by_many.skipped.values().sum(), &reasons(by_many));
    count("lines", by_many.lines, "");
    count("functions", by_many.functions, "");
    count("classes", by_many.classes, "");
    if let Some(longest) = &by_many.longest {
        let file = longest
            .file
            .trim_start_matches(&sources.root)
            .trim_start_matches('/');
        count(
            "longest function",
            longest.lines,
            &format!("lines ({} in {file})", longest.name),
        );
    }
    let rate = |census: &Census| census.calls() as f64 / census.time.as_secs_f64();
    let with_one = format!("({:.0} with one worker)", rate(by_one));
    row(
        "calls a second",
        &format!("{:.0}", rate(by_many)),
        &with_one,
    );
    let times = format!(
        "({:.1} s instead of {:.1} s)",
        seconds(by_many),
        seconds(by_one)
    );
    row(
        "speed-up",
        &format!("{:.2}x", rate(by_many) / rate(by_one)),
        &times,
    );
}

fn count(name: &str, number: u64, detail: &str) {
    row(name, &HumanCount(number).to_string(), detail);
}

fn row(name: &str, value: &str, detail: &str) {
    println!("{}", format!("{name:<17} {value:>9}  {detail}").trim_end());
}

fn reasons(census: &Census) -> String {
    let reasons: Vec<_> = census
        .skipped
        .iter()
        .map(|(reason, times)| format!("{times} {reason}"))
        .collect();
    if reasons.is_empty() {
        String::new()
    } else {
        format!("({})", reasons.join(", "))
    }
}

fn seconds(census: &Census) -> f64 {
    census.time.as_secs_f64()
}
