//! What the XDP program tells userspace beside counting: a ring of events.
//!
//! The packets themselves have gone their way when an event is read; nothing on the packet path waits for userspace. An
//! event that finds the ring full is lost and counted.

use bytemuck::{Pod, Zeroable};

/// Most bytes of a packet that an event carries: a compound RTCP packet of a call is shorter.
pub const COPIED: usize = 256;

/// What happened.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A telephone-event packet (RFC 4733) was accepted.
    TelephoneEvent = 1,
    /// An RTCP packet was accepted.
    Rtcp = 2,
    /// A flow has a new owner: where it comes from has been found.
    Found = 3,
}

/// One event.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Event {
    /// When the packet arrived, ns on the monotonic clock.
    pub at_ns: u64,
    /// Table entry of its flow.
    pub index: u32,
    /// Generation of its flow.
    pub generation: u32,
    kind: u32,
    /// Bytes of the UDP payload that follow.
    length: u32,
    bytes: [u8; COPIED],
}

impl Event {
    /// The parts of an event, for the program to write where the ring has given it room.
    #[inline(always)]
    pub const fn header(kind: EventKind, index: u32, generation: u32, at_ns: u64, length: u32) -> EventHeader {
        EventHeader {
            at_ns,
            index,
            generation,
            kind: kind as u32,
            length,
        }
    }

    /// What happened; `None` for what this version does not know.
    pub const fn kind(&self) -> Option<EventKind> {
        match self.kind {
            1 => Some(EventKind::TelephoneEvent),
            2 => Some(EventKind::Rtcp),
            3 => Some(EventKind::Found),
            _ => None,
        }
    }

    /// The UDP payload, cut at [`COPIED`] bytes.
    pub fn payload(&self) -> &[u8] {
        let length = (self.length as usize).min(COPIED);
        &self.bytes[..length]
    }
}

/// An [`Event`] without the bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct EventHeader {
    at_ns: u64,
    index: u32,
    generation: u32,
    kind: u32,
    length: u32,
}

const _: () = assert!(size_of::<Event>() == size_of::<EventHeader>() + COPIED);

/// A frame of a flow that is mirrored, as it arrived, in the ring of mirrored frames.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct MirrorHeader {
    /// When it arrived, ns on the monotonic clock.
    pub at_ns: u64,
    /// Table entry of its flow.
    pub index: u32,
    /// Generation of its flow.
    pub generation: u32,
    /// Length of the frame, bytes.
    pub length: u32,
    /// Bytes of it that follow.
    pub copied: u32,
}

/// Most bytes of a frame that are mirrored. What is longer is cut.
pub const MIRRORED: usize = 1536;

/// Enough for a frame of 20 ms of G.711 over IPv6 with a tag; most mirrored frames take this room instead of the full.
pub const MIRRORED_SHORT: usize = 256;

/// A mirrored frame with room for this many bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Mirrored<const ROOM: usize> {
    /// What it is.
    pub header: MirrorHeader,
    /// The frame's beginning.
    pub bytes: [u8; ROOM],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let mut bytes = [0u8; size_of::<Event>()];
        let header = Event::header(EventKind::Rtcp, 7, 9, 11, 4);
        let length = size_of::<EventHeader>();
        bytes[..length].copy_from_slice(bytemuck::bytes_of(&header));
        bytes[length..length + 4].copy_from_slice(&[1, 2, 3, 4]);
        let event: Event = bytemuck::pod_read_unaligned(&bytes);
        assert_eq!(
            (event.kind(), event.index, event.generation),
            (Some(EventKind::Rtcp), 7, 9)
        );
        assert_eq!((event.at_ns, event.payload()), (11, &[1u8, 2, 3, 4][..]));
        let long = bytemuck::bytes_of(&Event::header(EventKind::Found, 0, 0, 0, 5000)).to_owned_array();
        bytes[..length].copy_from_slice(&long);
        let event: Event = bytemuck::pod_read_unaligned(&bytes);
        assert_eq!(event.payload().len(), COPIED);
    }

    trait ToArray {
        fn to_owned_array(&self) -> [u8; size_of::<EventHeader>()];
    }

    impl ToArray for [u8] {
        fn to_owned_array(&self) -> [u8; size_of::<EventHeader>()] {
            let mut array = [0; size_of::<EventHeader>()];
            array.copy_from_slice(self);
            array
        }
    }
}
