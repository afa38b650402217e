//! What `cargo xtask bench NAME` tells a benchmark.

use std::path::PathBuf;

/// The command line.
#[derive(Debug, Default, PartialEq)]
pub struct Arguments {
    /// Where to write the figures for machines.
    pub json: Option<PathBuf>,
    /// What was measured elsewhere: packets in a hundred that left within 1 ms of their time.
    pub pacing: Option<f64>,
    /// The one group of figures to measure, where a benchmark has groups.
    pub only: Option<String>,
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
                "--pacing" => {
                    let percent = words.next().and_then(|percent| percent.parse().ok());
                    arguments.pacing = Some(percent.ok_or("--pacing wants a percentage")?);
                }
                "--only" => arguments.only = Some(words.next().ok_or("--only wants the name of a group")?),
                _ => {
                    return Err(format!(
                        "unknown argument {word}: --json FILE, --only GROUP and --pacing PERCENT are all there are"
                    ));
                }
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
        let pacing = None;
        assert_eq!(
            read(&["--json", "a.json", "--bench"]),
            Ok(Arguments {
                json,
                pacing,
                only: None
            })
        );
        assert_eq!(read(&["--bench"]), Ok(Arguments::default()));
        let (json, pacing) = (None, Some(99.5));
        assert_eq!(
            read(&["--pacing", "99.5"]),
            Ok(Arguments {
                json,
                pacing,
                only: None
            })
        );
        for wrong in [&["--json"][..], &["--fast"], &["--pacing", "most"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
