//! How good a call sounds, by what was measured of its packets: the E-model (ITU-T G.107), narrowband.
//!
//! Every leg is scored on the narrowband scale, so that scores compare: agents hear 8 kHz, and so does whoever is behind a
//! transcoder. A call that is G.722 from end to end sounds better than its score: on the wideband scale (G.107.1), where
//! G.711 has an equipment impairment of 36, it has 13 (G.113 appendix IV), so that none is left on this one.

use std::time::Duration;

use crate::codec::Codec;
use crate::media_plane::{BufferStats, FarEnd, Quality, StreamStats};

/// R of a call with nothing wrong, with the default values of G.107 (table 2).
const BEST_R: f64 = 93.2;

/// Basic signal-to-noise ratio with the same values.
const BASIC_R: f64 = 94.77;

/// Packet-loss robustness of G.711 whose gaps are concealed as in its Appendix I, random loss (G.113 appendix I). None is
/// published for G.722, whose gaps are concealed in the same way here.
const CONCEALED: f64 = 25.1;

/// Of G.711 whose gaps are silent (G.113 appendix I).
const SILENT: f64 = 4.3;

/// What arrives may be relayed to a far end that has a jitter buffer of its own: it is taken for one of this many times
/// the jitter, as adaptive ones are.
const BUFFERED_JITTERS: f64 = 2.0;

/// What becomes of the audio of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Packets go on as they are. Whoever hears them conceals what is lost.
    Relayed,
    /// It is decoded, what is lost is concealed, and it is coded anew for an agent.
    Heard {
        /// The leg's codec.
        from: Codec,
        /// What the agent hears.
        to: Codec,
    },
    /// It is turned into the codec or packet time of another leg; what is lost is concealed where one of the two is G.711.
    Bridged {
        /// The leg's codec.
        from: Codec,
        /// The other leg's.
        to: Codec,
    },
}

impl Way {
    /// Packet-loss robustness, percent of loss that cost half of what there is to lose.
    fn robustness(self) -> f64 {
        match self {
            Self::Bridged {
                from: Codec::G722,
                to: Codec::G722,
            } => SILENT,
            Self::Relayed | Self::Heard { .. } | Self::Bridged { .. } => CONCEALED,
        }
    }

    /// What coding it more than once adds to the impairment. A codec of 8 bits is one quantizing distortion unit, and turning
    /// one law of G.711 into the other half of one (G.113 section 6).
    fn impairment(self) -> f64 {
        let units = match self {
            Self::Relayed => 1.0,
            Self::Heard { from, to } | Self::Bridged { from, to } => match (from, to) {
                (from, to) if from == to => 1.0,
                (Codec::Pcmu, Codec::Pcma) | (Codec::Pcma, Codec::Pcmu) => 1.5,
                _ => 2.0,
            },
        };
        quantizing(units) - quantizing(1.0)
    }
}

/// Impairment by quantizing distortion (G.107 section 7.3, Iq).
fn quantizing(units: f64) -> f64 {
    let q = 37.0 - 15.0 * units.log10();
    let g = 1.07 + 0.258 * q + 0.0602 * q * q;
    let y = (BASIC_R - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
    let z = 46.0 / 30.0 - g / 40.0;
    15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10()
}

/// Mean opinion score, 1 to 4.41, of audio that goes this way, of which this share of packets is missing (0 to 1), and that
/// is this old when it is heard.
pub fn mos(way: Way, loss: f64, delay: Duration) -> f64 {
    score(way.impairment(), way.robustness(), loss, delay)
}

fn score(coding: f64, robustness: f64, loss: f64, delay: Duration) -> f64 {
    let delay_ms = delay.as_secs_f64() * 1000.0;
    // Delay impairment: the approximation of G.107's Idd that holds where there is no echo (Cole and Rosenbluth).
    let delayed = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    let percent = loss.clamp(0.0, 1.0) * 100.0;
    // G.107 section 7.5, random loss.
    let damaged = 95.0 * percent / (percent + robustness);
    let r = BEST_R - coding - delayed - damaged;
    if r <= 0.0 {
        return 1.0;
    }
    // Annex B. The polynomial dips below 1 for small R.
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

/// Both ways of a leg, in packets of `ptime`.
pub(crate) fn of_leg(
    received: &StreamStats,
    round_trip: Option<Duration>,
    far: Option<FarEnd>,
    buffer: Option<BufferStats>,
    ptime: Duration,
    way: Way,
) -> Quality {
    let delay = round_trip.unwrap_or_default() / 2 + ptime;
    let buffered_ms = buffer.map_or(BUFFERED_JITTERS * received.jitter_ms, |buffer| buffer.delay_ms);
    let left_out = buffer.map_or(0, |buffer| buffer.late + buffer.overflow);
    let expected = i64::try_from(received.packets)
        .unwrap_or(i64::MAX)
        .saturating_add(received.lost);
    let missing = received.lost.max(0).saturating_add_unsigned(left_out);
    let measured = received.packets > 0 && expected > 0;
    // What is sent has gone the same way back, and the far end, of which nothing is known, conceals what it misses.
    let far_mos = |far: FarEnd| {
        let delay = delay + milliseconds(BUFFERED_JITTERS * far.jitter_ms);
        score(way.impairment(), CONCEALED, far.loss, delay)
    };
    Quality {
        mos: measured.then(|| mos(way, missing as f64 / expected as f64, delay + milliseconds(buffered_ms))),
        far_mos: far.map(far_mos),
        far,
        buffer,
    }
}

fn milliseconds(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;
    const RELAYED: Way = Way::Relayed;

    /// Every way there is.
    fn ways() -> Vec<Way> {
        let pairs = Codec::ALL.map(|from| Codec::ALL.map(|to| [Way::Heard { from, to }, Way::Bridged { from, to }]));
        let pairs = pairs.into_iter().flatten().flatten();
        pairs.chain([Way::Relayed]).collect()
    }

    #[test]
    fn the_model_has_its_known_values() {
        // G.107 annex B: R 93.2 is 4.41.
        assert!(
            (mos(RELAYED, 0.0, NONE) - 4.41).abs() < 0.005,
            "{}",
            mos(RELAYED, 0.0, NONE)
        );
        // R 90, 80, 70 are 4.34, 4.03, 3.60 (G.107 table B.1).
        for (r, expected) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60)] {
            // The loss that costs so much.
            let cost = BEST_R - r;
            let percent = cost * CONCEALED / (95.0 - cost);
            assert!((mos(RELAYED, percent / 100.0, NONE) - expected).abs() < 0.01, "R {r}");
        }
        // 150 ms cost 3.6 points of R, 300 ms cost 20.7.
        assert!((mos(RELAYED, 0.0, Duration::from_millis(150)) - 4.33).abs() < 0.01);
        assert!(mos(RELAYED, 0.0, Duration::from_millis(400)) < 3.7);
        assert_eq!(mos(RELAYED, 1.0, Duration::from_secs(2)), 1.0);
    }

    #[test]
    fn more_loss_or_delay_is_never_better() {
        for way in ways() {
            let grid = |loss: u32, delay: u64| mos(way, f64::from(loss) / 100.0, Duration::from_millis(delay * 20));
            for loss in 0..100 {
                for delay in 0..50 {
                    let here = grid(loss, delay);
                    assert!((1.0..4.5).contains(&here));
                    assert!(grid(loss + 1, delay) <= here && grid(loss, delay + 1) <= here);
                }
            }
        }
    }

    #[test]
    fn what_the_buffer_leaves_out_is_lost() {
        let received = StreamStats {
            packets: 1000,
            ..StreamStats::default()
        };
        let buffer = BufferStats {
            late: 50,
            delay_ms: 40.0,
            ..BufferStats::default()
        };
        let ptime = Duration::from_millis(20);
        let quality = of_leg(&received, Some(ptime), None, Some(buffer), ptime, RELAYED);
        let expected = mos(RELAYED, 0.05, Duration::from_millis(70));
        assert!((quality.mos.unwrap() - expected).abs() < 1e-9);
        assert_eq!((quality.far_mos, quality.far), (None, None));
        assert_eq!(
            of_leg(&StreamStats::default(), None, None, None, ptime, RELAYED),
            Quality::default()
        );
    }

    #[test]
    fn coding_once_more_costs_what_quantizing_distortion_does() {
        use Codec::{G722, Pcma, Pcmu};
        // G.107 section 7.3 with its default values: 1 unit is within 93.2, 1.5 are 0.8 points of R more, 2 are 1.7.
        let cost = |from, to| Way::Heard { from, to }.impairment();
        assert_eq!([cost(Pcmu, Pcmu), cost(G722, G722), RELAYED.impairment()], [0.0; 3]);
        assert!((cost(Pcma, Pcmu) - 0.84).abs() < 0.02, "{}", cost(Pcma, Pcmu));
        assert!((cost(G722, Pcmu) - 1.73).abs() < 0.02, "{}", cost(G722, Pcmu));
        assert_eq!(cost(G722, Pcma), Way::Bridged { from: Pcma, to: G722 }.impairment());
    }

    #[test]
    fn a_gap_that_is_silent_costs_more_than_one_that_is_concealed() {
        let (from, to) = (Codec::G722, Codec::G722);
        let (heard, bridged) = (Way::Heard { from, to }, Way::Bridged { from, to });
        assert_eq!(mos(heard, 0.0, NONE), mos(bridged, 0.0, NONE));
        // 2 % cost 95 * 2 / (2 + 25.1) = 7.0 points of R, or 95 * 2 / (2 + 4.3) = 30.2.
        let r = |way| {
            BEST_R
                - 95.0 * 2.0
                    / (2.0
                        + match way {
                            Way::Bridged { .. } => 4.3,
                            _ => 25.1,
                        })
        };
        for way in [heard, bridged] {
            let r: f64 = r(way);
            let expected = 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6;
            assert!((mos(way, 0.02, NONE) - expected).abs() < 0.01, "{way:?}");
        }
    }

    #[test]
    fn the_far_end_of_a_bridge_conceals_what_it_misses() {
        let far = FarEnd {
            loss: 0.02,
            ..FarEnd::default()
        };
        let (from, to) = (Codec::G722, Codec::G722);
        let quality = of_leg(
            &StreamStats::default(),
            None,
            Some(far),
            None,
            NONE,
            Way::Bridged { from, to },
        );
        assert_eq!(
            (quality.mos, quality.far_mos),
            (None, Some(mos(Way::Heard { from, to }, 0.02, NONE)))
        );
    }
}
