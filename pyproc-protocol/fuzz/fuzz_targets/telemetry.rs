//! Any bytes give records or typed errors; any record that was read can be written, as one line that reads
//! again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pyproc_protocol::v2::telemetry::{Record, decode_records};

fuzz_target!(|bytes: &[u8]| {
    for record in decode_records(bytes).flatten() {
        let line = written(&record);
        match Record::decode_line(&line) {
            Ok(again) => assert_eq!(kind(&again.expect("a known type")), kind(&record)),
            Err(error) => panic!("our own line: {error}"),
        }
    }
});

fn written(record: &Record) -> Vec<u8> {
    let mut line = Vec::new();
    record.encode_line(&mut line);
    assert_eq!(line.pop(), Some(b'\n'));
    assert!(!line.contains(&b'\n'));
    line
}

fn kind(record: &Record) -> std::mem::Discriminant<Record> {
    std::mem::discriminant(record)
}
