//! Where a packet goes next on the wire.
//!
//! Flows do not hold hardware addresses; they name an entry of a table of next hops. Ten thousand calls to one carrier
//! share the entry of its router, so that a router that fails over is one write.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};

/// Names an entry of the table. All zero: not known, look it up.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct NextHopId(pub u32);

impl NextHopId {
    /// Not known.
    pub const UNKNOWN: Self = Self(0);
}

/// Entries of the table, the first of which is never used: how many neighbours (routers, and far ends on the same link)
/// are known without a look-up.
pub const MAX_NEXT_HOPS: u32 = 4096;

/// An 802.1Q tag as it stands in a frame, or none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct VlanTag(u16);

impl VlanTag {
    /// Untagged.
    pub const NONE: Self = Self(0);

    /// A tag with this VLAN identifier (1-4094) and priority 0; [`Self::NONE`] for identifiers there are not.
    pub const fn of(identifier: u16) -> Self {
        if identifier == 0 || identifier > 4094 {
            return Self::NONE;
        }
        Self(u16::from_ne_bytes(identifier.to_be_bytes()))
    }

    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The tag control information as it stands in a frame.
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 2] {
        self.0.to_ne_bytes()
    }
}

/// A neighbour and the way to it. All zero: not known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct NextHop {
    /// Interface that the frame leaves by, one the XDP program is attached to; 0: not known.
    pub ifindex: u32,
    /// Largest IP packet it takes, bytes.
    pub mtu: u16,
    /// The tag the frame is given.
    pub vlan: VlanTag,
    /// The neighbour's hardware address and ours.
    pub addresses: HardwareAddresses,
}

/// What an Ethernet frame begins with: the receiver's hardware address and the sender's, as words of memory.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct HardwareAddresses([u32; 3]);

impl HardwareAddresses {
    /// From the two addresses.
    pub const fn new(destination: [u8; 6], source: [u8; 6]) -> Self {
        let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (destination, source);
        Self([
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
        ])
    }

    /// As words of memory. Read one by one: as a whole they would be copied byte by byte in an eBPF program.
    #[inline(always)]
    pub const fn words(&self) -> [u32; 3] {
        let [first, second, third] = &self.0;
        [*first, *second, *third]
    }

    /// From the two addresses, each as words of memory.
    #[inline(always)]
    pub const fn of_words(destination: [u16; 3], source: [u16; 3]) -> Self {
        const fn join(first: u16, second: u16) -> u32 {
            let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
            u32::from_ne_bytes([a, b, c, d])
        }
        Self([
            join(destination[0], destination[1]),
            join(destination[2], source[0]),
            join(source[1], source[2]),
        ])
    }
}

impl NextHop {
    /// Whether the neighbour's hardware address is known.
    #[inline(always)]
    pub const fn is_known(&self) -> bool {
        self.ifindex != 0
    }

    /// The same, marked as not known: written first when another is to take its place, so that no frame is sent to a
    /// mixture of both.
    pub const fn forgotten(self) -> Self {
        Self { ifindex: 0, ..self }
    }
}

/// What stands on the wire for an interface that a route names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Device {
    /// The interface itself; of a VLAN the one below it.
    pub ifindex: u32,
    /// The VLAN's tag.
    pub vlan: VlanTag,
    /// No padding in a map value.
    pub reserved: u16,
}

// SAFETY: repr(C) of plain integers, without padding (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for Device {}

// SAFETY: repr(C) of plain integers and bytes, without padding (bytemuck::Pod is derived above).
#[cfg(feature = "user")]
unsafe impl aya::Pod for NextHop {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_802_1q() {
        assert_eq!(VlanTag::of(100).bytes(), [0, 100]);
        assert_eq!(VlanTag::of(0x123).bytes(), [1, 0x23]);
        assert!(VlanTag::of(0).is_none() && VlanTag::of(4095).is_none() && !VlanTag::of(1).is_none());
    }

    #[test]
    fn addresses_stand_as_in_a_frame() {
        let addresses = HardwareAddresses::new([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]);
        assert_eq!(bytemuck::bytes_of(&addresses), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let words = |bytes: [u8; 6]| bytemuck::cast::<_, [u16; 3]>(bytes);
        let same = HardwareAddresses::of_words(words([1, 2, 3, 4, 5, 6]), words([7, 8, 9, 10, 11, 12]));
        assert_eq!(same, addresses);
    }

    #[test]
    fn what_is_forgotten_is_not_known() {
        let hop = NextHop {
            ifindex: 3,
            ..NextHop::default()
        };
        assert!(hop.is_known() && !hop.forgotten().is_known() && !NextHop::default().is_known());
    }
}
