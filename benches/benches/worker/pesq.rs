//! PESQ: what a panel of listeners would say of speech, by ITU-T P.862 (narrowband) and P.862.2 (wideband). The measuring is
//! done by the Python package `pesq`, which is the ITU's own code; `cargo xtask bench` installs it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use voxlane_benches::report::{Goal, Report, Row};

/// Names the Python that has the package.
const PYTHON: &str = "VOXLANE_PESQ_PYTHON";

const SCRIPT: &str = include_str!("pesq.py");

/// How much worse than ffmpeg's way ours may be, MOS-LQO.
const MARGIN: f64 = 0.02;

/// Measures speech, where the package is.
pub struct Pesq {
    python: PathBuf,
    directory: PathBuf,
}

/// What was spoken, or what is heard of it.
pub struct Speech<'a> {
    /// 8,000 or 16,000 Hz.
    pub rate: u32,
    /// Linear samples.
    pub samples: &'a [i16],
}

impl Pesq {
    /// `None`, said on standard error, where the package is not. Files are put into `directory`.
    pub fn of_environment(directory: &Path) -> Option<Self> {
        let python = env::var_os(PYTHON);
        if python.is_none() {
            eprintln!("PESQ is left out: {PYTHON} names no Python that has the package pesq");
        }
        Some(Self {
            python: python?.into(),
            directory: directory.to_owned(),
        })
    }

    /// Adds a row: what came of speech on our way, and on ffmpeg's.
    ///
    /// # Errors
    /// If it cannot be measured.
    pub fn row(
        &self,
        report: &mut Report,
        name: &str,
        spoken: &Speech<'_>,
        ours: &[i16],
        theirs: &[i16],
    ) -> Result<()> {
        let ours = self.score(spoken, ours)?;
        let theirs = self.score(spoken, theirs)?;
        let name = format!("speech {name}: PESQ MOS-LQO, against ffmpeg");
        let goal = Goal::AtLeast(1.0 - MARGIN / theirs);
        report.add(Row::new(name, ours, "MOS").against(theirs).goal(goal));
        Ok(())
    }

    fn score(&self, spoken: &Speech<'_>, heard: &[i16]) -> Result<f64> {
        let files = [("pesq-spoken.raw", spoken.samples), ("pesq-heard.raw", heard)].map(|(name, samples)| {
            let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            let file = self.directory.join(name);
            fs::write(&file, bytes).map(|()| file)
        });
        let [spoken_file, heard_file] = files;
        let run = Command::new(&self.python)
            .args(["-c", SCRIPT, &spoken.rate.to_string()])
            .args([spoken_file?, heard_file?])
            .output()
            .with_context(|| format!("cannot start {}", self.python.display()))?;
        ensure!(run.status.success(), "pesq: {}", String::from_utf8_lossy(&run.stderr));
        let said = String::from_utf8_lossy(&run.stdout);
        said.trim().parse().with_context(|| format!("pesq said {said:?}"))
    }
}
