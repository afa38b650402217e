//! What a packet of 20 ms costs in each codec.
//!
//! G.722 is compared with ffmpeg's own coder (libavcodec), run on the same sound in turns with ours: its user time for ten
//! minutes of it, without what ffmpeg takes to read and write the same samples uncoded. Its machinery of frames and
//! queues is left out by that, and rightly: it is the coder that is measured.

use std::f64::consts::TAU;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use voxlane_benches::in_turns;
use voxlane_benches::report::{Goal, Report, Row};
use voxlane_dataplane::codec::g711::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
use voxlane_dataplane::codec::{Codec, Transcoder, g722, run_together};

/// Samples of G.711 in a packet, and bytes of every codec.
const PACKET: usize = 160;

/// Samples of G.722 in a packet.
const WIDE: usize = 320;

/// Packets of sound: ten seconds.
const PACKETS: usize = 500;

/// Calls that are coded at once: whole vectors of them.
const TOGETHER: usize = 32;

/// How often ffmpeg gets that sound in one run.
const REPEATS: usize = 60;

/// Runs of ours and of ffmpeg, in turns, of which the fastest of each counts: nothing but other programs makes one slower.
const RUNS: usize = 3;

/// Adds the rows.
pub fn measure(report: &mut Report) -> Result<()> {
    let sound = sound();
    let narrow: Vec<i16> = sound.iter().step_by(2).copied().collect();
    for (name, nanoseconds) in g711(&narrow)? {
        report.add(Row::new(name, nanoseconds, "ns").goal(Goal::AtMost(25.0)));
    }
    let names = ["G.722 encode 20 ms", "G.722 decode 20 ms"];
    for (name, [ours, theirs]) in names.into_iter().zip(beside_ffmpeg(&sound)?) {
        let row = Row::new(format!("{name}, against ffmpeg"), ours, "ns").against(theirs);
        report.add(row.goal(Goal::AtMost(1.0)));
    }
    for (from, to) in [(Codec::Pcmu, Codec::G722), (Codec::G722, Codec::Pcmu)] {
        let [together, alone] = together_and_alone(from, to, &sound)?;
        report.add(Row::new(format!("{from} to {to}, 20 ms"), alone, "ns"));
        let name = format!("{from} to {to}, 20 ms, {TOGETHER} calls at once, against one by one");
        report.add(Row::new(name, together, "ns").against(alone));
    }
    let [_, alone] = together_and_alone(Codec::Pcmu, Codec::Pcma, &sound)?;
    report.add(Row::new("PCMU to PCMA, 20 ms", alone, "ns"));
    Ok(())
}

/// Ten seconds of 16 kHz: tones that come and go over noise, as loud as speech.
fn sound() -> Vec<i16> {
    let mut noise = 1u32;
    (0..PACKETS * WIDE)
        .map(|n| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let seconds = n as f64 / 16_000.0;
            let envelope = (TAU * 3.0 * seconds).sin().abs();
            let tones: f64 = [220.0, 700.0, 2300.0, 5100.0]
                .iter()
                .map(|hz| (TAU * hz * seconds).sin())
                .sum();
            // Within 16 bits by far.
            (2000.0 * envelope * tones) as i16 + (noise >> 24) as i16
        })
        .collect()
}

/// Nanoseconds of a packet, of each of the cases.
fn nanoseconds<C>(cases: &mut [C], mut packet: impl FnMut(&mut C, usize)) -> Result<Vec<f64>> {
    let places: Vec<usize> = (0..cases.len()).collect();
    in_turns(&places, |place| {
        let begin = Instant::now();
        for number in 0..PACKETS {
            packet(&mut cases[*place], number);
        }
        Ok(begin.elapsed().as_nanos() as f64 / PACKETS as f64)
    })
}

fn g711(samples: &[i16]) -> Result<Vec<(&'static str, f64)>> {
    let mut coded = vec![0; samples.len()];
    encode_ulaw(samples, &mut coded);
    let (samples, coded) = (samples.as_chunks::<PACKET>().0, coded.as_chunks::<PACKET>().0);
    let mut cases = [0, 1, 2, 3];
    let (mut codes, mut linear) = ([0; PACKET], [0; PACKET]);
    let times = nanoseconds(&mut cases, |case, number| {
        let (samples, coded) = (black_box(&samples[number]), black_box(&coded[number]));
        match case {
            0 => encode_ulaw(samples, black_box(&mut codes)),
            1 => encode_alaw(samples, black_box(&mut codes)),
            2 => decode_ulaw(coded, black_box(&mut linear)),
            _ => decode_alaw(coded, black_box(&mut linear)),
        }
    })?;
    let names = [
        "PCMU encode 160 samples",
        "PCMA encode 160 samples",
        "PCMU decode 160 samples",
        "PCMA decode 160 samples",
    ];
    Ok(names.into_iter().zip(times).collect())
}

/// The same of our coder: the time that this thread was on its core for as much sound as ffmpeg gets, a packet.
fn g722(sound: &[i16], codes: &[u8]) -> Result<[f64; 2]> {
    let (mut encoder, mut decoder) = (g722::Encoder::new(), g722::Decoder::new());
    let (mut frame, mut samples) = ([0; PACKET], [0; WIDE]);
    let begin = on_core()?;
    for _ in 0..REPEATS {
        for packet in sound.chunks_exact(WIDE) {
            encoder.encode(packet, black_box(&mut frame));
        }
    }
    let middle = on_core()?;
    for _ in 0..REPEATS {
        for packet in codes.chunks_exact(PACKET) {
            decoder.decode(packet, black_box(&mut samples));
        }
    }
    let end = on_core()?;
    Ok([middle - begin, end - middle].map(|time| time / (PACKETS * REPEATS) as f64))
}

/// How long this thread was on a core so far, ns.
fn on_core() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = stat.split_whitespace().next().context("an empty schedstat")?;
    Ok(nanoseconds.parse()?)
}

/// Nanoseconds a packet of many calls that are turned at once, and of the same one by one. Each call is at another place of
/// the sound.
fn together_and_alone(from: Codec, to: Codec, sound: &[i16]) -> Result<[f64; 2]> {
    let mut coded = vec![0; sound.len() / 2];
    match from {
        Codec::G722 => {
            g722::Encoder::new().encode(sound, &mut coded);
        }
        Codec::Pcmu | Codec::Pcma => {
            let narrow: Vec<i16> = sound.iter().step_by(2).copied().collect();
            encode_ulaw(&narrow, &mut coded);
        }
    }
    let coded = coded.as_chunks::<PACKET>().0;
    let coders = || -> Vec<Transcoder> { (0..TOGETHER).map(|_| Transcoder::new(from, to)).collect() };
    let mut packets = [[0; PACKET]; TOGETHER];
    let mut cases = [(true, coders()), (false, coders())];
    let times = nanoseconds(&mut cases, |(together, coders), number| {
        for (call, packet) in packets.iter_mut().enumerate() {
            *packet = coded[(number + call * PACKETS / TOGETHER) % PACKETS];
        }
        let pieces = coders
            .iter_mut()
            .zip(black_box(&mut packets).iter_mut().map(|packet| &mut packet[..]));
        if *together {
            run_together(pieces);
        } else {
            pieces.for_each(|(transcoder, packet)| transcoder.run(packet));
        }
    })?;
    Ok([times[0], times[1]].map(|time| time / TOGETHER as f64))
}

/// Nanoseconds a packet to encode and to decode: ours and ffmpeg's.
fn beside_ffmpeg(sound: &[i16]) -> Result<[[f64; 2]; 2]> {
    let directory = std::env::temp_dir().join(format!("voxlane-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let measured = with_files(&directory, sound);
    std::fs::remove_dir_all(&directory)?;
    measured
}

fn with_files(directory: &Path, sound: &[i16]) -> Result<[[f64; 2]; 2]> {
    let (raw, coded) = (directory.join("sound.raw"), directory.join("sound.g722"));
    let mut file = std::fs::File::create(&raw)?;
    let bytes: Vec<u8> = sound.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    for _ in 0..REPEATS {
        file.write_all(&bytes)?;
    }
    let samples = ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i"];
    let codes = ["-f", "g722", "-i"];
    run(
        &samples,
        &raw,
        &["-c:a", "g722", "-f", "g722", &coded.to_string_lossy()],
    )?;
    let mut ours_codes = vec![0; sound.len() / 2];
    g722::Encoder::new().encode(sound, &mut ours_codes);
    let (mut best, mut ours) = ([f64::INFINITY; 3], [f64::INFINITY; 2]);
    for _ in 0..RUNS {
        for (best, time) in ours.iter_mut().zip(g722(sound, &ours_codes)?) {
            *best = best.min(time);
        }
        let times = [
            run(&samples, &raw, &["-c:a", "pcm_s16le", "-f", "null", "-"])?,
            run(&samples, &raw, &["-c:a", "g722", "-f", "null", "-"])?,
            run(&codes, &coded, &["-c:a", "pcm_s16le", "-f", "null", "-"])?,
        ];
        for (best, time) in best.iter_mut().zip(times) {
            *best = best.min(time);
        }
    }
    let [plain, encode, decode] = best;
    let packets = (PACKETS * REPEATS) as f64;
    ensure!(
        encode > plain && decode > plain,
        "ffmpeg took no longer for G.722 than for samples"
    );
    let theirs = [encode, decode].map(|seconds| (seconds - plain) * 1e9 / packets);
    Ok([[ours[0], theirs[0]], [ours[1], theirs[1]]])
}

/// Its user time, seconds.
fn run(input: &[&str], file: &Path, output: &[&str]) -> Result<f64> {
    let run = Command::new("ffmpeg")
        .args(["-y", "-nostdin", "-threads", "1", "-benchmark"])
        .args(input)
        .arg(file)
        .args(output)
        .stdin(Stdio::null())
        .output()
        .context("cannot start ffmpeg: install the Debian package ffmpeg")?;
    let said = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        bail!("ffmpeg: {said}");
    }
    let time = said.split("utime=").nth(1).and_then(|rest| rest.split('s').next());
    let time = time.with_context(|| format!("ffmpeg says nothing of its time: {said}"))?;
    Ok(time.parse()?)
}
