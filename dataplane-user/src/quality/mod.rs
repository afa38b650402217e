//! How good a call sounds, by what was measured of its packets: the E-model (ITU-T G.107), narrowband.

use std::time::Duration;

use crate::media_plane::{BufferStats, FarEnd, Quality, StreamStats};

/// R of a call with nothing wrong, with the default values of G.107 (table 2).
const BEST_R: f64 = 93.2;

/// Packet-loss robustness of G.711 with concealment as in its Appendix I, random loss (G.113 appendix I). G.722 with
/// concealment is no worse.
const ROBUSTNESS: f64 = 25.1;

/// What arrives may be relayed to a far end that has a jitter buffer of its own: it is taken for one of this many times
/// the jitter, as adaptive ones are.
const BUFFERED_JITTERS: f64 = 2.0;

/// Mean opinion score, 1 to 4.41, of audio of which this share of packets is missing (0 to 1) and that is this old when it
/// is heard.
pub fn mos(loss: f64, delay: Duration) -> f64 {
    let delay_ms = delay.as_secs_f64() * 1000.0;
    // Delay impairment: the approximation of G.107's Idd that holds where there is no echo (Cole and Rosenbluth).
    let delayed = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    let percent = loss.clamp(0.0, 1.0) * 100.0;
    let damaged = 95.0 * percent / (percent + ROBUSTNESS);
    let r = BEST_R - delayed - damaged;
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
) -> Quality {
    let way = round_trip.unwrap_or_default() / 2 + ptime;
    let buffered_ms = buffer.map_or(BUFFERED_JITTERS * received.jitter_ms, |buffer| buffer.delay_ms);
    let left_out = buffer.map_or(0, |buffer| buffer.late + buffer.overflow);
    let expected = i64::try_from(received.packets)
        .unwrap_or(i64::MAX)
        .saturating_add(received.lost);
    let missing = received.lost.max(0).saturating_add_unsigned(left_out);
    let measured = received.packets > 0 && expected > 0;
    Quality {
        mos: measured.then(|| mos(missing as f64 / expected as f64, way + milliseconds(buffered_ms))),
        far_mos: far.map(|far| mos(far.loss, way + milliseconds(BUFFERED_JITTERS * far.jitter_ms))),
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

    #[test]
    fn the_model_has_its_known_values() {
        // G.107 annex B: R 93.2 is 4.41.
        assert!((mos(0.0, NONE) - 4.41).abs() < 0.005, "{}", mos(0.0, NONE));
        // R 90, 80, 70 are 4.34, 4.03, 3.60 (G.107 table B.1).
        for (r, expected) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60)] {
            // The loss that costs so much.
            let cost = BEST_R - r;
            let percent = cost * ROBUSTNESS / (95.0 - cost);
            assert!((mos(percent / 100.0, NONE) - expected).abs() < 0.01, "R {r}");
        }
        // 150 ms cost 3.6 points of R, 300 ms cost 20.7.
        assert!((mos(0.0, Duration::from_millis(150)) - 4.33).abs() < 0.01);
        assert!(mos(0.0, Duration::from_millis(400)) < 3.7);
        assert_eq!(mos(1.0, Duration::from_secs(2)), 1.0);
    }

    #[test]
    fn more_loss_or_delay_is_never_better() {
        let grid = |loss: u32, delay: u64| mos(f64::from(loss) / 100.0, Duration::from_millis(delay * 20));
        for loss in 0..100 {
            for delay in 0..50 {
                let here = grid(loss, delay);
                assert!((1.0..4.5).contains(&here));
                assert!(grid(loss + 1, delay) <= here && grid(loss, delay + 1) <= here);
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
        let quality = of_leg(&received, Some(ptime), None, Some(buffer), ptime);
        let expected = mos(0.05, Duration::from_millis(70));
        assert!((quality.mos.unwrap() - expected).abs() < 1e-9);
        assert_eq!((quality.far_mos, quality.far), (None, None));
        assert_eq!(
            of_leg(&StreamStats::default(), None, None, None, ptime),
            Quality::default()
        );
    }
}
