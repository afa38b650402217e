//! What is heard in place of audio that did not come: the waveform goes on, and fades (ITU-T G.711 Appendix I).
//!
//! The pitch of the last 20 ms is found, and its last period repeated; after 10 ms the last two, after 20 ms three, so
//! that it does not hum. From 10 ms on it fades, and after 60 ms it is silent. When audio comes again the two are
//! cross-faded.
//!
//! One thing is done otherwise. The appendix smooths the joint between the last good sample and the first invented one by
//! holding back 3.75 ms of all audio; here what does not fit at the joint is added to the first invented samples and dies
//! away in a quarter of a period. So audio that is whole is not delayed and passes bit by bit.

/// Lengths at 8 kHz, in samples. At 16 kHz they are twice that.
const MIN_PITCH: usize = 40;
const MAX_PITCH: usize = 120;
/// What two stretches are compared by: 20 ms.
const COMPARED: usize = 160;
/// 10 ms.
const STEP: usize = 80;
/// 4 ms: the cross-fade at the end grows by this for each 10 ms.
const END_GROWTH: usize = 32;

/// Periods of the pitch that are repeated, at most.
const MAX_PERIODS: usize = 3;

/// 10 ms steps until all is silent.
const STEPS: usize = 6;

/// Greatest ratio of the sample rate to 8 kHz.
pub(crate) const MAX_SCALE: usize = 2;

/// Samples of the past that are kept: three periods, and a quarter to fade from.
const KEPT: usize = (MAX_PERIODS * MAX_PITCH + MAX_PITCH / 4) * MAX_SCALE;

/// Samples before a gap that [`Concealer::fill`] wants to see, at the greatest rate.
pub(crate) const HISTORY: usize = KEPT;

const _: () = assert!(HISTORY >= (MAX_PITCH + COMPARED) * MAX_SCALE);

/// Fills gaps in one stream of linear samples.
#[derive(Clone, Debug)]
pub(crate) struct Concealer {
    scale: usize,
    /// Samples invented since the last good one; `None` while all is good.
    age: Option<usize>,
    past: [i16; KEPT],
    /// The end of `past`, as it is where a repetition ends.
    end: [i16; MAX_PITCH / 4 * MAX_SCALE],
    pitch: usize,
    periods: usize,
    offset: usize,
    /// Difference at the joint.
    step: i32,
    /// What would have come with fewer periods, to fade from.
    before: [i16; MAX_PITCH / 4 * MAX_SCALE],
    /// Age at which `before` began, if it has.
    before_at: Option<usize>,
}

impl Concealer {
    /// One for `scale` times 8,000 samples a second; 1 or 2.
    pub(crate) fn new(scale: usize) -> Self {
        Self {
            scale: scale.clamp(1, MAX_SCALE),
            age: None,
            past: [0; KEPT],
            end: [0; MAX_PITCH / 4 * MAX_SCALE],
            pitch: MIN_PITCH,
            periods: 1,
            offset: 0,
            step: 0,
            before: [0; MAX_PITCH / 4 * MAX_SCALE],
            before_at: None,
        }
    }

    /// Whether it is filling a gap.
    pub(crate) fn is_filling(&self) -> bool {
        self.age.is_some()
    }

    /// Whether what it fills a gap with has faded away.
    pub(super) fn is_silent(&self) -> bool {
        self.age.is_some_and(|age| age >= STEPS * STEP * self.scale)
    }

    /// Fills the whole of `out`, which follows `history` or what it was filled with before.
    pub(crate) fn fill(&mut self, history: &[i16], out: &mut [i16]) {
        if self.age.is_none() {
            self.begin(history);
        }
        for sample in out {
            *sample = self.next();
        }
    }

    /// Good audio comes again: blends into it. `audio` is its beginning.
    pub(crate) fn end(&mut self, audio: &mut [i16]) {
        let Some(age) = self.age else { return };
        let steps = age.div_ceil(STEP * self.scale);
        let quarter = self.quarter();
        let length = (quarter + END_GROWTH * self.scale * steps.saturating_sub(1)).min(STEP * self.scale);
        let length = length.min(audio.len());
        for (place, sample) in audio[..length].iter_mut().enumerate() {
            let invented = self.next();
            *sample = fade(invented, *sample, place + 1, length + 1);
        }
        self.age = None;
    }

    /// Something was cut out of the audio after `history`: what would have followed fades into what does.
    pub(super) fn join(&mut self, history: &[i16], audio: &mut [i16]) {
        if self.age.is_none() {
            self.begin(history);
        }
        self.end(audio);
    }

    /// Good audio comes again, and something else has been heard in the meantime.
    pub(super) fn forget(&mut self) {
        self.age = None;
    }

    fn begin(&mut self, history: &[i16]) {
        let kept = KEPT.min(history.len());
        self.past = [0; KEPT];
        self.past[KEPT - kept..].copy_from_slice(&history[history.len() - kept..]);
        self.pitch = pitch(history, self.scale);
        let quarter = self.quarter();
        self.end[..quarter].copy_from_slice(&self.past[KEPT - quarter..]);
        self.periods = 1;
        self.offset = 0;
        self.age = Some(0);
        self.before_at = None;
        self.close_loop();
        self.step = i32::from(self.end[quarter - 1]) - i32::from(self.past[KEPT - 1 - self.pitch]);
    }

    fn quarter(&self) -> usize {
        self.pitch / 4
    }

    /// Makes the end of the periods that are repeated lead into their beginning.
    fn close_loop(&mut self) {
        let quarter = self.quarter();
        let start = KEPT - self.pitch * self.periods;
        for place in 0..quarter {
            let leads_in = self.past[start - quarter + place];
            self.past[KEPT - quarter + place] = fade(self.end[place], leads_in, place + 1, quarter + 1);
        }
    }

    fn next(&mut self) -> i16 {
        let age = self.age.unwrap_or_default();
        let step = STEP * self.scale;
        if age >= STEPS * step {
            return 0;
        }
        if age == step || age == 2 * step {
            self.add_period(age);
        }
        let mut sample = i32::from(self.repeat());
        let quarter = self.quarter();
        if let Some(since) = self.before_at.map(|at| age - at)
            && since < quarter
        {
            sample = i32::from(fade(self.before[since], saturate(sample), since + 1, quarter + 1));
        }
        if age < quarter {
            sample += self.step * (quarter - age) as i32 / quarter as i32;
        }
        if age >= step {
            let left = (STEPS * step - age) as i32;
            sample = sample * left / ((STEPS - 1) * step) as i32;
        }
        self.age = Some(age + 1);
        saturate(sample)
    }

    fn add_period(&mut self, age: usize) {
        let quarter = self.quarter();
        let offset = self.offset;
        for place in 0..quarter {
            self.before[place] = self.repeat();
        }
        self.before_at = Some(age);
        self.offset = offset % self.pitch;
        self.periods = (self.periods + 1).min(MAX_PERIODS);
        self.close_loop();
    }

    fn repeat(&mut self) -> i16 {
        let length = self.pitch * self.periods;
        let sample = self.past[KEPT - length + self.offset];
        self.offset = (self.offset + 1) % length;
        sample
    }
}

/// The sample `place` of `of` on the way from one to the other.
pub(super) fn fade(from: i16, to: i16, place: usize, of: usize) -> i16 {
    let (place, of) = (place as i32, of as i32);
    saturate((i32::from(from) * (of - place) + i32::from(to) * place) / of.max(1))
}

pub(super) fn saturate(sample: i32) -> i16 {
    sample.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// The pitch of the end of `history`, in samples: coarsely first, then around what was found.
fn pitch(history: &[i16], scale: usize) -> usize {
    let (min, max, compared) = (MIN_PITCH * scale, MAX_PITCH * scale, COMPARED * scale);
    let coarse = 2 * scale;
    let likeness = |lag: usize, stride| likeness(history, lag, compared, stride);
    let best = |lags: &mut dyn Iterator<Item = usize>, stride| {
        lags.map(|lag| (likeness(lag, stride), lag))
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map_or(max, |(_, lag)| lag)
    };
    let found = best(&mut (min..=max).step_by(coarse), coarse);
    let around = found.saturating_sub(coarse - 1).max(min)..=(found + coarse - 1).min(max);
    best(&mut around.into_iter(), 1)
}

/// How much the last `compared` samples are like those `lag` before: their correlation over the energy of those, by which
/// one sample in `stride` is judged. 0 where the past is too short.
fn likeness(history: &[i16], lag: usize, compared: usize, stride: usize) -> f32 {
    let Some(start) = history.len().checked_sub(compared + lag) else {
        return 0.0;
    };
    let now = &history[history.len() - compared..];
    let then = &history[start..start + compared];
    let (mut product, mut energy) = (0.0f32, 0.0f32);
    for (now, then) in now.iter().zip(then).step_by(stride) {
        let (now, then) = (f32::from(*now), f32::from(*then));
        product += now * then;
        energy += then * then;
    }
    // As in the appendix: a floor keeps silence from being divided by.
    product / energy.max(250_000.0 * compared as f32 / stride as f32 / 80.0).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tone(frequency: f64, rate: f64, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| (8000.0 * (std::f64::consts::TAU * frequency * n as f64 / rate).sin()) as i16)
            .collect()
    }

    /// The greatest difference of two neighbours.
    fn greatest_step(samples: &[i16]) -> i32 {
        let steps = samples
            .windows(2)
            .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
        steps.max().unwrap_or(0)
    }

    /// `before` samples of a tone, a gap, and the tone again as if it had gone on.
    fn with_gap(frequency: f64, scale: usize, gap_ms: usize) -> Vec<i16> {
        let rate = 8000 * scale;
        let (before, gap) = (rate / 10, rate / 1000 * gap_ms);
        let source = tone(frequency, rate as f64, before + gap + rate / 10);
        let mut heard = source[..before].to_vec();
        let mut concealer = Concealer::new(scale);
        let mut filled = vec![0; gap];
        concealer.fill(&heard, &mut filled);
        heard.extend(filled);
        let mut rest = source[before + gap..].to_vec();
        concealer.end(&mut rest);
        heard.extend(rest);
        heard
    }

    #[test]
    fn a_tone_goes_on_without_a_click() {
        for scale in [1, 2] {
            for frequency in [100.0, 200.0, 220.0, 440.0, 1000.0] {
                for gap_ms in [5, 10, 20, 40, 60, 100] {
                    let heard = with_gap(frequency, scale, gap_ms);
                    let rate = 8000.0 * scale as f64;
                    let own = 8000.0 * std::f64::consts::TAU * frequency / rate;
                    let greatest = greatest_step(&heard);
                    let limit = own * 1.35 + 60.0;
                    assert!(
                        f64::from(greatest) < limit,
                        "{frequency} Hz, {scale}, {gap_ms} ms: a step of {greatest}, the tone's are {own:.0}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_gap_of_a_packet_in_a_tone_is_hardly_missed() {
        for frequency in [100.0, 200.0, 400.0] {
            let heard = with_gap(frequency, 1, 20);
            let source = tone(frequency, 8000.0, heard.len());
            let (mut wrong, mut energy) = (0.0, 0.0);
            for (heard, source) in heard[800..960].iter().zip(&source[800..960]) {
                wrong += f64::from(heard - source).powi(2);
                energy += f64::from(*source).powi(2);
            }
            // The second half fades by up to a fifth.
            assert!(wrong < energy * 0.05, "{frequency} Hz: {:.3}", wrong / energy);
        }
    }

    #[test]
    fn it_fades_from_10_ms_on_and_is_silent_after_60() {
        let heard = with_gap(200.0, 1, 100);
        let peak = |range: std::ops::Range<usize>| heard[range].iter().map(|sample| sample.abs()).max().unwrap();
        assert!(peak(800..880) > 7500);
        assert!(peak(1160..1240) < 3300, "{}", peak(1160..1240));
        assert_eq!(peak(1280..1600), 0);
    }

    #[test]
    fn silence_is_followed_by_silence() {
        let mut concealer = Concealer::new(1);
        let mut out = [1; 320];
        concealer.fill(&[0; 800], &mut out);
        assert_eq!(out, [0; 320]);
        // Nothing was ever heard.
        let mut concealer = Concealer::new(2);
        concealer.fill(&[], &mut out);
        assert_eq!(out, [0; 320]);
    }

    #[test]
    fn a_cut_is_joined() {
        let source = tone(150.0, 8000.0, 2000);
        let history = &source[..800];
        // 70 samples are gone: more than a period and a quarter of one.
        let mut rest = source[870..].to_vec();
        let mut concealer = Concealer::new(1);
        concealer.join(history, &mut rest);
        let heard = [history, &rest].concat();
        assert!(
            greatest_step(&heard) < 2 * greatest_step(&source),
            "{}",
            greatest_step(&heard)
        );
        assert!(!concealer.is_filling());
    }

    proptest! {
        /// Whatever the past and the gaps, nothing panics, and what comes after the fade is what came.
        #[test]
        fn nothing_panics(
            history in prop::collection::vec(any::<i16>(), 0..900),
            gaps in prop::collection::vec((1usize..700, 0usize..300), 1..6),
            scale in 1usize..3,
        ) {
            let mut concealer = Concealer::new(scale);
            let mut heard = history;
            for (gap, good) in gaps {
                let mut filled = vec![0; gap];
                concealer.fill(&heard, &mut filled);
                heard.extend(filled);
                let mut audio = vec![321; good];
                concealer.end(&mut audio);
                prop_assert!(audio.iter().skip(STEP * scale).all(|sample| *sample == 321));
                prop_assert!(!concealer.is_filling());
                heard.extend(audio);
            }
        }
    }
}
