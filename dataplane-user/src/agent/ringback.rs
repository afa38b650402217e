//! The built-in agent that plays a ring-back tone to a leg whose next party is being called.
//!
//! 440 and 480 Hz together, two seconds on and four off, as in North America (ITU-T E.180 supplement 2).

use std::f64::consts::TAU;
use std::time::Duration;

use super::{AgentEvent, Session};
use crate::codec::g711::linear_to_ulaw;
use crate::dtmf;
use crate::playout::Playout;

/// Samples a second.
const RATE: u32 = 8000;

/// The two tones, Hz.
const TONES: [u32; 2] = [440, 480];

/// Samples of a period, and those of them in which there is tone.
const PERIOD: u32 = 6 * RATE;
const ON: u32 = 2 * RATE;

/// Peak of a sine at -19 dBm0, where 32,124 is 3.17 dBm0 (ITU-T G.711 section 4).
const AMPLITUDE: f64 = 2502.0;

/// Audio kept ready: 80 ms, more than the longest packet time.
const AHEAD: usize = 640;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Ringback {
    /// Samples played, modulo the period.
    played: u32,
    told_ready: bool,
}

impl Ringback {
    fn sample(&self) -> i16 {
        if self.played >= ON {
            return 0;
        }
        // Whole periods of both tones fit the period: there is no seam.
        let sine = |hertz: u32| (TAU * f64::from(self.played * hertz % RATE) / f64::from(RATE)).sin();
        (AMPLITUDE * TONES.map(sine).iter().sum::<f64>()) as i16
    }
}

impl Session for Ringback {
    fn on_tick(&mut self, playout: &mut Playout, _dtmf: &mut dtmf::Sender, _now: Duration) {
        for _ in playout.queued()..AHEAD {
            playout.push(&[linear_to_ulaw(self.sample())]);
            self.played = (self.played + 1) % PERIOD;
        }
    }

    fn poll_event(&mut self) -> Option<AgentEvent> {
        (!std::mem::replace(&mut self.told_ready, true)).then_some(AgentEvent::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::g711::ulaw_to_linear;
    use crate::playout::DEFAULT_LIMIT;

    #[test]
    fn two_seconds_on_and_four_off() {
        let (mut ringback, mut playout) = (Ringback::default(), Playout::new(DEFAULT_LIMIT));
        let mut loud = Vec::new();
        for _ in 0..600 {
            ringback.on_tick(&mut playout, &mut dtmf::Sender::new(160), Duration::ZERO);
            let mut frame = [0; 160];
            assert!(playout.next(&mut frame));
            loud.push(frame.iter().any(|ulaw| ulaw_to_linear(*ulaw).abs() > 1000));
        }
        let on: Vec<bool> = (0..600).map(|frame| frame % 300 < 100).collect();
        assert_eq!(loud, on);
    }
}
