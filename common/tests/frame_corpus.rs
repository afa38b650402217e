//! The corpus of the fuzz target `frame`: each file is what its name says, and ends as such a packet must.
#![allow(clippy::unwrap_used, missing_docs, reason = "in a test, an assertion")]

mod frames;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use frames::Table;
use frames::corpus::corpus;

fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frame")
}

#[test]
fn every_packet_of_the_corpus_ends_as_its_name_says() {
    for (name, frame, ending) in corpus() {
        let file = fs::read(home().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            file, frame,
            "{name} is not what the corpus is made of; see `make_the_corpus`"
        );
        assert_eq!(Table::new().judge(&file, 1), ending, "{name}");
    }
    let files = fs::read_dir(home()).unwrap();
    let files: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let names: BTreeSet<String> = corpus().iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(files, names);
}

#[test]
#[ignore = "writes the corpus: cargo test -p voxlane-common --test frame_corpus -- --ignored make_the_corpus"]
fn make_the_corpus() {
    fs::create_dir_all(home()).unwrap();
    for (name, frame, _) in corpus() {
        fs::write(home().join(name), frame).unwrap();
    }
}
