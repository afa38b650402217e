//! Makes audio a little shorter or longer without a click: a piece that repeats itself is said once less or once more.
//!
//! The piece is as long as what the waveform is most like itself after: a period of the pitch of a voice, several of a
//! tone, anything in silence. What is left out or said again is cross-faded over 5 ms (waveform similarity overlap-add).

use super::conceal::fade;

/// Lengths at 8 kHz, in samples: 2.5 to 15 ms.
const MIN_LAG: usize = 20;
const MAX_LAG: usize = 120;
/// 5 ms.
const FADE: usize = 40;
/// 10 ms by which likeness is judged.
const COMPARED: usize = 80;

/// Mean square below which nobody hears what is done: -50 dBm0 or so.
const QUIET: f32 = 40.0 * 40.0;

/// Samples that [`shorten`] wants to see at 8 kHz.
pub(super) const WANTED: usize = MAX_LAG + COMPARED;

/// How alike two pieces have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// So that it is not heard.
    Unheard,
    /// As far as can be had.
    Best,
}

/// Least correlation that is not heard.
const ALIKE: f32 = 0.9;

/// The best place to cut in: after how many samples `audio` is most like itself.
fn lag(audio: &[i16], most: usize, scale: usize, care: Care) -> Option<usize> {
    let compared = COMPARED * scale;
    let most = most.min(MAX_LAG * scale).min(audio.len().checked_sub(compared)?);
    let first = audio.get(..compared)?;
    let energy = energy(first);
    if energy <= QUIET * compared as f32 {
        return (most >= MIN_LAG * scale).then_some(most);
    }
    let (likeness, lag) = (MIN_LAG * scale..=most)
        .map(|lag| {
            let later = &audio[lag..lag + compared];
            let product: f32 = first
                .iter()
                .zip(later)
                .map(|(a, b)| f32::from(*a) * f32::from(*b))
                .sum();
            (product / (energy * self::energy(later)).sqrt().max(1.0), lag)
        })
        .reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (care == Care::Best || likeness >= ALIKE).then_some(lag)
}

fn energy(samples: &[i16]) -> f32 {
    samples
        .iter()
        .map(|sample| f32::from(*sample) * f32::from(*sample))
        .sum()
}

/// Takes a piece of at most `most` samples out of the beginning of `audio`; how many samples it is shorter by, which are
/// then at its end.
pub(super) fn shorten(audio: &mut [i16], most: usize, scale: usize, care: Care) -> Option<usize> {
    let lag = lag(audio, most, scale, care)?;
    let fading = FADE * scale;
    for place in 0..fading {
        audio[place] = fade(audio[place], audio[lag + place], place, fading);
    }
    audio.copy_within(lag + fading.., fading);
    Some(lag)
}

/// How many samples would be said again at `at`, the beginning of what is to come.
///
/// What was said last is compared with what was said before it, so little of what is to come need be there.
pub(super) fn repeatable(audio: &[i16], at: usize, scale: usize) -> Option<usize> {
    let begin = at.checked_sub((MAX_LAG + COMPARED) * scale)?;
    if audio.len() < at + FADE * scale {
        return None;
    }
    let compared = COMPARED * scale;
    let last = &audio[at - compared..at];
    let energy_of_last = energy(last);
    if energy_of_last <= QUIET * compared as f32 {
        return Some(MAX_LAG * scale);
    }
    let (likeness, lag) = (MIN_LAG * scale..=MAX_LAG * scale)
        .map(|lag| {
            let before = &audio[at - compared - lag..at - lag];
            let product: f32 = last
                .iter()
                .zip(before)
                .map(|(a, b)| f32::from(*a) * f32::from(*b))
                .sum();
            (product / (energy_of_last * energy(before)).sqrt().max(1.0), lag)
        })
        .reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    debug_assert!(at - compared - lag >= begin);
    (likeness >= ALIKE).then_some(lag)
}

/// Says the `lag` samples before `at` again. `audio` has as many samples at its end that are not in use.
pub(super) fn lengthen(audio: &mut [i16], at: usize, lag: usize, scale: usize) {
    let used = audio.len() - lag;
    audio.copy_within(at..used, at + lag);
    audio.copy_within(at - lag..at, at);
    // From what would have come to what is said again.
    let fading = (FADE * scale).min(lag);
    for place in 0..fading {
        audio[at + place] = fade(audio[at + lag + place], audio[at + place], place, fading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frequency: f64, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| (8000.0 * (std::f64::consts::TAU * frequency * n as f64 / 8000.0).sin()) as i16)
            .collect()
    }

    fn greatest_step(samples: &[i16]) -> i32 {
        let steps = samples
            .windows(2)
            .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
        steps.max().unwrap_or(0)
    }

    #[test]
    fn a_tone_is_shortened_and_lengthened_without_a_click() {
        for frequency in [100.0, 250.0, 440.0, 1000.0, 1700.0] {
            let source = tone(frequency, 1600);
            let limit = greatest_step(&source) * 11 / 10 + 8;
            let mut audio = source.clone();
            let lag = shorten(&mut audio[400..], 1000, 1, Care::Unheard).unwrap();
            assert!((MIN_LAG..=MAX_LAG).contains(&lag));
            audio.truncate(1600 - lag);
            assert!(greatest_step(&audio) <= limit, "{frequency}: {}", greatest_step(&audio));

            let mut audio = source.clone();
            let lag = repeatable(&audio, 400, 1).unwrap();
            audio.resize(1600 + lag, 0);
            lengthen(&mut audio, 400, lag, 1);
            assert!(greatest_step(&audio) <= limit, "{frequency}: {}", greatest_step(&audio));
            assert_eq!(audio[400 + lag + FADE..], source[400 + FADE..]);
        }
    }

    #[test]
    fn silence_may_be_cut_anywhere_and_noise_nowhere() {
        assert_eq!(shorten(&mut [3; 400], 1000, 1, Care::Unheard), Some(MAX_LAG));
        assert_eq!(shorten(&mut [3; 400], 50, 1, Care::Unheard), Some(50));
        let mut state = 1u32;
        let mut noise: Vec<i16> = (0..400)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 18) as i16 - 8192
            })
            .collect();
        assert_eq!(shorten(&mut noise, 1000, 1, Care::Unheard), None);
        assert_eq!(repeatable(&noise, 300, 1), None);
        assert!(shorten(&mut noise, 1000, 1, Care::Best).is_some());
    }

    #[test]
    fn too_little_is_left_alone() {
        assert_eq!(shorten(&mut [0; 90], 1000, 1, Care::Best), None);
        assert_eq!(repeatable(&[0; 199], 150, 1), None);
    }
}
