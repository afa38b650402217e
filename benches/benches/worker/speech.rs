//! How speech comes through each way between codecs, against ffmpeg's own way.
//!
//! espeak-ng speaks; ffmpeg makes 8 and 16 kHz of it. Both ways are given the same coded speech, and what comes out is
//! compared with what was spoken: the log-spectral distance over 300 to 3400 Hz, in dB, mean of all windows that are not
//! silent. It hears what an ear does and does not mind a delay of part of a sample, as two resamplers differ by. Where it is
//! installed, PESQ says what listeners would; that of G.722 by itself is of the whole band.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_dataplane::codec::g711::{decode_ulaw, encode_ulaw};
use voxlane_dataplane::codec::{Codec, Transcoder, g722};

use crate::pesq::{Pesq, Speech};

const TEXT: &str = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. \
     It is easy to tell the depth of a well. These days a chicken leg is a rare dish. Rice is often served in round bowls.";

/// Samples of a window at 8 kHz: 32 ms, so that bins are 31.25 Hz wide.
const WINDOW: usize = 256;
const BINS: std::ops::Range<usize> = 10..109;

/// Windows more than this below the loudest are silence, dB.
const SILENCE: f64 = 45.0;

/// Greatest delay of a way, samples of 8 kHz.
const MOST_DELAY: usize = 200;

/// How much worse than ffmpeg's way ours may be: what the measure itself wavers by where the delay is another.
const MARGIN: f64 = 1.02;

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let directory = std::env::temp_dir().join(format!("voxlane-speech-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let measured = compare(&directory, report);
    fs::remove_dir_all(&directory)?;
    measured
}

fn compare(directory: &Path, report: &mut Report) -> Result<()> {
    let file = |name: &str| directory.join(name);
    let spoken = Command::new("espeak-ng")
        .arg("-w")
        .arg(file("spoken.wav"))
        .arg(TEXT)
        .status();
    let spoken = spoken.context("cannot start espeak-ng: install the Debian package espeak-ng")?;
    ensure!(spoken.success(), "espeak-ng: {spoken}");
    for (rate, name) in [("8000", "narrow.raw"), ("16000", "wide.raw")] {
        let to = ["-ar", rate, "-ac", "1", "-f", "s16le"];
        ffmpeg(&[], &file("spoken.wav"), &to, &file(name))?;
    }
    let (narrow, wide) = (samples(&file("narrow.raw"))?, samples(&file("wide.raw"))?);
    let mut ulaw = vec![0; narrow.len()];
    encode_ulaw(&narrow, &mut ulaw);
    fs::write(file("in.ul"), &ulaw)?;
    let mut codes = vec![0; wide.len() / 2];
    g722::Encoder::new().encode(&wide, &mut codes);
    fs::write(file("in.g722"), &codes)?;

    let pesq = Pesq::of_environment(directory);
    let (mulaw, g722) = (["-f", "mulaw", "-ar", "8000"], ["-f", "g722"]);
    ffmpeg(
        &g722,
        &file("in.g722"),
        &["-ar", "8000", "-c:a", "pcm_mulaw", "-f", "mulaw"],
        &file("once.ul"),
    )?;
    row(
        report,
        pesq.as_ref(),
        "G.722 to PCMU",
        &narrow,
        way(&[Codec::G722, Codec::Pcmu], &codes),
        fs::read(file("once.ul"))?,
    )?;

    ffmpeg(
        &mulaw,
        &file("in.ul"),
        &["-ar", "16000", "-c:a", "g722", "-f", "g722"],
        &file("there.g722"),
    )?;
    ffmpeg(
        &g722,
        &file("there.g722"),
        &["-ar", "8000", "-c:a", "pcm_mulaw", "-f", "mulaw"],
        &file("back.ul"),
    )?;
    let ours = way(&[Codec::Pcmu, Codec::G722, Codec::Pcmu], &ulaw);
    row(
        report,
        pesq.as_ref(),
        "PCMU to G.722 and back",
        &narrow,
        ours,
        fs::read(file("back.ul"))?,
    )?;

    ffmpeg(
        &mulaw,
        &file("in.ul"),
        &["-c:a", "pcm_alaw", "-f", "alaw"],
        &file("there.al"),
    )?;
    ffmpeg(
        &["-f", "alaw", "-ar", "8000"],
        &file("there.al"),
        &["-c:a", "pcm_mulaw", "-f", "mulaw"],
        &file("again.ul"),
    )?;
    let ours = way(&[Codec::Pcmu, Codec::Pcma, Codec::Pcmu], &ulaw);
    row(
        report,
        pesq.as_ref(),
        "PCMU to PCMA and back",
        &narrow,
        ours,
        fs::read(file("again.ul"))?,
    )?;

    let Some(pesq) = pesq else { return Ok(()) };
    let mut ours = vec![0; wide.len()];
    g722::Decoder::new().decode(&codes, &mut ours);
    let raw = ["-ar", "16000", "-ac", "1", "-f", "s16le"];
    ffmpeg(
        &raw,
        &file("wide.raw"),
        &["-c:a", "g722", "-f", "g722"],
        &file("theirs.g722"),
    )?;
    ffmpeg(&g722, &file("theirs.g722"), &["-f", "s16le"], &file("theirs.raw"))?;
    let spoken = Speech {
        rate: 16_000,
        samples: &wide,
    };
    pesq.row(report, "G.722", &spoken, &ours, &samples(&file("theirs.raw"))?)
}

fn row(
    report: &mut Report,
    pesq: Option<&Pesq>,
    name: &str,
    spoken: &[i16],
    ours: Vec<u8>,
    theirs: Vec<u8>,
) -> Result<()> {
    let [ours, theirs] = [ours, theirs].map(|codes| {
        let mut heard = vec![0; codes.len()];
        decode_ulaw(&codes, &mut heard);
        heard
    });
    let distances = [distance(spoken, &ours)?, distance(spoken, &theirs)?];
    let line = format!("speech {name}: log-spectral distance, against ffmpeg");
    report.add(
        Row::new(line, distances[0], "dB")
            .against(distances[1])
            .goal(Goal::AtMost(MARGIN)),
    );
    let Some(pesq) = pesq else { return Ok(()) };
    let spoken = Speech {
        rate: 8000,
        samples: spoken,
    };
    pesq.row(report, name, &spoken, &ours, &theirs)
}

/// What comes of codes on a way through codecs, in packets of 20 ms.
fn way(codecs: &[Codec], codes: &[u8]) -> Vec<u8> {
    let mut audio = codes.to_vec();
    for pair in codecs.windows(2) {
        let mut transcoder = Transcoder::new(pair[0], pair[1]);
        audio.chunks_mut(160).for_each(|packet| transcoder.run(packet));
    }
    audio
}

fn ffmpeg(input: &[&str], from: &Path, output: &[&str], to: &Path) -> Result<()> {
    let run = Command::new("ffmpeg")
        .args(["-y", "-nostdin", "-v", "error"])
        .args(input)
        .arg("-i")
        .arg(from)
        .args(output)
        .arg(to)
        .output()
        .context("cannot start ffmpeg: install the Debian package ffmpeg")?;
    ensure!(run.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&run.stderr));
    Ok(())
}

fn samples(file: &Path) -> Result<Vec<i16>> {
    let bytes = fs::read(file)?;
    Ok(bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| i16::from_le_bytes(*pair))
        .collect())
}

fn distance(spoken: &[i16], heard: &[i16]) -> Result<f64> {
    let correlation = |delay: &usize| -> f64 {
        let pairs = spoken.iter().zip(&heard[*delay..]);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    ensure!(
        heard.len() > MOST_DELAY + spoken.len() / 2,
        "half of the speech is missing"
    );
    let delay = (0..MOST_DELAY)
        .max_by(|a, b| correlation(a).total_cmp(&correlation(b)))
        .unwrap_or_default();
    let pairs = spoken.chunks_exact(WINDOW).zip(heard[delay..].chunks_exact(WINDOW));
    let pairs: Vec<_> = pairs.map(|(a, b)| (spectrum(a), spectrum(b))).collect();
    let level = |spectrum: &[f64]| 10.0 * spectrum.iter().sum::<f64>().log10();
    let loudest = pairs.iter().map(|(spoken, _)| level(spoken)).fold(0.0, f64::max);
    let loud = pairs.iter().filter(|(spoken, _)| level(spoken) > loudest - SILENCE);
    let distances: Vec<f64> = loud
        .map(|(spoken, heard)| {
            let squares = spoken.iter().zip(heard).map(|(a, b)| (10.0 * (a / b).log10()).powi(2));
            (squares.sum::<f64>() / spoken.len() as f64).sqrt()
        })
        .collect();
    ensure!(!distances.is_empty(), "nothing was spoken");
    Ok(distances.iter().sum::<f64>() / distances.len() as f64)
}

/// Power of each bin, with a Hann window; never zero.
fn spectrum(window: &[i16]) -> Vec<f64> {
    let windowed: Vec<f64> = window
        .iter()
        .enumerate()
        .map(|(n, sample)| f64::from(*sample) * (0.5 - 0.5 * (TAU * n as f64 / WINDOW as f64).cos()))
        .collect();
    BINS.map(|bin| {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (n, sample) in windowed.iter().enumerate() {
            let (sin, cos) = (TAU * (bin * n % WINDOW) as f64 / WINDOW as f64).sin_cos();
            real += sample * cos;
            imaginary += sample * sin;
        }
        real * real + imaginary * imaginary + WINDOW as f64
    })
    .collect()
}
