//! The worker lane in numbers. Each group of figures is a module that adds its rows to one report:
//! - [`codecs`]: what a packet costs in each codec, against ffmpeg;
//! - [`speech`]: how speech comes through each way between codecs, against ffmpeg's;
//! - [`srtp`]: what SRTP costs, against libsrtp;
//! - [`transcoded`]: calls a core that are transcoded, over real sockets.

mod codecs;
mod speech;
mod srtp;
mod transcoded;

use std::process::ExitCode;

use anyhow::{Context, Result};
use voxlane_benches::arguments::Arguments;
use voxlane_benches::report::Report;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::of_this_process().map_err(anyhow::Error::msg)?;
    let mut report = Report::default();
    codecs::measure(&mut report)?;
    speech::measure(&mut report)?;
    transcoded::measure(&mut report)?;
    srtp::measure(&mut report)?;
    print!("{}", report.table());
    if let Some(file) = arguments.json {
        let written = report.write_json(&file);
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
