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
    /// Whether that file is there, with the figures of other benchmarks, which stay.
    pub append: bool,
    /// Where to write a page of tables and plots for people.
    pub html: Option<PathBuf>,
    /// How many calls are offered, one after another, where a benchmark offers calls.
    pub calls: Vec<u32>,
    /// How long each load lasts, seconds.
    pub seconds: Option<f64>,
    /// Whom to measure beside ours, by name; `None`: everybody.
    pub versus: Option<Vec<String>>,
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
                "--append" => arguments.append = true,
                "--html" => arguments.html = Some(words.next().ok_or("--html wants a file")?.into()),
                "--calls" => {
                    let numbers = words.next().unwrap_or_default();
                    let numbers: Result<Vec<u32>, _> = numbers.split(',').map(str::parse).collect();
                    arguments.calls = numbers.map_err(|_| "--calls wants numbers with commas between them")?;
                }
                "--seconds" => {
                    let seconds = words.next().and_then(|seconds| seconds.parse().ok());
                    let seconds = seconds.filter(|seconds| (0.5..=600.0).contains(seconds));
                    arguments.seconds = Some(seconds.ok_or("--seconds wants a number from 0.5 to 600")?);
                }
                "--vs" => {
                    let names = words.next().ok_or("--vs wants names with commas between them")?;
                    arguments.versus = Some(names.split(',').map(str::to_owned).collect());
                }
                _ => {
                    return Err(format!(
                        "unknown argument {word}: --json FILE, --append, --html FILE, --only GROUP, --calls N,…, --seconds N, --vs NAME,… \
                         and --pacing PERCENT are all there are"
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
        let json = Arguments {
            json: Some("a.json".into()),
            ..Arguments::default()
        };
        assert_eq!(read(&["--json", "a.json", "--bench"]), Ok(json));
        assert_eq!(read(&["--bench"]), Ok(Arguments::default()));
        let pacing = Arguments {
            pacing: Some(99.5),
            ..Arguments::default()
        };
        assert_eq!(read(&["--pacing", "99.5"]), Ok(pacing));
    }

    #[test]
    fn loads_and_rivals_are_lists() {
        let arguments = read(&["--calls", "10,500", "--seconds", "2.5", "--vs", "rtpengine,sockets"]).unwrap();
        assert_eq!((arguments.calls, arguments.seconds), (vec![10, 500], Some(2.5)));
        assert_eq!(
            arguments.versus,
            Some(vec!["rtpengine".to_owned(), "sockets".to_owned()])
        );
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in [
            &["--json"][..],
            &["--fast"],
            &["--pacing", "most"],
            &["--calls", "10,many"],
            &["--calls"],
            &["--seconds", "0"],
            &["--vs"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
