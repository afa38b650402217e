//! `voxlane flows`

use voxlane_dataplane::media_plane::FlowReport;

use super::status::xdp;
use super::table::{Table, numbers, words};
use crate::ops::report::{FlowRow, FlowsReport};
use crate::ops::words as say;

/// Every flow, and what the kernel lane runs on.
pub(super) fn text(report: &FlowsReport) -> String {
    let header = format!("XDP: {}\n", xdp(&report.status));
    if report.flows.is_empty() {
        return header + "no flows\n";
    }
    let mut table = Table::new([
        words("CALL"),
        words("LEG"),
        words("ARRIVES AT"),
        words("FORWARDED TO"),
        words("LANE"),
        words("WHY NOT THE KERNEL LANE"),
        numbers("PACKETS"),
        numbers("LOST"),
        numbers("JITTER MS"),
        numbers("MEAN"),
        numbers("MAX"),
        numbers("RTT MS"),
        numbers("MOS"),
        numbers("FAR MOS"),
        numbers("BUFFER MS"),
        numbers("KEYS"),
        words("DROPPED"),
    ]);
    for FlowRow { flow, call, leg } in &report.flows {
        let received = &flow.received;
        let tenths = |value: f64| format!("{value:.1}");
        table.row([
            call.clone().unwrap_or_default(),
            leg.map(|leg| leg.to_string()).unwrap_or_default(),
            flow.local.to_string(),
            flow.forwarded_to.map(|to| to.to_string()).unwrap_or_default(),
            lane(flow),
            flow.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            received.packets.to_string(),
            received.lost.to_string(),
            tenths(received.jitter_ms),
            tenths(received.mean_jitter_ms),
            tenths(received.max_jitter_ms),
            flow.rtt_ms.map(tenths).unwrap_or_default(),
            flow.quality.mos.map(tenths).unwrap_or_default(),
            flow.quality.far_mos.map(tenths).unwrap_or_default(),
            flow.quality
                .buffer
                .map(|buffer| tenths(buffer.delay_ms))
                .unwrap_or_default(),
            flow.digits.to_string(),
            dropped(flow),
        ]);
    }
    format!("{header}\n{table}")
}

/// The lane, and whether what leaves it is paced.
fn lane(flow: &FlowReport) -> String {
    let lane = say::lane(flow.lane);
    if flow.paced {
        format!("{lane}, paced")
    } else {
        lane.to_owned()
    }
}

/// Packets that went no further: by the reason, where that is known.
fn dropped(flow: &FlowReport) -> String {
    let reasons = flow.drops.iter().filter(|(_, packets)| *packets > 0);
    let reasons: Vec<String> = reasons.map(|(reason, packets)| format!("{reason} {packets}")).collect();
    match (reasons.as_slice(), flow.received.dropped) {
        ([], 0) => String::new(),
        ([], packets) => packets.to_string(),
        (reasons, _) => reasons.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use voxlane_dataplane::lane::{Lane, Reason};
    use voxlane_dataplane::media_plane::{
        AttachMode, BufferStats, EndpointId, InterfaceStatus, IoMode, IoStatus, PlaneStatus, Quality, StreamStats,
    };

    use super::*;
    use crate::call::Side;

    fn flow(port: u16, forwarded_to: Option<u16>, lane: Lane, reason: Option<Reason>) -> FlowReport {
        FlowReport {
            endpoint: EndpointId(1),
            local: SocketAddr::from(([203, 0, 113, 50], port)),
            forwarded_to: forwarded_to.map(|port| SocketAddr::from(([198, 51, 100, 7], port))),
            lane,
            reason,
            received: StreamStats {
                packets: 1500,
                lost: -2,
                jitter_ms: 0.25,
                mean_jitter_ms: 0.5,
                max_jitter_ms: 4.0,
                ..StreamStats::default()
            },
            sent_packets: 0,
            userspace_packets: 0,
            rtt_ms: forwarded_to.map(|_| 12.34),
            digits: 3,
            drops: forwarded_to
                .into_iter()
                .map(|_| ("wrong_source".to_owned(), 2))
                .collect(),
            paced: forwarded_to.is_some(),
            quality: Quality {
                mos: Some(4.41),
                far_mos: forwarded_to.map(|_| 3.96),
                far: None,
                buffer: (lane == Lane::Worker).then(|| BufferStats {
                    delay_ms: 17.0,
                    ..BufferStats::default()
                }),
            },
            srtp: None,
        }
    }

    #[test]
    fn one_screen() {
        let interface = |name: &str, mode, detail: Option<&str>| InterfaceStatus {
            name: name.into(),
            mode,
            detail: detail.map(str::to_owned),
        };
        let report = FlowsReport {
            status: PlaneStatus {
                interfaces: vec![
                    interface("eth0", AttachMode::Native, None),
                    interface("eth1", AttachMode::Generic, Some("native: the driver has no XDP")),
                ],
                unavailable: None,
                workers: vec![],
                ports_in_use: 2,
                ports_total: 5000,
                io: IoStatus {
                    mode: IoMode::Sockets,
                    reason: None,
                },
                kernel: None,
            },
            flows: vec![
                FlowRow {
                    flow: flow(10000, Some(4000), Lane::Kernel, None),
                    call: Some("c1".into()),
                    leg: Some(Side::A),
                },
                FlowRow {
                    flow: flow(10002, None, Lane::Worker, Some(Reason::Agent)),
                    call: None,
                    leg: None,
                },
            ],
        };
        assert_eq!(
            text(&report),
            "XDP: eth0 native; eth1 generic (native: the driver has no XDP)\n\
             \n\
             CALL  LEG  ARRIVES AT          FORWARDED TO       LANE           WHY NOT THE KERNEL LANE  PACKETS  LOST  \
             JITTER MS  MEAN  MAX  RTT MS  MOS  FAR MOS  BUFFER MS  KEYS  DROPPED\n\
             c1    a    203.0.113.50:10000  198.51.100.7:4000  kernel, paced  -                           1500    -2        \
             0.2   0.5  4.0    12.3  4.4      4.0          -     3  wrong_source 2\n\
             -     -    203.0.113.50:10002  -                  worker         an agent hears this leg     1500    -2        \
             0.2   0.5  4.0       -  4.4        -       17.0     3  -\n"
        );
    }

    #[test]
    fn nothing_to_show() {
        let status = PlaneStatus {
            interfaces: vec![],
            unavailable: Some(Reason::XdpOff),
            workers: vec![],
            ports_in_use: 0,
            ports_total: 0,
            io: IoStatus {
                mode: IoMode::Sockets,
                reason: None,
            },
            kernel: None,
        };
        let report = FlowsReport { status, flows: vec![] };
        assert_eq!(text(&report), "XDP: no kernel lane: media.xdp is \"off\"\nno flows\n");
    }
}
