//! Streams gathered until there is one for each lane of a vector.
//!
//! Each stream's state stays its own: it is laid into the lanes before a piece and taken out after it. So any streams may
//! meet, each time others.

#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;

use super::super::super::g722::lanes::{BLOCK, Coders};
use super::super::super::g722::{self, STATE};
use super::super::super::lanes::{LANES, columns, nothing, rows};
use super::super::super::resample::Resampler;
use super::super::super::resample::lanes::{Doublers, Halvers};
use super::super::{Decoder, Encoder, Linear, decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
use super::Member;
use crate::cache::ask_for;

/// Fewer streams are coded one by one: a vector costs as much as this many, however few of its lanes are used.
const TOO_FEW: usize = 3;

/// Of G.711 into G.722: how it is decoded, and what follows.
type Up<'a> = (fn(&[u8], &mut [i16]), &'a mut Resampler, &'a mut g722::Encoder);

/// Of G.722 into G.711.
type Down<'a> = (&'a mut g722::Decoder, &'a mut Resampler, fn(&[i16], &mut [u8]));

/// Codes so many bytes of each stream. Needs AVX2.
type Turn = unsafe fn(&mut [Option<Member<'_>>; LANES], usize);

impl Linear {
    fn as_up(&mut self) -> Option<Up<'_>> {
        let decode = match self.decoder {
            Decoder::Ulaw => decode_ulaw,
            Decoder::Alaw => decode_alaw,
            Decoder::G722(_) => return None,
        };
        match (&mut self.resampler, &mut self.encoder) {
            (Some(resampler), Encoder::G722(encoder)) if resampler.is_aligned() => Some((decode, resampler, encoder)),
            _ => None,
        }
    }

    fn as_down(&mut self) -> Option<Down<'_>> {
        let encode = match self.encoder {
            Encoder::Ulaw => encode_ulaw,
            Encoder::Alaw => encode_alaw,
            Encoder::G722(_) => return None,
        };
        match (&mut self.decoder, &mut self.resampler) {
            (Decoder::G722(decoder), Some(resampler)) if resampler.is_aligned() => Some((decoder, resampler, encode)),
            _ => None,
        }
    }
}

/// Streams that wait for others.
pub(super) struct Crowd<'a> {
    up: Group<'a>,
    down: Group<'a>,
    has_avx2: bool,
}

impl Default for Crowd<'_> {
    fn default() -> Self {
        Self {
            up: Group::new(run_up),
            down: Group::new(run_down),
            has_avx2: is_x86_feature_detected!("avx2"),
        }
    }
}

impl<'a> Crowd<'a> {
    pub(super) fn add(&mut self, member: Member<'a>) {
        if !self.has_avx2 {
            member.run();
        } else if let Some((.., encoder)) = member.linear.as_up() {
            ask_for(encoder);
            self.up.add(member);
        } else if let Some((decoder, ..)) = member.linear.as_down() {
            ask_for(decoder);
            self.down.add(member);
        } else {
            member.run();
        }
    }

    /// Nobody else comes.
    pub(super) fn finish(mut self) {
        self.up.run();
        self.down.run();
    }
}

/// Streams that are coded alike, at most as many as there are lanes.
struct Group<'a> {
    members: [Option<Member<'a>>; LANES],
    count: usize,
    turn: Turn,
}

impl<'a> Group<'a> {
    fn new(turn: Turn) -> Self {
        Self {
            members: [const { None }; LANES],
            count: 0,
            turn,
        }
    }

    fn add(&mut self, member: Member<'a>) {
        self.members[self.count] = Some(member);
        self.count += 1;
        if self.count == LANES {
            self.run();
        }
    }

    /// Works off all of them: together as much as the shortest has, until too few are left.
    fn run(&mut self) {
        loop {
            for member in &mut self.members {
                member.take_if(|member| member.audio.is_empty());
            }
            let lengths = self.members.iter().flatten().map(|member| member.audio.len());
            let Some(length) = lengths.clone().min() else { break };
            if lengths.count() < TOO_FEW {
                self.members.iter_mut().filter_map(Option::take).for_each(Member::run);
                break;
            }
            // SAFETY: a crowd puts nobody into a group unless the processor has AVX2.
            unsafe { (self.turn)(&mut self.members, length) };
            for member in self.members.iter_mut().flatten() {
                member.audio = &mut std::mem::take(&mut member.audio)[length..];
            }
        }
        self.count = 0;
    }
}

/// G.711 of `length` bytes of each stream becomes G.722.
#[target_feature(enable = "avx2")]
fn run_up(members: &mut [Option<Member<'_>>; LANES], length: usize) {
    let mut states = [[0; STATE]; LANES];
    for (state, (_, _, encoder)) in states.iter_mut().zip(ups(members)) {
        *state = encoder.state();
    }
    let mut coders = Coders::of(&states);
    let mut doublers = Doublers::of(ups(members).map(|(_, resampler, _)| &*resampler));
    let mut linear = [[0; BLOCK]; LANES];
    let mut wide = [nothing(); 2 * BLOCK];
    let mut codes = [nothing(); BLOCK];
    for begin in (0..length).step_by(BLOCK) {
        let count = BLOCK.min(length - begin);
        for (linear, member) in linear.iter_mut().zip(members.iter_mut().flatten()) {
            if let Some((decode, ..)) = member.linear.as_up() {
                decode(&member.audio[begin..begin + count], linear);
            }
        }
        columns(&linear, doublers.samples());
        doublers.run(count, &mut wide);
        coders.encode(&wide[..2 * count], &mut codes);
        rows(&codes[..count], &mut linear);
        for (linear, member) in linear.iter().zip(members.iter_mut().flatten()) {
            for (code, number) in member.audio[begin..begin + count].iter_mut().zip(linear) {
                *code = *number as u8;
            }
        }
    }
    doublers.leave(ups(members).map(|(_, resampler, _)| resampler));
    for (state, (_, _, encoder)) in coders.states().iter().zip(ups(members)) {
        encoder.set_state(state);
    }
}

fn ups<'a>(members: &'a mut [Option<Member<'_>>; LANES]) -> impl Iterator<Item = Up<'a>> {
    members.iter_mut().flatten().filter_map(|member| member.linear.as_up())
}

/// G.722 of `length` bytes of each stream becomes G.711.
#[target_feature(enable = "avx2")]
fn run_down(members: &mut [Option<Member<'_>>; LANES], length: usize) {
    let mut states = [[0; STATE]; LANES];
    for (state, (decoder, ..)) in states.iter_mut().zip(downs(members)) {
        *state = decoder.state();
    }
    let mut coders = Coders::of(&states);
    let mut halvers = Halvers::of(downs(members).map(|(_, resampler, _)| &*resampler));
    let mut numbers = [[0; BLOCK]; LANES];
    let mut codes = [nothing(); BLOCK];
    let mut narrow = [nothing(); BLOCK];
    for begin in (0..length).step_by(BLOCK) {
        let count = BLOCK.min(length - begin);
        for (numbers, member) in numbers.iter_mut().zip(members.iter().flatten()) {
            for (number, code) in numbers.iter_mut().zip(&member.audio[begin..begin + count]) {
                *number = i16::from(*code);
            }
        }
        columns(&numbers, &mut codes);
        coders.decode(&codes[..count], halvers.samples());
        halvers.run(count, &mut narrow);
        rows(&narrow[..count], &mut numbers);
        for (numbers, member) in numbers.iter().zip(members.iter_mut().flatten()) {
            if let Some((.., encode)) = member.linear.as_down() {
                encode(numbers, &mut member.audio[begin..begin + count]);
            }
        }
    }
    halvers.leave(downs(members).map(|(_, resampler, _)| resampler));
    for (state, (decoder, ..)) in coders.states().iter().zip(downs(members)) {
        decoder.set_state(state);
    }
}

fn downs<'a>(members: &'a mut [Option<Member<'_>>; LANES]) -> impl Iterator<Item = Down<'a>> {
    members
        .iter_mut()
        .flatten()
        .filter_map(|member| member.linear.as_down())
}
