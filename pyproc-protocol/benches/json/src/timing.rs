//! How long each library takes.

use std::fmt::Debug;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jiter::{Jiter, JsonValue};
use serde::{Serialize, de::DeserializeOwned};

use crate::cases::{self, Document, Number, Row};
use crate::libraries::{Library, Ours, SerdeJson, SimdJson, SonicRs};

const ROUNDS: usize = 25;
/// Bytes before the JSON that is written, as a frame has them.
const HEAD: usize = 30;
/// Of one measurement.
const LENGTH: Duration = Duration::from_millis(16);

/// One thing that is measured: the rounds of all libraries are interleaved.
type Run<'a> = Box<dyn FnMut() + 'a>;

/// Prints a table: microseconds, and what part of the fastest other library's time ours takes.
pub fn print(filter: &str) -> Result<()> {
    println!("| µs | ours | serde_json | sonic-rs | simd-json | jiter | ours / fastest other |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    row(filter, "W1", &Number { value: 42 }, |json| {
        read_number(json)
    })?;
    row(filter, "W2, `Value`", &cases::document(), |json| {
        drop(black_box(JsonValue::parse(json, false)));
        None
    })?;
    row(filter, "W2, typed", &cases::rows(), read_document)?;
    row(filter, "10,000 floats", &cases::floats(), |json| {
        read_list(json, |it| it.next_float().ok())
    })?;
    row(filter, "10,000 integers", &cases::integers(), |json| {
        read_list(json, |it| match it.next_int().ok()? {
            jiter::NumberInt::Int(value) => Some(value),
            jiter::NumberInt::BigInt(_) => None,
        })
    })?;
    row(filter, "100 kB of text", &cases::text(), read_text)?;
    row(
        filter,
        "100 kB of text, escapes",
        &cases::special_text(),
        read_text,
    )?;
    Ok(())
}

fn row<T>(filter: &str, name: &str, value: &T, jiter: impl Fn(&[u8]) -> Option<T>) -> Result<()>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    if !name.contains(filter) {
        return Ok(());
    }
    let json = serde_json::to_vec(value)?;
    if let Some(read) = jiter(&json) {
        ensure!(read == *value, "jiter reads something else: {name}");
    }
    let mut reads = measure(vec![
        reader::<Ours, T>(&json, value)?,
        reader::<SerdeJson, T>(&json, value)?,
        reader::<SonicRs, T>(&json, value)?,
        reader::<SimdJson, T>(&json, value)?,
        Box::new(|| drop(black_box(jiter(black_box(&json))))),
    ]);
    line(&format!("{name}: read"), &mut reads);
    let mut writes = measure(vec![
        writer::<Ours, T>(&json, value)?,
        writer::<SerdeJson, T>(&json, value)?,
        writer::<SonicRs, T>(&json, value)?,
        writer::<SimdJson, T>(&json, value)?,
    ]);
    line(&format!("{name}: write"), &mut writes);
    Ok(())
}

fn reader<'a, L: Library + 'a, T>(json: &'a [u8], value: &T) -> Result<Run<'a>>
where
    T: DeserializeOwned + PartialEq + Debug + 'a,
{
    let mut library = L::default();
    let read = library.read::<T>(json);
    ensure!(
        read.is_ok_and(|read| read == *value || L::NAME == "serde_json"),
        "{} reads something else",
        L::NAME
    );
    Ok(Box::new(move || {
        drop(black_box(library.read::<T>(black_box(json))));
    }))
}

fn writer<'a, L: Library + 'a, T: Serialize>(json: &[u8], value: &'a T) -> Result<Run<'a>> {
    let (mut library, mut out) = (L::default(), vec![0; HEAD]);
    ensure!(library.write(value, &mut out).is_ok() && !out.is_empty());
    if out[HEAD..] != *json {
        eprintln!("{} writes something else", L::NAME);
    }
    Ok(Box::new(move || {
        out.truncate(HEAD);
        let _ = black_box(library.write(black_box(value), &mut out));
        black_box(&out);
    }))
}

/// The time of each in its fastest round, in microseconds: what else runs on the machine only adds to it.
fn measure(mut runs: Vec<Run<'_>>) -> Vec<f64> {
    let mut fastest = vec![f64::INFINITY; runs.len()];
    for _ in 0..ROUNDS {
        for (run, time_of_run) in runs.iter_mut().zip(&mut fastest) {
            *time_of_run = time_of_run.min(time(run));
        }
    }
    fastest
}

fn time(run: &mut Run<'_>) -> f64 {
    let (mut count, mut batch) = (0_u64, 1);
    let start = Instant::now();
    while start.elapsed() < LENGTH {
        for _ in 0..batch {
            run();
        }
        count += batch;
        batch = (batch * 2).min(256);
    }
    start.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn line(name: &str, times: &mut Vec<f64>) {
    let fastest = times[1..].iter().copied().fold(f64::INFINITY, f64::min);
    let ratio = times[0] / fastest;
    let mut cells: Vec<_> = times.iter().map(|time| digits(*time)).collect();
    cells.resize(5, "–".into());
    println!("| {name} | {} | {ratio:.2} |", cells.join(" | "));
}

fn digits(time: f64) -> String {
    match time {
        time if time < 1.0 => format!("{time:.3}"),
        time if time < 100.0 => format!("{time:.1}"),
        time => format!("{time:.0}"),
    }
}

// jiter has no serde: what it reads into is written by hand.

fn read_number(json: &[u8]) -> Option<Number> {
    let mut it = Jiter::new(json);
    let mut value = None;
    let mut key = it.next_object().ok()?;
    while let Some(name) = key {
        match name {
            "value" => value = Some(integer(&mut it)?),
            _ => it.next_skip().ok()?,
        }
        key = it.next_key().ok()?;
    }
    it.finish().ok()?;
    Some(Number { value: value? })
}

fn integer(it: &mut Jiter<'_>) -> Option<i64> {
    match it.next_int().ok()? {
        jiter::NumberInt::Int(value) => Some(value),
        jiter::NumberInt::BigInt(_) => None,
    }
}

fn read_document(json: &[u8]) -> Option<Document> {
    let mut it = Jiter::new(json);
    let mut rows = None;
    let mut key = it.next_object().ok()?;
    while let Some(name) = key {
        match name {
            "rows" => rows = Some(list(&mut it, read_row)?),
            _ => it.next_skip().ok()?,
        }
        key = it.next_key().ok()?;
    }
    it.finish().ok()?;
    Some(Document { rows: rows? })
}

fn read_row(it: &mut Jiter<'_>) -> Option<Row> {
    let (mut active, mut id, mut name, mut score, mut tags) = (None, None, None, None, None);
    let mut key = it.next_object().ok()?;
    while let Some(field) = key {
        match field {
            "active" => active = Some(it.next_bool().ok()?),
            "id" => id = Some(integer(it)?),
            "name" => name = Some(it.next_str().ok()?.to_owned()),
            "score" => score = Some(it.next_float().ok()?),
            "tags" => tags = Some(list(it, |it| Some(it.next_str().ok()?.to_owned()))?),
            _ => it.next_skip().ok()?,
        }
        key = it.next_key().ok()?;
    }
    Some(Row {
        active: active?,
        id: id?,
        name: name?,
        score: score?,
        tags: tags?,
    })
}

fn read_list<T>(json: &[u8], element: impl Fn(&mut Jiter<'_>) -> Option<T>) -> Option<Vec<T>> {
    let mut it = Jiter::new(json);
    let all = list(&mut it, element)?;
    it.finish().ok()?;
    Some(all)
}

fn list<T>(it: &mut Jiter<'_>, element: impl Fn(&mut Jiter<'_>) -> Option<T>) -> Option<Vec<T>> {
    let mut all = Vec::new();
    let mut next = it.next_array().ok()?;
    while next.is_some() {
        all.push(element(it)?);
        next = it.array_step().ok()?;
    }
    Some(all)
}

fn read_text(json: &[u8]) -> Option<String> {
    let mut it = Jiter::new(json);
    let text = it.next_str().ok()?.to_owned();
    it.finish().ok()?;
    Some(text)
}
