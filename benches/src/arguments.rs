//! What `cargo xtask bench NAME` tells a benchmark.

use std::path::PathBuf;

/// The command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Where to write the figures for machines.
    pub json: Option<PathBuf>,
}

impl Arguments {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn of_this_process() -> Result<Self, String> {
        Self::read(std::env::args().skip(1))
    }

    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                // `cargo bench` adds it.
                "--bench" => {}
                "--json" => arguments.json = Some(words.next().ok_or("--json wants a file")?.into()),
                _ => return Err(format!("unknown argument {word}: --json FILE is all there is")),
            }
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Arguments, String> {
        Arguments::read(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn the_file_is_found_beside_what_cargo_adds() {
        let json = Some("a.json".into());
        assert_eq!(read(&["--json", "a.json", "--bench"]), Ok(Arguments { json }));
        assert_eq!(read(&["--bench"]), Ok(Arguments::default()));
        assert!(read(&["--json"]).is_err() && read(&["--fast"]).is_err());
    }
}
