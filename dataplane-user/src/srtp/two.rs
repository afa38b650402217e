//! Packets of two legs at a time. Counter mode's hash is one chain of instructions that wait for each other; two chains side by
//! side take little longer than one.

use super::context::{Begun, Inbound, Outbound};
use super::packet::Kind;
use super::refusal::Refusal;

/// A packet that is to be protected, as [`Outbound::finish`] takes it.
pub struct Outgoing<'a> {
    /// What protects it.
    pub outbound: &'a Outbound,
    /// What it is, and its place.
    pub begun: Begun,
    /// It, with room for what protection adds.
    pub buffer: &'a mut [u8],
}

/// A packet that has arrived, as [`Inbound::unprotect`] takes it.
pub struct Incoming<'a> {
    /// What takes its protection off.
    pub inbound: &'a mut Inbound,
    /// What it is.
    pub kind: Kind,
    /// It.
    pub packet: &'a mut [u8],
}

/// [`Outbound::finish`] of each; faster than one after the other where both have a suite of counter mode and the processor
/// has the instructions, and the same in any case. Each may be refused by itself.
#[inline]
pub fn finish_two(mut packets: [Outgoing<'_>; 2]) -> [Result<usize, Refusal>; 2] {
    #[cfg(target_arch = "x86_64")]
    if let Some(protected) = together::finish(&mut packets) {
        return protected;
    }
    packets.map(|packet| packet.outbound.finish(packet.begun, packet.buffer))
}

/// [`Inbound::unprotect`] of each; faster than one after the other where both have a suite of counter mode and the processor
/// has the instructions, and the same in any case. Each may be refused by itself.
#[inline]
pub fn unprotect_two(mut packets: [Incoming<'_>; 2]) -> [Result<usize, Refusal>; 2] {
    #[cfg(target_arch = "x86_64")]
    if let Some(unprotected) = together::unprotect(&mut packets) {
        return unprotected;
    }
    packets.map(|packet| packet.inbound.unprotect(packet.kind, packet.packet))
}

/// `None`, with nothing done, if they are not both to be done in this way, or one is refused before it comes to that.
#[cfg(target_arch = "x86_64")]
mod together {
    use super::super::context::arrived;
    use super::super::packet::Layout;
    use super::super::stitched::{Task, encrypt_then_tag_two, tag_and_decrypt_two};
    use super::super::streams::{Place, Streams};
    use super::super::transform::{Transform, verify};
    use super::{Incoming, Outgoing, Refusal};

    /// What is needed of a packet after its work is done.
    struct Rest<'a> {
        transform: &'a Transform,
        /// Of the packet proper.
        length: usize,
        /// What follows it.
        added: &'a mut [u8],
        word: u32,
        tag_len: usize,
    }

    #[inline]
    pub(super) fn finish(packets: &mut [Outgoing<'_>; 2]) -> Option<[Result<usize, Refusal>; 2]> {
        let [a, b] = packets.each_mut();
        let [(task_a, a), (task_b, b)] = [leaves(a)?, leaves(b)?];
        let [tag_a, tag_b] = encrypt_then_tag_two([task_a, task_b]);
        Some([(a, tag_a), (b, tag_b)].map(|(rest, tag)| {
            let length = rest.length + rest.added.len();
            rest.transform.write_after(rest.added, rest.word, &tag[..rest.tag_len]);
            Ok(length)
        }))
    }

    #[inline]
    pub(super) fn unprotect(packets: &mut [Incoming<'_>; 2]) -> Option<[Result<usize, Refusal>; 2]> {
        let [a, b] = packets.each_mut();
        let [(task_a, a), (task_b, b)] = [arrives(a)?, arrives(b)?];
        let [tag_a, tag_b] = tag_and_decrypt_two([task_a, task_b]);
        Some([(a, tag_a), (b, tag_b)].map(|((rest, streams, place), tag)| {
            verify(&tag[..rest.tag_len], rest.added)?;
            streams.take(place);
            Ok(rest.length)
        }))
    }

    #[inline]
    fn leaves<'a>(packet: &'a mut Outgoing<'_>) -> Option<(Task<'a>, Rest<'a>)> {
        let begun = &packet.begun;
        let transform = packet.outbound.0.transform_for(begun).ok()?;
        let end = begun.length + transform.overhead();
        let parts = packet.buffer.get_mut(..end)?.split_at_mut_checked(begun.length)?;
        ready(transform, begun.layout, begun.index, parts)
    }

    #[inline]
    fn arrives<'a>(packet: &'a mut Incoming<'_>) -> Option<(Task<'a>, (Rest<'a>, &'a mut Streams, Place))> {
        let inbound = &mut *packet.inbound;
        if inbound.grace.is_some() {
            return None;
        }
        let (transform, streams) = inbound.context.of(packet.kind).ok()?;
        let (sealed, place) = arrived(transform, streams, packet.kind, packet.packet).ok()?;
        let parts = packet.packet.split_at_mut_checked(sealed.length)?;
        let (task, rest) = ready(transform, sealed.layout, place.index, parts)?;
        Some((task, (rest, streams, place)))
    }

    /// `parts` are the packet proper and what follows it.
    #[inline]
    fn ready<'a>(
        transform: &'a Transform,
        layout: Layout,
        index: u64,
        parts: (&'a mut [u8], &'a mut [u8]),
    ) -> Option<(Task<'a>, Rest<'a>)> {
        let (keys, tag_len) = transform.stitched()?;
        let (packet, added) = parts;
        let word = transform.word(index);
        let rest = Rest {
            transform,
            length: packet.len(),
            added,
            word,
            tag_len,
        };
        let task = Task {
            keys,
            packet,
            clear: layout.clear,
            iv: transform.iv(layout.ssrc, index),
            trailer: word,
        };
        Some((task, rest))
    }
}
