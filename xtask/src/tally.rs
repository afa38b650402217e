//! Test results of several runs, added up from what `cargo test` and the tests themselves print.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Runs `cargo test`, passing on what it prints; whether it succeeded.
    pub fn run(&mut self, cargo: &mut Command) -> Result<bool> {
        let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let stdout = child.stdout.take().context("cargo's output is not piped")?;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            self.add(&line);
            println!("{line}");
        }
        Ok(child.wait()?.success())
    }

    /// Adds the counts of a line `test result: ok. 5 passed; 0 failed; 1 ignored; …`; other lines count nothing.
    pub fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        let count = |word: &str| {
            let before = counts.split(word).next().filter(|before| before.len() < counts.len())?;
            before.split_whitespace().next_back()?.parse::<u64>().ok()
        };
        self.add_all(Self {
            passed: count(" passed").unwrap_or(0),
            failed: count(" failed").unwrap_or(0),
            ignored: count(" ignored").unwrap_or(0),
        });
    }

    /// Adds another tally.
    pub fn add_all(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// Fails if a filter left no test to run: a name that was mistyped is no success.
    pub fn require_any(&self, filter: &[String]) -> Result<()> {
        ensure!(
            filter.is_empty() || self.passed + self.failed > 0,
            "no test has {} in its name, so none was run",
            filter.join(" or ")
        );
        Ok(())
    }

    /// The counts, in the words of `cargo test`.
    pub fn counts(&self, sound: bool) -> String {
        let Self {
            passed,
            failed,
            ignored,
        } = self;
        let result = if sound { "ok" } else { "FAILED" };
        format!("{result}. {passed} passed; {failed} failed; {ignored} ignored")
    }

    /// The closing line.
    pub fn line(&self, sound: bool) -> String {
        format!("test result: {}", self.counts(sound))
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn a_filter_that_leaves_nothing_is_an_error() {
        let (mut tally, filter) = (Tally::default(), ["flod".to_owned()]);
        tally.add("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out");
        assert!(tally.require_any(&[]).is_ok());
        let error = tally.require_any(&filter).unwrap_err().to_string();
        assert_eq!(error, "no test has flod in its name, so none was run");
        tally.add("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 8 filtered out");
        assert!(tally.require_any(&filter).is_ok());
    }

    #[test]
    fn results_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: \u{1b}[31mFAILED\u{1b}(B\u{1b}[m. 4 passed; 2 failed; 0 ignored; 0 measured",
            "test passed::by ... ok",
        ] {
            tally.add(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 7,
                failed: 2,
                ignored: 1
            }
        );
        assert_eq!(tally.line(false), "test result: FAILED. 7 passed; 2 failed; 1 ignored");
    }
}
