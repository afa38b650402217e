//! Packets past the network stack: whole frames by AF_XDP sockets, to neighbours that are known.
//!
//! Which neighbour leads to a far end is the host's business, and changes: whoever follows its routes ([`Ask`]) is asked once
//! for each pair of addresses, and tells of every change. As long as nothing is known, packets take the network stack.

use std::collections::HashMap;

use crossbeam_channel::Sender;
use voxlane_common::frame::{ETHERNET, TAG, TYPE_VLAN};
use voxlane_common::next_hop::NextHop;
use voxlane_common::sockets::LONGEST_FRAME;

use super::Took;
use super::packet::{self, Envelope, HEADROOM};
use crate::worker::command::{Ask, Path};
use crate::xsk;

/// The types of packets, as they stand in a frame.
const IPV4_TYPE: [u8; 2] = [0x08, 0x00];
const IPV6_TYPE: [u8; 2] = [0x86, 0xdd];

/// The AF_XDP sockets of one worker, to send by.
pub(super) struct Express {
    worker: usize,
    senders: Vec<xsk::Sender>,
    routes: HashMap<Path, Route>,
    asks: Sender<Ask>,
}

/// The way to a far end.
#[derive(Default)]
struct Route {
    /// What is known of it.
    hop: NextHop,
    /// Something was sent since this was asked last.
    used: bool,
}

impl Express {
    pub(super) fn new(worker: usize, senders: Vec<xsk::Sender>, asks: Sender<Ask>) -> Self {
        Self {
            worker,
            senders,
            routes: HashMap::new(),
            asks,
        }
    }

    /// Takes a packet to be sent with the next [`Self::flush`], or sooner.
    pub(super) fn push(&mut self, envelope: &Envelope, payload: &[u8]) -> Took {
        let path = (envelope.from.ip(), envelope.to.ip());
        let route = self.routes.entry(path).or_insert_with(|| {
            let worker = self.worker;
            // Without anybody who knows, the network stack does.
            let _ = self.asks.send(Ask::Follow { worker, path });
            Route::default()
        });
        route.used = true;
        let hop = route.hop;
        let length = HEADROOM + payload.len();
        if !hop.is_known() || length > LONGEST_FRAME {
            return Took::No;
        }
        let Some(sender) = self.senders.iter_mut().find(|sender| sender.ifindex() == hop.ifindex) else {
            return Took::No;
        };
        let sent = sender.send(|frame| {
            frame[HEADROOM..length].copy_from_slice(payload);
            let ip = packet::seal(frame, payload.len(), envelope)?;
            if length - ip > usize::from(hop.mtu) {
                return None;
            }
            address(frame, ip, &hop).map(|start| (start, length))
        });
        if sent { Took::Yes } else { Took::No }
    }

    /// What is known of the way to a far end now.
    pub(super) fn set_route(&mut self, path: Path, hop: NextHop) {
        // It may have been forgotten since it was asked for.
        if let Some(route) = self.routes.get_mut(&path) {
            route.hop = hop;
        }
    }

    /// Forgets ways that nothing was sent since this was called last.
    pub(super) fn forget_unused(&mut self) {
        let (worker, asks) = (self.worker, &self.asks);
        self.routes.retain(|path, route| {
            if !route.used {
                // Nobody is left who would know.
                let _ = asks.send(Ask::Forget { worker, path: *path });
            }
            std::mem::take(&mut route.used)
        });
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) {
        self.senders.iter_mut().for_each(xsk::Sender::flush);
    }
}

/// Writes the Ethernet header, and the tag if there is to be one, before the IP header at `ip`; where it begins.
fn address(frame: &mut [u8], ip: usize, hop: &NextHop) -> Option<usize> {
    let kind = if *frame.get(ip)? >> 4 == 4 {
        IPV4_TYPE
    } else {
        IPV6_TYPE
    };
    let tag = if hop.vlan.is_none() { 0 } else { TAG };
    let start = ip.checked_sub(ETHERNET + tag)?;
    let header = frame.get_mut(start..ip)?;
    let words = hop.addresses.words();
    let (addresses, rest) = header.split_at_mut_checked(size_of_val(&words))?;
    addresses.copy_from_slice(bytemuck::cast_slice(&words));
    match rest {
        [a, b] => [*a, *b] = kind,
        [a, b, c, d, e, f] => {
            [*a, *b] = TYPE_VLAN.to_ne_bytes();
            [*c, *d] = hop.vlan.bytes();
            [*e, *f] = kind;
        }
        _ => return None,
    }
    Some(start)
}

#[cfg(test)]
mod tests {
    use voxlane_common::frame;
    use voxlane_common::next_hop::{HardwareAddresses, VlanTag};

    use super::*;

    #[test]
    fn a_frame_leads_to_the_neighbour_with_its_tag_or_without() {
        for (from, to, vlan) in [
            ("192.0.2.1:10000", "198.51.100.7:4000", 0),
            ("[2001:db8::1]:10000", "[2001:db8:5::7]:4000", 0),
            ("192.0.2.1:10000", "198.51.100.7:4000", 77),
            ("[2001:db8::1]:10000", "[2001:db8:5::7]:4000", 77),
        ] {
            let envelope = Envelope {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                tos: 0xb8,
                departs: None,
            };
            let hop = NextHop {
                ifindex: 3,
                mtu: 1500,
                vlan: VlanTag::of(vlan),
                addresses: HardwareAddresses::new([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]),
            };
            let mut bytes = vec![0xee; HEADROOM];
            bytes.extend([42; 172]);
            let ip = packet::seal(&mut bytes, 172, &envelope).unwrap();
            let start = address(&mut bytes, ip, &hop).unwrap();
            let sent = &bytes[start..];
            assert_eq!(sent[..12], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
            let found = frame::datagram(sent).unwrap();
            assert_eq!(found.ip_offset, if vlan == 0 { 14 } else { 18 });
            assert_eq!(
                (found.source.get(), found.local.get()),
                (Some(envelope.from), Some(envelope.to))
            );
            assert_eq!(sent[found.payload_offset..], [42; 172]);
            if vlan != 0 {
                assert_eq!(sent[12..16], [0x81, 0, 0, 77]);
            }
        }
    }
}
