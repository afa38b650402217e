//! The admin server as its clients see it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use http_body_util::BodyExt;
use rustls::ClientConfig;
use voxlane::call::Side;
use voxlane::call::transfer::{Asker, Way};
use voxlane::campaign::{
    CallRequest, CallResult, CampaignReport, CampaignRequest, Change, PlaceError, Requester, Updated,
};
use voxlane::ops::dials::Dials;
use voxlane::ops::report::{
    AgentCounts, AgentMessages, ApplicationCounts, CallCounts, CallReport, CallsReport, FlowRow, FlowsReport,
    GatewayRow, GatewayState, LaneReport, LegRow, OverloadReport, QualityCounts, ReferCounts, RegistrationRow,
    StatusReport, TapCounts, TapOrder, TapReport, TransferCounts, TransferOrder, TransferReport, TransferRow, TrunkRow,
};
use voxlane::ops::server::AdminServer;
use voxlane::ops::{Inspect, Operate, OperateError, client, pcap, socket};
use voxlane::rest::server::ApiCounts;
use voxlane::sip::transport::ConnectionCounts;
use voxlane::sip::{AuthFailures, Counters};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::lane::{Lane, Reason};
use voxlane_dataplane::media_plane::{
    AttachMode, BufferStats, EndpointId, FlowReport, InterfaceStatus, IoMode, IoStatus, KernelStatus, MirroredFrame,
    PlaneStatus, Quality, StreamStats, WorkerHealth, WorkerStatus,
};

/// A gateway with one call to an agent.
struct Gateway;

fn plane() -> PlaneStatus {
    let interface = |name: &str, mode, detail: Option<&str>| InterfaceStatus {
        name: name.into(),
        mode,
        detail: detail.map(str::to_owned),
    };
    PlaneStatus {
        interfaces: vec![
            interface("eth0", AttachMode::Native, None),
            interface("eth1", AttachMode::Generic, Some("the driver has no XDP")),
        ],
        unavailable: None,
        workers: vec![WorkerStatus {
            core: Some(1),
            health: WorkerHealth::Stalled,
            residents: 3,
            load: 0.25,
            late_ms: 1.5,
            given_up: 2,
            express_lost: 6,
            commands: 4,
        }],
        ports_in_use: 1,
        ports_total: 5000,
        io: IoStatus {
            mode: IoMode::Sockets,
            reason: Some("it is set so".into()),
        },
        kernel: Some(KernelStatus {
            outcomes: vec![("forwarded".into(), 1000), ("unallocated".into(), 3)],
            durations: vec![(100, 600), (200, 395), (u64::MAX, 5)],
            events_lost: 1,
            mirrored_lost: 2,
            adopted: true,
            orphans: 4,
            pacing: vec![("eth0".into(), true), ("eth1".into(), false)],
        }),
    }
}

impl Inspect for Gateway {
    fn status(&self) -> StatusReport {
        StatusReport {
            name: "pop1".into(),
            version: "0.1.0".into(),
            uptime_s: 61,
            plane: plane(),
            sip: Counters {
                requests: 3,
                dialogs: 1,
                ..Counters::default()
            },
            listen: vec!["udp:192.0.2.1:5060".into(), "tls:192.0.2.1:5061".into()],
            connections: ConnectionCounts {
                open: vec![("tcp".into(), 0), ("tls".into(), 2)],
                accepted: 5,
                opened: 1,
                refused: vec![("source_limit".into(), 3)],
                closed: vec![("not_read".into(), 1)],
            },
            auth_failures: vec![AuthFailures {
                whose: "theirs".into(),
                trunk: "t".into(),
                reason: "wrong_password".into(),
                count: 8,
            }],
            trunks: vec![TrunkRow {
                name: "t".into(),
                gateways: vec![
                    GatewayRow {
                        gateway: "sbc1.carrier.example".into(),
                        target: Some("udp:192.0.2.7:5060".into()),
                        state: GatewayState::Up,
                        last: Some("200 OK".into()),
                    },
                    GatewayRow {
                        gateway: "sbc1.carrier.example".into(),
                        target: Some("udp:192.0.2.8:5060".into()),
                        state: GatewayState::Down,
                        last: Some("no answer to OPTIONS".into()),
                    },
                    GatewayRow {
                        gateway: "sbc2.carrier.example".into(),
                        target: None,
                        state: GatewayState::Unknown,
                        last: None,
                    },
                ],
                registration: Some(RegistrationRow {
                    registered: true,
                    expires_in_s: Some(42),
                    last: Some("200 OK".into()),
                }),
            }],
            calls: CallCounts {
                active: 1,
                total: 7,
                answered: 5,
                failed: 1,
            },
            agents: AgentCounts {
                active: 1,
                failed: 2,
                failures: vec![("refused".into(), 2), ("silent".into(), 0)],
                fallbacks: 1,
                messages: vec![AgentMessages {
                    agent: "bot".into(),
                    protocol: "telnyx".into(),
                    malformed: 41,
                    oversized: 42,
                }],
            },
            taps: TapCounts {
                active: 1,
                begun: 3,
                failed: 2,
            },
            applications: ApplicationCounts {
                documents: 31,
                problems: 32,
                callbacks: 33,
                callbacks_failed: 34,
            },
            refers: ReferCounts {
                received: 4,
                refused: 2,
            },
            api: ApiCounts {
                requests: 7,
                unauthorized: 2,
                refused: 1,
            },
            transfers: TransferCounts {
                referred: 1,
                replaced: 5,
                asked: 3,
                completed: 2,
                failed: 1,
            },
            overload: OverloadReport {
                refusing: Some("calls".into()),
                cpu: Some(0.254),
                host_cpu: None,
                delay_ms: 7,
                refused: vec![("calls".into(), 12)],
            },
            waiting: 3,
            quality: QualityCounts {
                media_timeouts: 5,
                crossings: vec![("loss".into(), 6)],
            },
            tasks: 9,
        }
    }

    fn calls(&self) -> CallsReport {
        let started = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_795_417_509_042);
        let leg = LegRow {
            side: Side::A,
            call_id: "x@y".into(),
            local: "203.0.113.50:10000".parse().ok(),
            remote: None,
            codec: Some(Codec::Pcmu),
            lane: Some(Lane::Worker),
            reason: Some(Reason::Agent),
            digits: "12".into(),
            mos: Some(4.4),
            far_mos: None,
            session_timer: None,
            left: false,
            limits_crossed: Vec::new(),
        };
        let call = CallReport {
            id: "c1".into(),
            state: "ringing".into(),
            from: "+15550100".into(),
            to: "+15550001".into(),
            did: None,
            tenant: Some("demo".into()),
            trunk: Some("lab".into()),
            agent: Some("echo".into()),
            started: started.into(),
            answered: None,
            ended: None,
            cause: None,
            legs: vec![leg],
            attempts: vec![],
            agent_failures: vec![],
            transfers: vec![transferred().transfer],
            digits: "12".into(),
            problems: vec![],
        };
        CallsReport {
            active: vec![call],
            recent: vec![],
        }
    }

    fn flows(&self) -> FlowsReport {
        let flow = FlowReport {
            endpoint: EndpointId(1),
            local: SocketAddr::from(([203, 0, 113, 50], 10000)),
            forwarded_to: None,
            lane: Lane::Worker,
            reason: Some(Reason::Agent),
            received: StreamStats {
                packets: 50,
                ..StreamStats::default()
            },
            sent_packets: 49,
            userspace_packets: 50,
            rtt_ms: Some(12.5),
            digits: 2,
            drops: vec![("stranger".into(), 3)],
            paced: false,
            quality: Quality {
                mos: Some(4.25),
                buffer: Some(BufferStats {
                    delay_ms: 30.0,
                    late: 7,
                    ..BufferStats::default()
                }),
                ..Quality::default()
            },
            srtp: None,
        };
        FlowsReport {
            status: plane(),
            flows: vec![FlowRow {
                flow,
                call: Some("c1".into()),
                leg: Some(Side::A),
            }],
        }
    }
}

impl Dials for Gateway {
    fn place(&self, request: CallRequest) -> Result<CallResult, PlaceError> {
        match request.placing.trunk.as_str() {
            "full" => Err(PlaceError::Full { waiting: 1, most: 1 }),
            trunk => Err(PlaceError::Request(format!("there is no trunk {trunk:?}"))),
        }
    }

    fn placed(&self, call: &str) -> Result<CallResult, PlaceError> {
        Err(PlaceError::Unknown("call", call.to_owned()))
    }

    fn change(&self, call: &str, change: Change, by: Requester) -> Result<Updated, PlaceError> {
        assert_eq!(by, Requester::Operator);
        match change {
            Change::HangUp | Change::TakeBack => Ok(Updated { call: call.to_owned() }),
            Change::Document(_) => Err(PlaceError::NotAlive(call.to_owned())),
        }
    }

    fn cancel(&self, call: &str) -> Result<CallResult, PlaceError> {
        self.placed(call)
    }

    fn start_campaign(&self, request: CampaignRequest) -> Result<CampaignReport, PlaceError> {
        self.campaign(request.numbers.len() as u64)
    }

    fn campaigns(&self) -> Vec<CampaignReport> {
        Vec::new()
    }

    fn campaign(&self, campaign: u64) -> Result<CampaignReport, PlaceError> {
        Err(PlaceError::Unknown("campaign", campaign.to_string()))
    }

    fn campaign_results(&self, campaign: u64) -> Result<Vec<CallResult>, PlaceError> {
        self.campaign(campaign).map(|_| Vec::new())
    }

    fn stop_campaign(&self, campaign: u64) -> Result<CampaignReport, PlaceError> {
        self.campaign(campaign)
    }
}

impl Operate for Gateway {
    fn dials(&self) -> &dyn Dials {
        self
    }

    fn prefer(&self, call: &str, lane: Lane) -> Result<LaneReport, OperateError> {
        match call {
            "c1" => Ok(LaneReport {
                call: "c1".into(),
                lane,
                reason: (lane == Lane::Worker).then_some(Reason::Requested),
            }),
            _ => Err(OperateError::NoCall(call.into())),
        }
    }

    fn transfer(&self, call: &str, order: &TransferOrder) -> Result<TransferReport, OperateError> {
        match (call, order.to.as_str()) {
            ("c1", "+15550200") => Ok(transferred()),
            ("c1", _) => Err(OperateError::NotTransferred(call.into(), "not a number".into())),
            _ => Err(OperateError::NoCall(call.into())),
        }
    }

    fn cancel_transfer(&self, call: &str) -> Result<TransferReport, OperateError> {
        self.transfer_of(call)
    }

    fn transfer_of(&self, call: &str) -> Result<TransferReport, OperateError> {
        match call {
            "c1" => Ok(transferred()),
            _ => Err(OperateError::NoCall(call.into())),
        }
    }

    fn tap(
        &self,
        call: &str,
        order: &TapOrder,
        addresses: Vec<SocketAddr>,
        _: Option<Arc<ClientConfig>>,
    ) -> Result<TapReport, OperateError> {
        match call {
            "c1" => Ok(TapReport {
                call: format!("{call} {} {addresses:?}", order.url),
                stream: Some("MZ1".into()),
                ended: 0,
            }),
            _ => Err(OperateError::NoCall(call.into())),
        }
    }

    fn end_taps(&self, call: &str) -> Result<TapReport, OperateError> {
        Ok(TapReport {
            call: call.into(),
            stream: None,
            ended: 1,
        })
    }

    /// One frame, after which the channel is closed; that of `e0` stays open, but nothing more ever arrives.
    fn mirror(&self, call: &str) -> Result<Receiver<MirroredFrame>, OperateError> {
        let (sender, mirrored) = crossbeam_channel::bounded(1);
        sender.try_send(frame()).expect("there is room");
        match call {
            "c1" => Ok(mirrored),
            "e0" => {
                std::mem::forget(sender);
                Ok(mirrored)
            }
            _ => Err(OperateError::NoMedia(call.into())),
        }
    }
}

fn transferred() -> TransferReport {
    TransferReport {
        call: "c1".into(),
        transfer: TransferRow {
            to: "+15550200".into(),
            by: Way::Bridge,
            asked_by: Asker::Operator,
            state: "ringing".into(),
            status: None,
            reason: None,
        },
    }
}

fn frame() -> MirroredFrame {
    MirroredFrame {
        at: std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_795_417_509_042),
        length: 214,
        bytes: vec![7; 60],
    }
}

fn capture_of_one_frame() -> Vec<u8> {
    let mut file = pcap::header().to_vec();
    let MirroredFrame { at, length, bytes } = frame();
    pcap::append(&mut file, at, length, &bytes);
    file
}

async fn start(directory: &Path) -> AdminServer {
    AdminServer::start(Arc::new(Gateway), directory, None)
        .await
        .expect("the admin server starts")
}

#[tokio::test]
async fn a_call_is_transferred_and_why_another_is_not_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let (there, route) = (directory.path(), "/v1/calls/c1/transfer");
    let order = |to: &str| TransferOrder {
        to: to.into(),
        ..TransferOrder::default()
    };
    let answer = client::post_bytes(there, route, &order("+15550200")).await.unwrap();
    let wanted = serde_json::json!({
        "call": "c1", "to": "+15550200", "by": "bridge", "asked_by": "operator", "state": "ringing",
        "status": null, "reason": null,
    });
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&answer).unwrap(), wanted);
    assert_eq!(client::get::<serde_json::Value>(there, route).await.unwrap(), wanted);
    assert_eq!(client::delete_bytes(there, route).await.unwrap(), answer);
    let refused = client::post_bytes(there, route, &order("x"))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("409") && refused.contains("not a number"), "{refused}");
    let unknown = serde_json::json!({"to": "+15550200", "number": "1"});
    let refused = client::post_bytes(there, route, &unknown)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("422") && refused.contains("unknown field"),
        "{refused}"
    );
    server.stop().await;
}

#[tokio::test]
async fn reports_arrive_as_they_were_made() {
    let directory = tempfile::tempdir().unwrap();
    let _server = start(directory.path()).await;
    assert_eq!(
        client::get::<StatusReport>(directory.path(), "/v1/status")
            .await
            .unwrap(),
        Gateway.status()
    );
    assert_eq!(
        client::get::<CallsReport>(directory.path(), "/v1/calls").await.unwrap(),
        Gateway.calls()
    );
    assert_eq!(
        client::get::<FlowsReport>(directory.path(), "/v1/flows").await.unwrap(),
        Gateway.flows()
    );
}

#[tokio::test]
async fn the_json_has_the_shape_that_is_promised() {
    let directory = tempfile::tempdir().unwrap();
    let _server = start(directory.path()).await;
    let call: serde_json::Value = client::get(directory.path(), "/v1/calls").await.unwrap();
    assert_eq!(
        call["active"][0],
        serde_json::json!({
            "id": "c1", "state": "ringing", "from": "+15550100", "to": "+15550001", "did": null, "tenant": "demo",
            "trunk": "lab", "agent": "echo", "agent_failures": [], "started": "2026-11-23T07:05:09.042Z", "answered": null, "ended": null,
            "cause": null, "digits": "12",
            "attempts": [],
            "problems": [],
            "legs": [{
                "side": "a", "call_id": "x@y", "local": "203.0.113.50:10000", "remote": null, "codec": "PCMU",
                "lane": "worker", "reason": "agent", "digits": "12",
                "mos": 4.4, "far_mos": null, "limits_crossed": [], "session_timer": null, "left": false
            }],
            "transfers": [{
                "to": "+15550200", "by": "bridge", "asked_by": "operator", "state": "ringing", "status": null,
                "reason": null,
            }],
        })
    );
    let flows: serde_json::Value = client::get(directory.path(), "/v1/flows").await.unwrap();
    assert_eq!(flows["flows"][0]["call"], "c1");
    assert_eq!(flows["flows"][0]["received"]["packets"], 50);
    assert_eq!(flows["flows"][0]["rtt_ms"], 12.5);
    assert_eq!(flows["flows"][0]["drops"], serde_json::json!([["stranger", 3]]));
    assert_eq!(flows["status"]["kernel"]["orphans"], 4);
    assert_eq!(flows["status"]["interfaces"][1]["mode"], "generic");
}

#[tokio::test]
async fn metrics_are_computed_from_the_reports() {
    let directory = tempfile::tempdir().unwrap();
    let _server = start(directory.path()).await;
    let text = client::get_bytes(directory.path(), "/metrics").await.unwrap();
    let text = std::str::from_utf8(&text).unwrap();
    for line in [
        "voxlane_build_info{name=\"pop1\",version=\"0.1.0\"} 1",
        "voxlane_uptime_seconds 61",
        "voxlane_calls_active 1",
        "voxlane_calls_total 7",
        "voxlane_calls_answered_total 5",
        "voxlane_transfers_total 3",
        "voxlane_transfers_referred_total 1",
        "voxlane_legs_replaced_total 5",
        "voxlane_refers_total 4",
        "voxlane_refers_refused_total 2",
        "voxlane_taps_active 1",
        "voxlane_taps_total 3",
        "voxlane_taps_failed_total 2",
        "voxlane_twiml_documents_total 31",
        "voxlane_twiml_problems_total 32",
        "voxlane_status_callbacks_total 33",
        "voxlane_status_callbacks_failed_total 34",
        "voxlane_transfers_completed_total 2",
        "voxlane_transfers_failed_total 1",
        "voxlane_calls_failed_total 1",
        "voxlane_agents_active 1",
        "voxlane_agents_failed_total 2",
        "voxlane_agent_failures_total{kind=\"refused\"} 2",
        "voxlane_agent_fallbacks_total 1",
        "voxlane_agent_malformed_messages_total{agent=\"bot\",protocol=\"telnyx\"} 41",
        "voxlane_agent_oversized_messages_total{agent=\"bot\",protocol=\"telnyx\"} 42",
        "voxlane_sip_requests_total 3",
        "voxlane_sip_dialogs 1",
        "voxlane_sip_connections{transport=\"tls\"} 2",
        "voxlane_sip_connections_refused_total{reason=\"source_limit\"} 3",
        "voxlane_sip_connections_closed_total{reason=\"not_read\"} 1",
        "voxlane_media_ports_in_use 1",
        "voxlane_media_ports 5000",
        "voxlane_flows{lane=\"kernel\"} 0",
        "voxlane_flows{lane=\"worker\"} 1",
        "voxlane_worker_lane_flows{reason=\"agent\"} 1",
        "voxlane_worker_lane_flows{reason=\"mixed_families\"} 0",
        "voxlane_xdp_attached{interface=\"eth0\",mode=\"native\"} 1",
        "voxlane_xdp_attached{interface=\"eth1\",mode=\"native\"} 0",
        "voxlane_xdp_attached{interface=\"eth1\",mode=\"generic\"} 1",
        "voxlane_flows_paced 0",
        "voxlane_worker_up{worker=\"0\"} 0.0",
        "voxlane_worker_calls{worker=\"0\"} 3.0",
        "voxlane_worker_load{worker=\"0\"} 0.25",
        "voxlane_worker_late_seconds{worker=\"0\"} 0.0015",
        "voxlane_worker_commands{worker=\"0\"} 4.0",
        "voxlane_worker_frames_given_up_total{worker=\"0\"} 2",
        "voxlane_sip_auth_failures_total{whose=\"theirs\",trunk=\"t\",reason=\"wrong_password\"} 8",
        "voxlane_trunk_gateway_up{trunk=\"t\",gateway=\"sbc1.carrier.example\",target=\"udp:192.0.2.7:5060\"} 1",
        "voxlane_trunk_gateway_up{trunk=\"t\",gateway=\"sbc1.carrier.example\",target=\"udp:192.0.2.8:5060\"} 0",
        "voxlane_trunk_registered{trunk=\"t\"} 1",
        "voxlane_calls_refused_total{reason=\"calls\"} 12",
        "voxlane_cpu_percent 25",
        "voxlane_media_timeouts_total 5",
        "voxlane_limit_crossings_total{limit=\"loss\"} 6",
        "voxlane_mos_mean{lane=\"worker\",way=\"received\"} 4.25",
        "voxlane_mos_lowest{lane=\"worker\",way=\"received\"} 4.25",
        "voxlane_jitter_buffer_late 7",
        "voxlane_jitter_buffer_longest_seconds 0.03",
        "voxlane_xdp_packets_total{outcome=\"forwarded\"} 1000",
        "voxlane_xdp_packets_total{outcome=\"unallocated\"} 3",
        "# TYPE voxlane_xdp_duration_seconds histogram",
        "voxlane_xdp_duration_seconds_count 1000",
        "voxlane_xdp_duration_seconds_bucket{le=\"1e-7\"} 600",
        "voxlane_xdp_duration_seconds_bucket{le=\"2e-7\"} 995",
        "voxlane_xdp_duration_seconds_bucket{le=\"+Inf\"} 1000",
        "voxlane_xdp_events_lost_total 1",
        "voxlane_xdp_mirrored_lost_total 2",
        "voxlane_xdp_adopted 1",
        "voxlane_xdp_orphan_legs 4",
        "voxlane_xdp_pacing{interface=\"eth0\"} 1",
        "voxlane_xdp_pacing{interface=\"eth1\"} 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn metrics_are_also_served_over_tcp_and_nothing_else_is() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let directory = tempfile::tempdir().unwrap();
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = AdminServer::start(Arc::new(Gateway), directory.path(), any)
        .await
        .unwrap();
    for (route, status) in [("/metrics", "HTTP/1.1 200 OK"), ("/v1/calls", "HTTP/1.1 404 Not Found")] {
        let mut stream = tokio::net::TcpStream::connect(server.metrics().unwrap()).await.unwrap();
        let request = format!("GET {route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(status), "{answer}");
    }
}

#[tokio::test]
async fn unknown_routes_name_the_known_ones() {
    let directory = tempfile::tempdir().unwrap();
    let _server = start(directory.path()).await;
    let error = client::get_bytes(directory.path(), "/v1/call")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("404 Not Found: there is /v1/status, /v1/calls, /v1/flows, /metrics, /v1/campaigns, /v1/calls/CALL, /v1/calls/CALL/lane, /v1/calls/CALL/transfer, /v1/calls/CALL/tap and /v1/calls/CALL/capture"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_call_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let _server = start(directory.path()).await;
    for (route, body, expected) in [
        (
            "/v1/calls",
            r#"{"to":"+1","trunk":"t","agent":"a"}"#,
            "there is no trunk \"t\"",
        ),
        ("/v1/calls", r#"{"to":"+1","agent":"a"}"#, "missing field `trunk`"),
        (
            "/v1/calls",
            r#"{"to":"+1","trunck":"t","agent":"a"}"#,
            "unknown key \"trunck\"; did you mean \"trunk\"?",
        ),
        (
            "/v1/calls",
            r#"{"to":"+1","trunk":"full","agent":"a"}"#,
            "1 calls wait already",
        ),
        ("/v1/calls", "[]", "the request cannot be read"),
        (
            "/v1/campaigns",
            r#"{"numbers":["+1",{"to":"+2"}],"trunk":"t","agent":"a"}"#,
            "no campaign that was placed is named \"2\"",
        ),
    ] {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let error = client::post_bytes(directory.path(), route, &body).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    let error = client::delete_bytes(directory.path(), "/v1/calls/5b")
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("no call that was placed is named \"5b\""),
        "{error}"
    );
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let runtime_dir = directory.path().join("new/run");
    let server = start(&runtime_dir).await;
    let path = socket::path(&runtime_dir);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&runtime_dir).unwrap().count(), 1);
    drop(server);
    assert!(!path.exists());
    let error = client::get_bytes(&runtime_dir, "/v1/status")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is \"voxlane serve\" running, with the same --runtime-dir?"),
        "{error}"
    );
}

#[tokio::test]
async fn a_second_gateway_is_refused_and_leaves_the_first_alone() {
    let directory = tempfile::tempdir().unwrap();
    let _server = start(directory.path()).await;
    let error = AdminServer::start(Arc::new(Gateway), directory.path(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("another voxlane is running with this runtime directory"),
        "{error}"
    );
    assert!(client::get_bytes(directory.path(), "/v1/status").await.is_ok());
}

#[tokio::test]
async fn the_socket_of_a_dead_process_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(socket::path(directory.path())).unwrap());
    // A child that another test has just forked has it until it is another program.
    while UnixStream::connect(socket::path(directory.path())).is_ok() {
        std::thread::yield_now();
    }
    let _server = start(directory.path()).await;
    assert!(client::get_bytes(directory.path(), "/v1/status").await.is_ok());
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(socket::path(directory.path()), "mine").unwrap();
    let error = AdminServer::start(Arc::new(Gateway), directory.path(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("is in the way and is not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(socket::path(directory.path())).unwrap(), "mine");
}

#[tokio::test]
async fn a_call_is_moved_to_another_lane() {
    let directory = tempfile::tempdir().unwrap();
    let _server = start(directory.path()).await;
    let answer = client::put_bytes(directory.path(), "/v1/calls/c1/lane", &Lane::Worker).await;
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&answer.unwrap()).unwrap(),
        serde_json::json!({"call": "c1", "lane": "worker", "reason": "requested"})
    );
    let error = client::put_bytes(directory.path(), "/v1/calls/c2/lane", &Lane::Worker)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("404 Not Found: no call alive is named \"c2\"; \"voxlane calls\" shows their names"),
        "{error}"
    );
}

#[tokio::test]
async fn a_capture_ends_with_its_call() {
    let directory = tempfile::tempdir().unwrap();
    let _server = start(directory.path()).await;
    let capture = client::open(directory.path(), "/v1/calls/c1/capture").await.unwrap();
    assert_eq!(capture.collect().await.unwrap().to_bytes(), capture_of_one_frame());
    let error = client::open(directory.path(), "/v1/calls/c2/capture")
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("409 Conflict: call c2 has no media open"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_stops_lets_a_capture_come_to_its_end_and_waits_for_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path()).await;
    let ending = client::open(directory.path(), "/v1/calls/c1/capture").await.unwrap();
    let endless = client::open(directory.path(), "/v1/calls/e0/capture").await.unwrap();
    let begun = std::time::Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    assert!(!socket::path(directory.path()).exists());
    assert_eq!(ending.collect().await.unwrap().to_bytes(), capture_of_one_frame());
    drop(endless);
}

/// Runs the program against a gateway of this process; what it says to standard error, and its status.
async fn voxlane(arguments: &[&str], runtime_dir: &Path) -> (String, Option<i32>) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_voxlane"));
    let output = command.args(arguments).arg("--runtime-dir").arg(runtime_dir).output();
    let output = output.await.expect("the program runs");
    (String::from_utf8(output.stderr).expect("UTF-8"), output.status.code())
}

#[tokio::test]
async fn a_capture_is_written_to_a_file_of_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let _server = start(directory.path()).await;
    let file = directory.path().join("call.pcap");
    let path = file.to_str().unwrap();
    for (arguments, end) in [
        (
            &["capture", "c1", "-w", path][..],
            "; the call has ended or left the kernel lane",
        ),
        (&["capture", "e0", "-w", path, "--seconds", "1"], ""),
    ] {
        let said = voxlane(arguments, directory.path()).await;
        assert_eq!(said, (format!("1 frame in {path}{end}\n"), Some(0)));
        assert_eq!(std::fs::read(&file).unwrap(), capture_of_one_frame());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (error, status) = voxlane(&["capture", "c2", "-w", path], directory.path()).await;
    assert!(error.contains("409 Conflict: call c2 has no media open"), "{error}");
    assert_eq!(status, Some(1));
}
