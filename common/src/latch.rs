//! Symmetric media: who may send on a flow (RFC 4961), and how a caller behind NAT is found.
//!
//! A packet from the signalled source is let in at once. From anywhere else it depends on the trunk's [`LatchMode`]: not
//! at all; if it is the second in sequence of one SSRC from one address; or at once. Whoever is let in first owns the
//! flow: from then on everything else is dropped, so that media can neither be injected nor lured away. Only signalling
//! opens the latch again.

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use crate::address::TransportAddress;
use crate::flow::clear;
use crate::rtp::RtpHeader;

/// Who may own a flow beside the source that was signalled.
#[repr(u8)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LatchMode {
    /// Nobody.
    Strict = 0,
    /// Whoever shows two packets in sequence: callers behind NAT.
    #[default]
    Nat = 1,
    /// Whoever comes first.
    Open = 2,
}

/// What a flow has learned about its source. All zero before the first packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Latch {
    /// The address that is on probation, if the flow has no owner.
    candidate: TransportAddress,
    /// SSRC of its packets.
    candidate_ssrc: u32,
    /// Sequence number of its next packet.
    candidate_next: u16,
    /// No padding in a map value.
    reserved: u16,
    /// The address that owns the flow. Last, beside what every packet touches ([`crate::flow::FlowState`]).
    source: TransportAddress,
}

/// What the latch says to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It comes from the owner.
    Owner,
    /// It makes its source the owner.
    NewOwner,
    /// The flow has no owner yet, and one packet is not enough to become it.
    Probation,
    /// The flow belongs to somebody else.
    Stranger,
}

impl Latch {
    /// Where the owner's address stands.
    pub(crate) const SOURCE: usize = offset_of!(Self, source);

    /// The address that owns the flow, if one does.
    #[inline(always)]
    pub const fn source(&self) -> TransportAddress {
        self.source
    }

    /// Judges a valid RTP packet. `signalled` is where the other side said it would send from.
    #[inline(always)]
    pub fn on_rtp(
        &mut self,
        mode: LatchMode,
        signalled: TransportAddress,
        from: TransportAddress,
        header: &RtpHeader,
    ) -> Admission {
        if let Some(admission) = self.known(mode, signalled, from) {
            return admission;
        }
        match mode {
            LatchMode::Strict => return Admission::Stranger,
            LatchMode::Open => return self.belongs_to(from),
            LatchMode::Nat => {}
        }
        let in_sequence =
            self.candidate.is(from) && self.candidate_ssrc == header.ssrc() && self.candidate_next == header.sequence();
        if in_sequence {
            return self.belongs_to(from);
        }
        self.candidate = from;
        self.candidate_ssrc = header.ssrc();
        self.candidate_next = header.sequence().wrapping_add(1);
        Admission::Probation
    }

    /// Judges a valid RTCP packet. It has no sequence number and comes every few seconds, so there is no probation: it is
    /// let in from the host that signalling named or that owns the RTP beside it (`rtp_owner`), on whatever port. Anybody
    /// else would be sent the other side's reports, in an open flow, too. A strict one takes it from where it was
    /// signalled only.
    #[inline(always)]
    pub fn on_rtcp(
        &mut self,
        mode: LatchMode,
        signalled: TransportAddress,
        rtp_owner: TransportAddress,
        from: TransportAddress,
    ) -> Admission {
        match self.known(mode, signalled, from) {
            Some(admission) => admission,
            None if matches!(mode, LatchMode::Strict) => Admission::Stranger,
            None if from.same_host(signalled) || from.same_host(rtp_owner) => self.belongs_to(from),
            None => Admission::Probation,
        }
    }

    /// The answer if it needs no probation.
    #[inline(always)]
    fn known(&mut self, mode: LatchMode, signalled: TransportAddress, from: TransportAddress) -> Option<Admission> {
        if self.source.is(from) {
            return Some(Admission::Owner);
        }
        if from.is(signalled) && (self.source.is_none() || matches!(mode, LatchMode::Nat)) {
            return Some(self.belongs_to(from));
        }
        if !self.source.is_none() {
            return Some(Admission::Stranger);
        }
        None
    }

    #[inline(always)]
    fn belongs_to(&mut self, source: TransportAddress) -> Admission {
        clear(self);
        self.source.publish(source);
        Admission::NewOwner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> TransportAddress {
        TransportAddress::new(text.parse().unwrap())
    }

    fn header(sequence: u16, ssrc: u8) -> RtpHeader {
        let [high, low] = sequence.to_be_bytes();
        RtpHeader::parse(&[0x80, 0, high, low, 0, 0, 0, 0, 0, 0, 0, ssrc]).unwrap()
    }

    #[test]
    fn the_signalled_source_is_let_in_at_once_and_keeps_others_out() {
        let (signalled, other) = (address("192.0.2.1:4000"), address("198.51.100.1:4000"));
        let mut latch = Latch::default();
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, signalled, &header(1, 1)),
            Admission::NewOwner
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, signalled, &header(2, 1)),
            Admission::Owner
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, other, &header(3, 1)),
            Admission::Stranger
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, other, &header(4, 1)),
            Admission::Stranger
        );
        assert_eq!(latch.source(), signalled);
    }

    #[test]
    fn a_caller_behind_nat_is_let_in_with_its_second_packet_in_sequence() {
        let (signalled, nat) = (address("10.0.0.5:4000"), address("198.51.100.1:61000"));
        let mut latch = Latch::default();
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, nat, &header(65_535, 1)),
            Admission::Probation
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, nat, &header(0, 1)),
            Admission::NewOwner
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, nat, &header(1, 1)),
            Admission::Owner
        );
        let stranger = address("198.51.100.1:61002");
        for sequence in 1..5 {
            let admission = latch.on_rtp(LatchMode::Nat, signalled, stranger, &header(sequence, 2));
            assert_eq!(admission, Admission::Stranger);
        }
    }

    #[test]
    fn the_signalled_source_takes_back_what_was_guessed() {
        let (signalled, intruder) = (address("192.0.2.1:4000"), address("203.0.113.66:4000"));
        let mut latch = Latch::default();
        for (sequence, admission) in [
            (1, Admission::Probation),
            (2, Admission::NewOwner),
            (3, Admission::Owner),
        ] {
            assert_eq!(
                latch.on_rtp(LatchMode::Nat, signalled, intruder, &header(sequence, 9)),
                admission
            );
        }
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, signalled, &header(1, 1)),
            Admission::NewOwner
        );
        for sequence in 4..8 {
            let admission = latch.on_rtp(LatchMode::Nat, signalled, intruder, &header(sequence, 9));
            assert_eq!(admission, Admission::Stranger);
        }
        assert_eq!(latch.source(), signalled);
    }

    #[test]
    fn probation_wants_one_source_one_ssrc_and_sequence() {
        let (signalled, a, b) = (
            address("10.0.0.5:4000"),
            address("198.51.100.1:6"),
            address("198.51.100.1:7"),
        );
        let mut latch = Latch::default();
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, a, &header(1, 1)),
            Admission::Probation
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, b, &header(2, 1)),
            Admission::Probation
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, a, &header(2, 1)),
            Admission::Probation
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, a, &header(3, 2)),
            Admission::Probation
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, a, &header(5, 2)),
            Admission::Probation
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, signalled, signalled, &header(9, 9)),
            Admission::NewOwner
        );
    }

    #[test]
    fn nobody_signalled_means_probation_for_all() {
        let mut latch = Latch::default();
        let a = address("198.51.100.1:6");
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, TransportAddress::NONE, a, &header(1, 1)),
            Admission::Probation
        );
        assert_eq!(
            latch.on_rtp(LatchMode::Nat, TransportAddress::NONE, a, &header(2, 1)),
            Admission::NewOwner
        );
    }

    #[test]
    fn rtcp_is_let_in_from_the_host_of_the_media_only() {
        let (signalled, nat) = (address("10.0.0.5:4001"), address("198.51.100.1:61001"));
        let (rtp_owner, stranger) = (address("198.51.100.1:61000"), address("203.0.113.66:4001"));
        let mut latch = Latch::default();
        for rtp_owner in [TransportAddress::NONE, rtp_owner] {
            assert_eq!(
                latch.on_rtcp(LatchMode::Nat, signalled, rtp_owner, stranger),
                Admission::Probation
            );
        }
        assert_eq!(
            latch.on_rtcp(LatchMode::Nat, signalled, TransportAddress::NONE, nat),
            Admission::Probation
        );
        assert_eq!(
            latch.on_rtcp(LatchMode::Nat, signalled, rtp_owner, nat),
            Admission::NewOwner
        );
        assert_eq!(
            latch.on_rtcp(LatchMode::Nat, signalled, rtp_owner, nat),
            Admission::Owner
        );
        assert_eq!(
            latch.on_rtcp(LatchMode::Nat, signalled, rtp_owner, signalled),
            Admission::NewOwner
        );

        let mut latch = Latch::default();
        let other_port = address("10.0.0.5:4777");
        assert_eq!(
            latch.on_rtcp(LatchMode::Nat, signalled, TransportAddress::NONE, other_port),
            Admission::NewOwner
        );
    }

    #[test]
    fn a_strict_flow_waits_for_the_signalled_source() {
        let (signalled, other) = (address("192.0.2.1:4000"), address("192.0.2.1:4002"));
        let mut latch = Latch::default();
        let mode = LatchMode::Strict;
        for sequence in 1..5 {
            let admission = latch.on_rtp(mode, signalled, other, &header(sequence, 1));
            assert_eq!(admission, Admission::Stranger);
        }
        assert_eq!(latch.on_rtcp(mode, signalled, signalled, other), Admission::Stranger);
        let admission = latch.on_rtp(mode, signalled, signalled, &header(9, 1));
        assert_eq!(admission, Admission::NewOwner);
    }

    #[test]
    fn an_open_flow_takes_whoever_comes_first_and_nobody_after() {
        let (signalled, other) = (address("192.0.2.1:4000"), address("203.0.113.1:4002"));
        let mut latch = Latch::default();
        let mode = LatchMode::Open;
        assert_eq!(latch.on_rtp(mode, signalled, other, &header(1, 1)), Admission::NewOwner);
        assert_eq!(
            latch.on_rtp(mode, signalled, signalled, &header(1, 1)),
            Admission::Stranger
        );
        let mut reports = Latch::default();
        let stranger = address("203.0.113.66:9");
        assert_eq!(reports.on_rtcp(mode, signalled, other, stranger), Admission::Probation);
    }
}
