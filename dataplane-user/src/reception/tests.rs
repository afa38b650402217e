//! A whole receiving end under simulated time.

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const PTIME: Duration = Duration::from_millis(20);
const AUDIO: Kind = Kind::Audio { ticks_a_byte: 1 };

/// A sample a byte, so that what is heard can be compared with what was sent.
fn decode(payload: &[u8], out: &mut [i16]) -> usize {
    for (to, from) in out.iter_mut().zip(payload) {
        *to = (i16::from(*from) - 128) * 100;
    }
    payload.len()
}

fn header(sequence: u16, timestamp: u32, ssrc: u32) -> RtpHeader {
    let mut bytes = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
    bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
    bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
    RtpHeader::parse(&bytes).unwrap()
}

/// What was heard, sample by sample, and the events with the place in it.
#[derive(Default)]
struct Ear {
    samples: Vec<i16>,
    events: Vec<(usize, u8)>,
}

/// One packet on its way.
#[derive(Clone, Debug)]
struct Packet {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    kind: Kind,
    payload: Vec<u8>,
    arrives: Duration,
}

/// A period of 200 Hz.
static PERIOD: std::sync::LazyLock<[u8; 40]> = std::sync::LazyLock::new(|| {
    std::array::from_fn(|at| (128.0 + 100.0 * (std::f64::consts::TAU * at as f64 / 40.0).sin()).round() as u8)
});

/// The byte of a source at a media time: a tone of 200 Hz.
fn byte(at: u32) -> u8 {
    PERIOD[at as usize % 40]
}

fn audio(sequence: u16, timestamp: u32, samples: u32, arrives: Duration) -> Packet {
    Packet {
        sequence,
        timestamp,
        ssrc: 1,
        kind: AUDIO,
        payload: (0..samples).map(|place| byte(timestamp.wrapping_add(place))).collect(),
        arrives,
    }
}

/// `packets` of 20 ms, each `delay` late; `None`: it never comes.
fn stream(packets: u32, mut delay: impl FnMut(u32) -> Option<Duration>) -> Vec<Packet> {
    (0..packets)
        .filter_map(|place| {
            Some(audio(
                place as u16,
                place * 160,
                160,
                3 * MS + PTIME * place + delay(place)?,
            ))
        })
        .collect()
}

/// Lets the packets arrive and hears until `until`.
fn hear(reception: &mut Reception, mut packets: Vec<Packet>, until: Duration) -> Ear {
    packets.sort_by_key(|packet| packet.arrives);
    let mut packets = packets.into_iter().peekable();
    let mut ear = Ear::default();
    let mut due = Duration::ZERO;
    while due < until {
        due += PTIME;
        while let Some(packet) = packets.next_if(|packet| packet.arrives <= due) {
            let header = header(packet.sequence, packet.timestamp, packet.ssrc);
            reception.insert(&header, packet.kind, &packet.payload, packet.arrives);
        }
        let mut frame = [0; 160];
        let place = ear.samples.len();
        let heard = reception.hear(&mut frame, due, decode, |_, payload| {
            ear.events.push((place, payload[0]))
        });
        if heard == Frame::Audio {
            ear.samples.extend(frame);
        }
    }
    ear
}

fn fresh() -> Reception {
    Reception::new(Limits::default(), 8000, PTIME)
}

fn source(samples: usize) -> Vec<i16> {
    let bytes: Vec<u8> = (0..samples as u32).map(byte).collect();
    let mut out = vec![0; samples];
    decode(&bytes, &mut out);
    out
}

/// The first place where the two differ.
fn difference(heard: &[i16], source: &[i16]) -> Option<usize> {
    let differ = heard.iter().zip(source).position(|(heard, source)| heard != source);
    differ.or_else(|| (heard.len() != source.len()).then_some(heard.len().min(source.len())))
}

/// Where the greatest step is.
fn click(samples: &[i16]) -> Option<usize> {
    let steps = samples
        .windows(2)
        .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
    steps.enumerate().max_by_key(|(_, step)| *step).map(|(place, _)| place)
}

fn greatest_step(samples: &[i16]) -> i32 {
    let steps = samples
        .windows(2)
        .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs());
    steps.max().unwrap_or(0)
}

fn own_step() -> i32 {
    greatest_step(&source(400))
}

#[test]
fn a_regular_stream_passes_as_it_is_within_a_packet_time() {
    let mut reception = fresh();
    let ear = hear(&mut reception, stream(500, |_| Some(Duration::ZERO)), PTIME * 500);
    assert_eq!(difference(&ear.samples, &source(500 * 160)), None);
    let figures = reception.figures();
    assert_eq!((figures.concealed, figures.shortened, figures.lengthened), (0, 0, 0));
    assert_eq!(figures.counts, Counts::default());
    assert!(figures.delay <= PTIME, "{figures:?}");
}

#[test]
fn packets_of_any_length_pass_as_they_are() {
    for samples in [80u32, 160, 240, 320, 480, 1600] {
        let mut reception = fresh();
        let length = Duration::from_micros(u64::from(samples) * 125);
        let packets =
            (0..200).map(|place| audio(place as u16, place * samples, samples, MS * 3 + length * (place + 1)));
        let until = length * 200;
        let ear = hear(&mut reception, packets.collect(), until);
        assert!(ear.samples.len() > 10 * samples as usize);
        assert_eq!(
            difference(&ear.samples, &source(ear.samples.len())),
            None,
            "packets of {samples}"
        );
        assert_eq!(reception.figures().concealed, 0);
    }
}

#[test]
fn what_is_lost_is_made_up_without_a_click() {
    let mut reception = fresh();
    // One in ten, and once three in a row.
    let lost = |place: u32| place % 10 == 5 || (101..104).contains(&place);
    let packets = stream(500, |place| (!lost(place)).then_some(Duration::ZERO));
    let ear = hear(&mut reception, packets, PTIME * 500);
    let source = source(500 * 160);
    assert_eq!(ear.samples.len(), source.len());
    // Where it was not lost, and has faded in, it is what was sent: nothing has moved.
    for place in (0..500).filter(|place| !lost(*place) && !lost(place.saturating_sub(1))) {
        let range = place as usize * 160..(place as usize + 1) * 160;
        assert_eq!(
            difference(&ear.samples[range.clone()], &source[range]),
            None,
            "packet {place}"
        );
    }
    assert!(
        greatest_step(&ear.samples) <= own_step() * 5 / 4,
        "{} at {:?}",
        greatest_step(&ear.samples),
        click(&ear.samples)
    );
    assert_eq!(reception.figures().concealed, 53 * 160);
    assert_eq!(reception.figures().delay, Duration::from_millis(17));
}

#[test]
fn what_is_out_of_order_is_put_in_order() {
    let mut reception = fresh();
    // Every seventh overtakes the two before it.
    let packets = stream(600, |place| Some(if place % 7 < 2 { 45 * MS } else { Duration::ZERO }));
    let ear = hear(&mut reception, packets, PTIME * 600);
    let figures = reception.figures();
    // Once it is known that packets come late, none does.
    assert!(figures.concealed <= 6 * 160, "{figures:?}");
    assert!(figures.delay >= 45 * MS && figures.delay <= 70 * MS, "{figures:?}");
    assert_eq!(figures.counts.late, 0, "{figures:?}");
    assert!(
        greatest_step(&ear.samples) <= own_step() * 5 / 4,
        "{} at {:?}",
        greatest_step(&ear.samples),
        click(&ear.samples)
    );
}

/// The same on every run.
fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn the_delay_follows_the_jitter_and_returns() {
    let mut reception = fresh();
    let mut state = 7;
    let calm = 3000u32;
    let rough = |place: u32| (1000..2000).contains(&place);
    let packets = stream(2000 + calm, |place| {
        let delay = random(&mut state) % 60;
        Some(if rough(place) {
            Duration::from_millis(delay)
        } else {
            Duration::ZERO
        })
    });
    let (before, after): (Vec<_>, Vec<_>) = packets.into_iter().partition(|packet| packet.sequence < 2000);
    let mut ear = hear(&mut reception, before, PTIME * 2000);
    let figures = reception.figures();
    assert!(figures.target >= 50 * MS && figures.target <= 62 * MS, "{figures:?}");
    assert!(figures.concealed < 40 * 160, "{figures:?}");
    let late = figures.counts.late;
    let mut due = PTIME * 2000;
    let mut packets = after.into_iter().peekable();
    for _ in 0..calm {
        due += PTIME;
        while let Some(packet) = packets.next_if(|packet| packet.arrives <= due) {
            reception.insert(
                &header(packet.sequence, packet.timestamp, 1),
                AUDIO,
                &packet.payload,
                packet.arrives,
            );
        }
        let mut frame = [0; 160];
        reception.hear(&mut frame, due, decode, |_, _| {});
        ear.samples.extend(frame);
    }
    let figures = reception.figures();
    assert!(figures.delay <= 26 * MS, "{figures:?}");
    assert_eq!(figures.counts.late, late);
    assert!(
        greatest_step(&ear.samples) <= own_step() * 3 / 2,
        "{} at {:?}",
        greatest_step(&ear.samples),
        click(&ear.samples)
    );
}

#[test]
fn after_a_standstill_what_is_too_old_is_left_out() {
    let mut reception = fresh();
    // A second in which nothing comes, and then all at once.
    let packets = stream(1500, |place| {
        Some(if (100..150).contains(&place) {
            PTIME * (150 - place)
        } else {
            Duration::ZERO
        })
    });
    let ear = hear(&mut reception, packets, PTIME * 1500);
    let figures = reception.figures();
    assert!(
        figures.counts.overflow > 30 && figures.counts.overflow < 45,
        "{figures:?}"
    );
    assert!(figures.delay < 60 * MS, "{figures:?}");
    assert!(
        greatest_step(&ear.samples) <= own_step() * 3 / 2,
        "{} at {:?}",
        greatest_step(&ear.samples),
        click(&ear.samples)
    );
}

#[test]
fn numbers_wrap_and_duplicates_are_left_out() {
    let mut reception = fresh();
    let mut packets = Vec::new();
    for place in 0..200u32 {
        let mut packet = audio(0, place * 160, 160, MS + PTIME * place);
        packet.sequence = (place as u16).wrapping_add(65_500);
        packet.timestamp = (place * 160).wrapping_add(u32::MAX - 8000);
        packets.push(packet.clone());
        if place % 9 == 3 {
            packet.arrives += MS;
            packets.push(packet.clone());
            packet.arrives += 200 * MS;
            packets.push(packet);
        }
    }
    let ear = hear(&mut reception, packets, PTIME * 200);
    assert_eq!(difference(&ear.samples, &source(200 * 160)), None);
    assert_eq!(reception.figures().counts.duplicates, 22 + 21);
    assert_eq!(reception.figures().counts.late, 0);
}

#[test]
fn a_sender_that_begins_anew_is_heard_at_once() {
    let mut reception = fresh();
    let mut packets = stream(100, |_| Some(Duration::ZERO));
    for place in 0..100u32 {
        let mut packet = audio(place as u16 + 9000, 0, 160, 3 * MS + PTIME * (place + 100));
        packet.ssrc = 2;
        packet.timestamp = 77_777 + place * 160;
        packet.payload = (0..160).map(|sample| byte(place * 160 + sample)).collect();
        packets.push(packet);
    }
    // The same source with a clock set anew.
    for place in 0..100u32 {
        let mut packet = audio(place as u16 + 9100, 0, 160, 3 * MS + PTIME * (place + 200));
        packet.ssrc = 2;
        packet.timestamp = 4_000_000_000u32.wrapping_add(place * 160);
        packet.payload = (0..160).map(|sample| byte(place * 160 + sample)).collect();
        packets.push(packet);
    }
    let ear = hear(&mut reception, packets, PTIME * 300);
    assert_eq!(difference(&ear.samples, &source(300 * 160)), None);
    assert_eq!(reception.figures().concealed, 0);
}

#[test]
fn pauses_of_a_sender_that_is_silent_are_no_loss() {
    let mut reception = fresh();
    // Two seconds of talk, one of nothing, and so on; numbers go on, timestamps jump.
    let mut packets = Vec::new();
    let mut sequence = 0;
    for place in 0..900u32 {
        if place % 150 < 100 {
            packets.push(audio(sequence, place * 160, 160, 3 * MS + PTIME * place));
            sequence += 1;
        }
    }
    let ear = hear(&mut reception, packets, PTIME * 900);
    let source = source(900 * 160);
    assert_eq!(ear.samples.len(), source.len());
    for place in (0..900usize).filter(|place| place % 150 > 0 && place % 150 < 100) {
        let range = place * 160..(place + 1) * 160;
        assert_eq!(
            difference(&ear.samples[range.clone()], &source[range]),
            None,
            "packet {place}"
        );
    }
    // What was heard last has faded before it is known that nothing is missing.
    assert!(ear.samples[104 * 160..150 * 160].iter().all(|sample| *sample == 0));
    assert_eq!(reception.figures().counts, Counts::default());
}

#[test]
fn noise_is_heard_where_the_sender_describes_it() {
    let mut reception = fresh();
    let mut packets = Vec::new();
    let mut sequence = 0;
    for place in 0..300u32 {
        let mut packet = audio(sequence, place * 160, 160, 3 * MS + PTIME * place);
        match place {
            100 | 150 => (packet.kind, packet.payload) = (Kind::Noise, vec![45]),
            101..200 => continue,
            _ => {}
        }
        packets.push(packet);
        sequence += 1;
    }
    let ear = hear(&mut reception, packets, PTIME * 300);
    let noise = &ear.samples[104 * 160..199 * 160];
    let energy: f64 = noise.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let level = 20.0 * ((energy / noise.len() as f64).sqrt() / 32768.0).log10();
    assert!((level + 45.0).abs() < 1.0, "{level}");
    assert_eq!(
        difference(&ear.samples[202 * 160..], &source(300 * 160)[202 * 160..]),
        None
    );
    assert_eq!(reception.figures().concealed, 0);
}

#[test]
fn keys_are_heard_where_they_were_pressed() {
    let mut reception = fresh();
    let mut packets = Vec::new();
    for place in 0..200u32 {
        // A key for 100 ms in every second, its end said three times.
        let key = place % 50;
        let mut packet = audio(place as u16, place * 160, 160, 3 * MS + PTIME * place);
        if (20..27).contains(&key) {
            packet.timestamp = (place - (key - 20)) * 160;
            packet.kind = Kind::Event;
            packet.payload = vec![(place / 50) as u8, if key > 23 { 0x8a } else { 10 }, 0, 160];
        }
        packets.push(packet);
    }
    // The audio before a key comes after it.
    packets[18].arrives += 45 * MS;
    packets[19].arrives += 30 * MS;
    let ear = hear(&mut reception, packets, PTIME * 200);
    let keys: Vec<u8> = ear.events.iter().map(|(_, key)| *key).collect();
    assert_eq!(keys, [[0; 7], [1; 7], [2; 7], [3; 7]].concat());
    for (heard, key) in &ear.events {
        let pressed = (usize::from(*key) * 50 + 20) * 160;
        assert!(
            (pressed.saturating_sub(160)..pressed + 12 * 160).contains(heard),
            "{key} at {heard}"
        );
    }
}

/// Two hours with a clock that is `ppm` off.
fn drift(ppm: i64) {
    let mut reception = fresh();
    let packets = 2 * 3600 * 50u32;
    let (mut sent, mut due) = (0u32, Duration::ZERO);
    let mut state = 3;
    let (mut last, mut steps, mut greatest) = (0i16, 0u64, 0);
    let mut longest = Duration::ZERO;
    let arrival = |place: u32, jitter: u64| {
        let ns = i64::from(place) * (20_000_000 + 20 * ppm);
        Duration::from_nanos(5_000_000 + ns as u64 + jitter)
    };
    let mut jitter = 0;
    let click = own_step() * 5 / 4;
    for tick in 0..packets - 100 {
        due += PTIME;
        while arrival(sent, jitter) <= due {
            let packet = audio(sent as u16, sent.wrapping_mul(160), 160, arrival(sent, jitter));
            reception.insert(
                &header(packet.sequence, packet.timestamp, 1),
                AUDIO,
                &packet.payload,
                packet.arrives,
            );
            sent += 1;
            jitter = random(&mut state) % 2_000_000;
        }
        let mut frame = [0; 160];
        assert_eq!(
            reception.hear(&mut frame, due, decode, |_, _| {}),
            Frame::Audio,
            "tick {tick}"
        );
        for sample in frame {
            greatest = greatest.max((i32::from(sample) - i32::from(last)).abs());
            steps += u64::from((i32::from(sample) - i32::from(last)).abs() > click);
            last = sample;
        }
        longest = longest.max(reception.figures().delay);
    }
    let figures = reception.figures();
    assert!(longest <= 50 * MS, "{ppm}: {longest:?} {figures:?}");
    assert_eq!(
        (steps, figures.counts.late, figures.counts.overflow),
        (0, 0, 0),
        "{ppm}: {greatest} {figures:?}"
    );
    // 1.44 s in all, of at most 15 ms each; not more than twice what is needed.
    let (shorter, longer) = (figures.shortened, figures.lengthened);
    match ppm {
        0 => assert!(shorter + longer < 10, "{figures:?}"),
        ..0 => assert!(shorter > 90 && longer < shorter / 10, "{figures:?}"),
        _ => assert!(longer > 90 && shorter < longer / 10, "{figures:?}"),
    }
    // Hardly anything had to be made up.
    assert!(figures.concealed <= 4 * 160, "{ppm}: {figures:?}");
}

#[test]
fn two_hours_with_the_same_clock() {
    drift(0);
}

#[test]
fn two_hours_with_a_clock_that_is_slow() {
    drift(200);
}

#[test]
fn two_hours_with_a_clock_that_is_fast() {
    drift(-200);
}

#[test]
fn after_hold_it_begins_anew() {
    let mut reception = fresh();
    hear(&mut reception, stream(50, |_| Some(Duration::ZERO)), PTIME * 50);
    reception.clear();
    let mut frame = [0; 160];
    assert_eq!(
        reception.hear(&mut frame, PTIME * 100, decode, |_, _| {}),
        Frame::Nothing
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever comes: nothing panics, a frame is always whole, and what waits is bounded.
    #[test]
    fn nothing_panics(
        packets in prop::collection::vec(
            (any::<u16>(), any::<u32>(), 0u32..2, 0u8..4, 0usize..1700, 0u64..60_000, any::<bool>()), 0..300),
        rate in prop::sample::select(vec![8000u32, 16_000]),
        ptime in prop::sample::select(vec![10u64, 20, 30, 40]),
    ) {
        let mut reception = Reception::new(Limits::default(), rate, Duration::from_millis(ptime));
        let mut now = Duration::ZERO;
        let mut due = Duration::ZERO;
        let (mut near, mut timestamp) = (0u16, 0u32);
        for (sequence, at, ssrc, kind, length, wait, wild) in packets {
            now += Duration::from_micros(wait);
            near = near.wrapping_add(sequence % 5);
            timestamp = timestamp.wrapping_add(at % 500);
            let header = match wild {
                true => header(sequence, at, ssrc),
                false => header(near, timestamp, 0),
            };
            let kind = match kind { 0 => Kind::Noise, 1 => Kind::Event, _ => AUDIO };
            reception.insert(&header, kind, &vec![9; length], now);
            while due < now {
                due += Duration::from_millis(ptime);
                let mut frame = vec![0; (u64::from(rate) * ptime / 1000) as usize];
                reception.hear(&mut frame, due, |payload, out| {
                    let length = (payload.len() * rate as usize / 8000).min(out.len());
                    out[..length].fill(5);
                    length
                }, |_, _| {});
            }
        }
    }

    /// Any loss, order and delay within the limits: no click beyond the tone's own steps by half, and time goes on.
    #[test]
    fn any_network_is_heard_without_clicks(
        fates in prop::collection::vec((0u64..30, 0u8..20), 200..400),
    ) {
        let mut reception = fresh();
        let packets = stream(fates.len() as u32, |place| {
            let (delay, fate) = fates[place as usize];
            (fate > 0).then(|| Duration::from_millis(delay))
        });
        let until = PTIME * fates.len() as u32;
        let ear = hear(&mut reception, packets, until);
        prop_assert!(greatest_step(&ear.samples) <= own_step() * 2, "{} at {:?}", greatest_step(&ear.samples), click(&ear.samples));
        prop_assert!(ear.samples.len() + 4 * 160 >= fates.len() * 160);
    }
}
