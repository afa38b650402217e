//! The corpus of the fuzz targets `message` and `endpoint`, without a fuzzer: what must hold does.

use std::fs;
use std::path::PathBuf;

/// The files of a target's corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(home).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<(String, Vec<u8>)> = files
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(path).unwrap(),
            )
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn messages() {
    for (name, data) in corpus("message") {
        println!("{name}");
        crate::fuzzed::message::message(&data);
    }
}

#[test]
fn endpoints() {
    for (name, data) in [corpus("endpoint"), corpus("message")].concat() {
        println!("{name}");
        crate::fuzzed::endpoint::endpoint(&data);
    }
}
