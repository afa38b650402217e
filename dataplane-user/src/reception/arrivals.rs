//! How late packets come: what the delay of the buffer follows.
//!
//! A packet's transit is its arrival minus its media time: by itself it means nothing, for the two clocks have nothing in
//! common. But the least transit of the last seconds is that of a packet nothing has held up, and what others took longer
//! is their delay. The greatest delay of each half second is remembered for half a minute; the buffer waits for what 95
//! of 100 of those half seconds needed. That is NetEQ's way: a single peak does not slow down the talk, one that comes
//! back does. Sender's and receiver's clocks may drift: the floor follows.

/// Length of a window, µs.
const WINDOW_US: i64 = 500_000;

/// Windows, beside the current one, whose least transit is the floor: two seconds.
const FLOORS: usize = 4;

/// Windows whose greatest delay is remembered: half a minute.
const PEAKS: usize = 60;

/// Of a hundred windows, how many the buffer is to be long enough for.
const PERCENTILE: usize = 95;

/// From this many windows on a single peak is left out, though it is more than the percentile leaves out.
const FEW: usize = 4;

/// Greatest delay that is believed, µs.
const MAX_DELAY_US: i64 = 2_000_000;

#[derive(Clone, Copy, Debug)]
struct Window {
    began_us: i64,
    floor_us: i64,
    peak_us: u32,
}

/// The transits of one stream's packets.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    current: Option<Window>,
    floors_us: [i64; FLOORS],
    floors: usize,
    peaks_us: [u32; PEAKS],
    /// Windows closed so far.
    closed: usize,
    percentile_us: u32,
    last_transit_us: Option<i64>,
    /// Interarrival jitter (RFC 3550 A.8), 1/16 µs.
    jitter_x16: u32,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            current: None,
            floors_us: [0; FLOORS],
            floors: 0,
            peaks_us: [0; PEAKS],
            closed: 0,
            percentile_us: 0,
            last_transit_us: None,
            jitter_x16: 0,
        }
    }
}

impl Arrivals {
    /// Takes the transit of a packet that came at `now_us`.
    pub(super) fn on_packet(&mut self, transit_us: i64, now_us: i64) {
        self.measure_jitter(transit_us);
        if self
            .current
            .is_some_and(|window| now_us.saturating_sub(window.began_us) >= WINDOW_US)
        {
            self.close();
        }
        let floor_us = self.floor_us().unwrap_or(transit_us).min(transit_us);
        let delay_us = (transit_us - floor_us).clamp(0, MAX_DELAY_US) as u32;
        match &mut self.current {
            Some(window) => {
                window.floor_us = window.floor_us.min(transit_us);
                window.peak_us = window.peak_us.max(delay_us);
            }
            None => {
                self.current = Some(Window {
                    began_us: now_us,
                    floor_us: transit_us,
                    peak_us: delay_us,
                });
            }
        }
    }

    /// Transit of a packet that nothing holds up; `None` before the first.
    pub(super) fn floor_us(&self) -> Option<i64> {
        let closed = self.floors_us[..self.floors.min(FLOORS)].iter().copied();
        closed.chain(self.current.map(|window| window.floor_us)).min()
    }

    /// How long the buffer has to wait for packets.
    pub(super) fn spread_us(&self) -> u32 {
        let first = match self.closed {
            0 => self.current.map_or(0, |window| window.peak_us),
            _ => 0,
        };
        self.percentile_us.max(first).max(self.jitter_us().saturating_mul(2))
    }

    /// Interarrival jitter.
    fn jitter_us(&self) -> u32 {
        self.jitter_x16 >> 4
    }

    /// The stream has begun anew, with the transit of its first packet where the floor is.
    pub(super) fn restart(&mut self) {
        self.last_transit_us = None;
    }

    fn measure_jitter(&mut self, transit_us: i64) {
        if let Some(last) = self.last_transit_us.replace(transit_us) {
            let difference = transit_us.saturating_sub(last).unsigned_abs().min(MAX_DELAY_US as u64) as u32;
            self.jitter_x16 = self.jitter_x16 + difference - ((self.jitter_x16 + 8) >> 4);
        }
    }

    fn close(&mut self) {
        let Some(window) = self.current.take() else { return };
        self.floors_us[self.floors % FLOORS] = window.floor_us;
        // Once it is full, only the place in it matters.
        self.floors = if self.floors + 1 == 2 * FLOORS {
            FLOORS
        } else {
            self.floors + 1
        };
        self.peaks_us[self.closed % PEAKS] = window.peak_us;
        self.closed = if self.closed + 1 == 2 * PEAKS {
            PEAKS
        } else {
            self.closed + 1
        };
        let mut peaks = self.peaks_us;
        let known = &mut peaks[..self.closed.min(PEAKS)];
        let place = (known.len() * PERCENTILE).div_ceil(100).saturating_sub(1);
        // Soon after the beginning one is more than five of a hundred, and yet it may not come back.
        let place = if known.len() >= FEW {
            place.min(known.len() - 2)
        } else {
            place
        };
        self.percentile_us = *known.select_nth_unstable(place).1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What packets every 20 ms with these delays (ms) come to.
    fn after(delays_ms: impl IntoIterator<Item = i64>) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for (place, delay) in delays_ms.into_iter().enumerate() {
            let sent_us = place as i64 * 20_000;
            arrivals.on_packet(delay * 1000 - 77, sent_us + delay * 1000);
        }
        arrivals
    }

    #[test]
    fn a_regular_stream_is_not_waited_for() {
        let arrivals = after([5; 500]);
        assert_eq!((arrivals.spread_us(), arrivals.floor_us()), (0, Some(5000 - 77)));
    }

    #[test]
    fn what_comes_back_is_waited_for_and_what_does_not_is_not() {
        // A peak every second: every other half second has one.
        let arrivals = after((0..1500).map(|place| if place % 50 == 7 { 60 } else { 0 }));
        assert_eq!(arrivals.spread_us(), 60_000);
        // One in half a minute.
        let arrivals = after((0..1500).map(|place| if place == 700 { 60 } else { 0 }));
        assert!(arrivals.spread_us() < 1000, "{}", arrivals.spread_us());
        // One soon after the beginning.
        let arrivals = after((0..250).map(|place| if place == 120 { 60 } else { 0 }));
        assert!(arrivals.spread_us() < 1000, "{}", arrivals.spread_us());
    }

    #[test]
    fn the_first_peak_counts_at_once() {
        assert_eq!(after([0, 0, 0, 30]).spread_us(), 30_000);
    }

    #[test]
    fn a_longer_way_is_the_new_floor_after_two_seconds() {
        let arrivals = after((0..300).map(|place| if place < 100 { 0 } else { 40 }));
        assert_eq!(arrivals.floor_us(), Some(40_000 - 77));
    }

    #[test]
    fn the_floor_follows_a_clock_that_drifts() {
        let mut arrivals = Arrivals::default();
        for place in 0..180_000i64 {
            // 200 ppm: 4 µs a packet.
            arrivals.on_packet(4 * place, 20_004 * place);
        }
        let lag = 4 * 180_000 - arrivals.floor_us().unwrap();
        assert!((0..700).contains(&lag), "{lag}");
        assert!(arrivals.spread_us() < 700, "{}", arrivals.spread_us());
    }
}
