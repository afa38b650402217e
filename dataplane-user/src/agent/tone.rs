//! The built-in agent that plays a steady tone.

use std::f64::consts::TAU;
use std::time::Duration;

use super::{AgentEvent, Session};
use crate::codec::g711::linear_to_ulaw;
use crate::dtmf;
use crate::playout::Playout;

/// Samples a second.
const RATE: f64 = 8000.0;

/// Peak of a sine at -10 dBm0, where 32,124 is 3.17 dBm0 (ITU-T G.711 section 4).
const AMPLITUDE: f64 = 7052.0;

/// Audio kept ready: 80 ms, more than the longest packet time.
const AHEAD: usize = 640;

/// See the [module](self).
#[derive(Debug)]
pub struct Tone {
    step: f64,
    phase: f64,
    told_ready: bool,
}

impl Tone {
    /// A sine of `frequency` Hz.
    pub fn new(frequency: u16) -> Self {
        Self {
            step: TAU * f64::from(frequency) / RATE,
            phase: 0.0,
            told_ready: false,
        }
    }
}

impl Session for Tone {
    fn on_tick(&mut self, playout: &mut Playout, _dtmf: &mut dtmf::Sender, _now: Duration) {
        for _ in playout.queued()..AHEAD {
            playout.push(&[linear_to_ulaw((AMPLITUDE * self.phase.sin()) as i16)]);
            self.phase = (self.phase + self.step) % TAU;
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
    fn the_tone_has_its_frequency_and_no_seam_between_frames() {
        let (mut tone, mut playout) = (Tone::new(500), Playout::new(DEFAULT_LIMIT));
        let mut samples = Vec::new();
        for _ in 0..50 {
            tone.on_tick(&mut playout, &mut dtmf::Sender::new(160), Duration::ZERO);
            let mut frame = [0; 160];
            assert!(playout.next(&mut frame));
            samples.extend(frame.map(ulaw_to_linear));
        }
        let rising = samples.windows(2).filter(|pair| pair[0] <= 0 && pair[1] > 0).count();
        assert!((499..=501).contains(&rising), "{rising} periods in a second");
        let largest_step = AMPLITUDE * TAU * 500.0 / RATE + 300.0; // and a quantisation step
        assert!(
            samples
                .windows(2)
                .all(|pair| f64::from((pair[1] - pair[0]).abs()) < largest_step)
        );
    }
}
