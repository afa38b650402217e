use proptest::prelude::*;

use super::*;
use crate::codec::g711::ULAW_SILENCE;

/// A packet that was sent.
#[derive(Clone, Debug, PartialEq)]
struct Packet {
    /// ms.
    at: u32,
    timestamp: u32,
    marker: bool,
    /// Of a key: what follows the header.
    key: Option<[u8; 4]>,
    audio: Vec<u8>,
}

/// Keeps what is sent, and resumes at the time it is.
#[derive(Default)]
struct Wire {
    now: u32,
    packets: Vec<Packet>,
}

impl Sink for Wire {
    fn resumed(&mut self, _ptime: u8) -> u32 {
        self.now * BYTES as u32
    }

    fn send(&mut self, timestamp: u32, marker: Marker, content: Content<'_>) {
        let (key, audio) = match content {
            Content::Audio(audio) => (None, audio.to_vec()),
            Content::Key(key) => (Some(*key), Vec::new()),
        };
        self.packets.push(Packet {
            at: self.now,
            timestamp,
            marker: marker == Marker::Set,
            key,
            audio,
        });
    }
}

/// An outlet, its wire and its source, millisecond by millisecond.
struct Lab {
    outlet: Outlet,
    wire: Wire,
    /// The next byte of audio: none is silence.
    next: u8,
}

impl Lab {
    fn new(ptime: u8) -> Self {
        Self {
            outlet: Outlet::new(Codec::Pcmu, Codec::Pcmu, ptime),
            wire: Wire::default(),
            next: 0,
        }
    }

    fn packet(&mut self, ptime: u8) {
        let mut audio = Vec::new();
        for _ in 0..usize::from(ptime) * BYTES {
            audio.push(self.next);
            self.next = (self.next + 1) % ULAW_SILENCE;
        }
        self.outlet.push(Gap::None, &audio);
    }

    fn key(&mut self, began: u32, payload: [u8; 4]) {
        let key = Key { began, payload };
        self.outlet.on_key(&key, &mut self.wire);
    }

    fn millisecond(&mut self) {
        self.wire.now += 1;
        if self.wire.now.is_multiple_of(u32::from(TICK_MS)) {
            self.outlet.tick(&mut self.wire);
        }
    }

    /// Runs with a packet of the source every `ptime` ms.
    fn run(&mut self, ptime: u8, packets: usize) {
        for _ in 0..packets {
            self.packet(ptime);
            (0..ptime).for_each(|_| self.millisecond());
        }
    }

    fn audio(&self) -> Vec<u8> {
        self.wire
            .packets
            .iter()
            .flat_map(|packet| packet.audio.clone())
            .collect()
    }
}

/// What the sources of these tests send.
fn sent(length: usize) -> Vec<u8> {
    (0..ULAW_SILENCE).cycle().take(length).collect()
}

#[test]
fn every_packet_time_becomes_every_other() {
    for from in [10, 20, 30, 40, 60] {
        for to in [10, 20, 30, 40] {
            let mut lab = Lab::new(to);
            lab.run(from, 200);
            let packets = &lab.wire.packets;
            assert_eq!(lab.audio(), sent(lab.audio().len()), "{from} to {to}");
            assert!(
                packets
                    .iter()
                    .all(|packet| packet.audio.len() == usize::from(to) * BYTES)
            );
            let marked: Vec<usize> = (0..packets.len()).filter(|&place| packets[place].marker).collect();
            assert_eq!(marked, [0], "{from} to {to}");
            let gaps = packets
                .windows(2)
                .map(|pair| (pair[1].at - pair[0].at, pair[1].timestamp - pair[0].timestamp));
            let settled: Vec<(u32, u32)> = gaps.skip(10).collect();
            let even = (u32::from(to), u32::from(to) * BYTES as u32);
            assert!(settled.iter().all(|gap| *gap == even), "{from} to {to}: {settled:?}");
            // All that has come has left, but for less than the longer of the two packets and a tick.
            let waits = 200 * usize::from(from) * BYTES - lab.audio().len();
            assert!(
                waits <= usize::from(from.max(to)) * BYTES + TICK,
                "{from} to {to}: {waits}"
            );
        }
    }
}

#[test]
fn what_comes_at_uneven_times_leaves_at_even_ones() {
    let mut lab = Lab::new(20);
    // Up to 14 ms late, by a pattern that does not repeat soon.
    let mut sending: Vec<u32> = (0..500u32).map(|n| 20 * n + n * n * 7 % 15).collect();
    sending.reverse();
    for _ in 0..10_000 {
        while sending.last().is_some_and(|at| *at <= lab.wire.now) {
            sending.pop();
            lab.packet(20);
        }
        lab.millisecond();
    }
    assert_eq!(lab.audio(), sent(lab.audio().len()));
    let uneven = lab
        .wire
        .packets
        .windows(2)
        .filter(|pair| pair[1].at - pair[0].at != 20)
        .count();
    assert!(uneven <= 3, "{uneven}");
    assert!(
        lab.wire
            .packets
            .windows(2)
            .all(|pair| pair[1].timestamp - pair[0].timestamp == 160)
    );
}

#[test]
fn clocks_that_drift_apart_cost_no_sample_and_no_delay() {
    // A second of drift in 5000 is 200 ppm: in ten minutes 120 ms, six packets.
    for source_ms in [19.996, 20.004] {
        let mut lab = Lab::new(20);
        let mut due = 0.0;
        for now in 0..600_000 {
            if f64::from(now) >= due {
                lab.packet(20);
                due += source_ms;
            }
            lab.millisecond();
            assert!(lab.outlet.waiting() <= 5 * TICK, "{source_ms}: {now}");
        }
        let audio = lab.audio();
        assert_eq!(audio, sent(audio.len()), "{source_ms}");
        assert!(
            lab.wire
                .packets
                .windows(2)
                .all(|pair| pair[1].timestamp - pair[0].timestamp == 160)
        );
    }
}

#[test]
fn after_a_pause_the_stream_begins_anew_with_its_marker() {
    let mut lab = Lab::new(30);
    lab.run(20, 5);
    (0..500).for_each(|_| lab.millisecond());
    let before = lab.wire.packets.len();
    // 100 ms are three packets, and one filled with silence.
    assert_eq!(before, 4);
    assert!(lab.wire.packets[3].audio[80..].iter().all(|byte| *byte == ULAW_SILENCE));
    lab.run(20, 5);
    let resumed = &lab.wire.packets[before];
    assert!(resumed.marker);
    assert_eq!(resumed.timestamp, resumed.at * BYTES as u32);
    assert!(lab.wire.packets[before + 1..].iter().all(|packet| !packet.marker));
}

#[test]
fn where_there_was_no_audio_there_is_silence() {
    let mut lab = Lab::new(20);
    lab.run(20, 3);
    lab.outlet.push(Gap::Silence(160), &[7; 160]);
    (0..40).for_each(|_| lab.millisecond());
    let audio = lab.audio();
    assert_eq!(audio[480..640], [ULAW_SILENCE; 160]);
    assert_eq!(audio[640..], [7; 160]);
    assert!(lab.wire.packets[1..].iter().all(|packet| !packet.marker));
}

#[test]
fn a_key_follows_the_audio_before_it_and_audio_follows_the_key() {
    let mut lab = Lab::new(30);
    lab.run(20, 4);
    for (held, duration) in [(20, 160u16), (20, 320), (20, 480), (0, 480), (0, 480)] {
        let [high, low] = duration.to_be_bytes();
        lab.key(77, [5, 10, high, low]);
        (0..held).for_each(|_| lab.millisecond());
    }
    lab.run(20, 4);
    let packets = lab.wire.packets.clone();
    let keys: Vec<usize> = (0..packets.len())
        .filter(|&place| packets[place].key.is_some())
        .collect();
    assert_eq!(keys, [3, 4, 5, 6, 7], "80 ms are three packets of 30 ms, filled up");
    let key = &packets[3];
    assert_eq!((key.timestamp, key.marker), (packets[2].timestamp + 240, true));
    assert!(
        packets[4..8]
            .iter()
            .all(|packet| packet.timestamp == key.timestamp && !packet.marker)
    );
    assert_eq!(packets[7].key, Some([5, 10, 1, 224]));
    assert!(packets[8].marker && packets[8].timestamp > key.timestamp);
    // Another key is another event.
    lab.key(5000, [5, 10, 0, 160]);
    let last = lab.wire.packets.last().unwrap();
    assert!(last.marker && last.timestamp > key.timestamp);
}

#[test]
fn a_burst_does_not_stay_in_the_queue() {
    let mut lab = Lab::new(20);
    (0..40).for_each(|_| lab.packet(20));
    assert_eq!(lab.outlet.waiting(), MOST);
    lab.run(20, 600);
    assert!(lab.outlet.waiting() <= 2 * TICK, "{}", lab.outlet.waiting());
}

#[test]
fn what_was_held_is_forgotten() {
    let mut lab = Lab::new(40);
    lab.run(20, 3);
    lab.outlet.interrupt();
    (0..300).for_each(|_| lab.millisecond());
    assert_eq!(lab.wire.packets.len(), 1);
    lab.run(20, 2);
    assert!(lab.wire.packets[1].marker);
}

#[test]
fn a_codec_that_changes_changes_what_is_sent() {
    let mut lab = Lab::new(20);
    lab.run(20, 2);
    lab.outlet.set(Codec::Pcmu, Codec::Pcma, 20);
    lab.outlet.push(Gap::None, &[ULAW_SILENCE; 160]);
    (0..20).for_each(|_| lab.millisecond());
    assert_eq!(lab.wire.packets.last().unwrap().audio, [0xd5; 160]);
}

#[test]
fn strange_packet_times_are_made_ones_of_the_grid() {
    assert_eq!([0, 5, 20, 25, 60, 255].map(usable), [10, 10, 20, 20, 40, 40]);
}

/// In every codec and whatever is lost, a tone goes on, and what is made up is as long as what was lost.
#[test]
fn a_packet_that_was_lost_is_not_missed() {
    use std::f64::consts::TAU;

    use crate::codec::g711::{linear_to_ulaw, ulaw_to_linear};

    let tone = |n: usize| linear_to_ulaw((8000.0 * (TAU * 400.0 * n as f64 / 8000.0).sin()) as i16);
    let all = [Codec::Pcmu, Codec::Pcma, Codec::G722];
    for (from, to) in all.into_iter().flat_map(|from| all.map(|to| (from, to))) {
        let mut lab = Lab::new(20);
        lab.outlet = Outlet::new(from, to, 20);
        let mut sent: Vec<u8> = (0..160 * 12).map(tone).collect();
        Transcoder::new(Codec::Pcmu, from).run(&mut sent);
        for (place, packet) in sent.chunks(160).enumerate() {
            match place {
                6 => {}
                7 => lab.outlet.push(Gap::Lost(160), packet),
                _ => lab.outlet.push(Gap::None, packet),
            }
            (0..20).for_each(|_| lab.millisecond());
        }
        let mut heard = lab.audio();
        assert!(heard.len() >= 160 * 11, "{from} to {to}");
        Transcoder::new(to, Codec::Pcmu).run(&mut heard);
        let heard: Vec<i16> = heard.into_iter().map(ulaw_to_linear).collect();
        // Every 2.5 ms is a period.
        let loudest = |period: &[i16]| period.iter().map(|sample| sample.abs()).max().unwrap_or_default();
        let levels: Vec<i16> = heard[160 * 5..160 * 10].chunks(20).map(loudest).collect();
        let least = levels.iter().min().copied().unwrap_or_default();
        if (from, to) == (Codec::G722, Codec::G722) {
            assert!(least < 1000, "{levels:?}");
        } else {
            assert!(least > 5500, "{from} to {to}: {levels:?}");
            let step = heard[160 * 5..160 * 10]
                .windows(2)
                .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
            // The tone's own are 2500.
            assert!(step.max() < Some(4000), "{from} to {to}");
        }
    }
}

proptest! {
    /// In every codec, whatever is lost and however long it waits to be coded with others': it comes out as what is coded as it
    /// comes.
    #[test]
    fn what_waits_to_be_coded_comes_out_as_what_does_not(
        from in prop::sample::select(&Codec::ALL[..]),
        to in prop::sample::select(&Codec::ALL[..]),
        // No more than may wait.
        packets in prop::collection::vec((any::<u64>(), 1usize..=100, 0u32..=200, any::<bool>()), 1..=8),
    ) {
        let mut outlets = [(); 2].map(|()| Outlet::new(from, to, 20));
        let mut heard = [Vec::new(), Vec::new()];
        for (seed, length, lost, is_coded) in packets {
            let audio: Vec<u8> = (0..length as u64).map(|n| (seed >> (n % 57)) as u8).collect();
            let gap = if lost <= 100 { Gap::None } else { Gap::Lost(lost - 100) };
            for ((outlet, heard), is_coded) in outlets.iter_mut().zip(&mut heard).zip([true, is_coded]) {
                outlet.stream = Stream::Flowing(0);
                outlet.push(gap, &audio);
                if is_coded {
                    outlet.code();
                    heard.extend(outlet.queue.drain(..));
                }
            }
        }
        for (outlet, heard) in outlets.iter_mut().zip(&mut heard) {
            outlet.code();
            heard.extend(outlet.queue.drain(..));
        }
        prop_assert_eq!(&heard[1], &heard[0]);
    }
}
