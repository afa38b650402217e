//! A data plane for tests of the gateway's core: it moves no media, and what is asked of it must make sense.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the fuzz targets use a part; in a test, an assertion"
)]

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::{
    AgentNotice, AgentSpec, Endpoint as MediaEndpoint, EndpointId, FlowReport, LegReport, MediaError, MediaPlane,
    MirroredFrame, PlaneStatus, Quality, Session, Speech, StreamStats, TapId, TapSpec,
};

/// A media plane that keeps books.
#[derive(Default)]
pub struct Books {
    pub next: AtomicU64,
    pub open: Mutex<HashMap<EndpointId, Option<Session>>>,
    pub relayed: AtomicU64,
    /// Whether relays are refused.
    pub out_of_order: AtomicBool,
    pub attached: AtomicU64,
    /// Endpoints whose agent is looked for, in order.
    pub awaited: Mutex<Vec<EndpointId>>,
    /// Who was attached last.
    pub agent: Mutex<Option<AgentSpec>>,
    /// Whether far ends hear their agents.
    pub speech: Mutex<HashMap<EndpointId, Speech>>,
    /// What agents were told.
    pub told: Mutex<Vec<AgentNotice>>,
    /// Which endpoints were joined last.
    pub pair: Mutex<Option<[EndpointId; 2]>>,
    pub mirrored: Mutex<Vec<EndpointId>>,
    /// Endpoints that were given to an agent, in order.
    pub agents: Mutex<Vec<EndpointId>>,
    /// Who listens, and where.
    pub taps: Mutex<HashMap<TapId, (EndpointId, TapSpec)>>,
    /// Whether there is media at all, and from whom there is none.
    pub heard: Mutex<Option<HashSet<IpAddr>>>,
    /// Packets that each endpoint has received.
    packets: Mutex<HashMap<EndpointId, u64>>,
}

impl Books {
    /// From now on nothing comes from there any more.
    pub fn silence(&self, from: IpAddr) {
        self.heard.lock().unwrap().get_or_insert_default().insert(from);
    }

    fn remote(&self, endpoint: EndpointId) -> Option<IpAddr> {
        Some(self.open.lock().unwrap().get(&endpoint)?.as_ref()?.remote_rtp.ip())
    }
}

impl MediaPlane for Books {
    fn open(&self, local: IpAddr) -> Result<MediaEndpoint, MediaError> {
        let id = EndpointId(self.next.fetch_add(1, Ordering::SeqCst));
        self.open.lock().unwrap().insert(id, None);
        Ok(MediaEndpoint {
            id,
            rtp: SocketAddr::new(local, 10_000 + 2 * id.0 as u16),
        })
    }

    fn program(&self, endpoint: EndpointId, session: Session) -> Result<(), MediaError> {
        *self.open.lock().unwrap().get_mut(&endpoint).unwrap() = Some(session);
        Ok(())
    }

    fn relay(&self, a: EndpointId, b: EndpointId) -> Result<[Lane; 2], MediaError> {
        let open = self.open.lock().unwrap();
        assert!(
            open[&a].is_some() && open[&b].is_some(),
            "relayed before both legs were programmed"
        );
        if self.out_of_order.load(Ordering::SeqCst) {
            return Err(MediaError::NoSession(a));
        }
        self.relayed.fetch_add(1, Ordering::SeqCst);
        *self.pair.lock().unwrap() = Some([a, b]);
        Ok([Lane::Kernel; 2])
    }

    fn attach(&self, endpoint: EndpointId, agent: AgentSpec) -> Result<(), MediaError> {
        assert!(self.open.lock().unwrap().contains_key(&endpoint));
        if matches!(agent, AgentSpec::Awaited) {
            self.awaited.lock().unwrap().push(endpoint);
            return Ok(());
        }
        self.attached.fetch_add(1, Ordering::SeqCst);
        self.agents.lock().unwrap().push(endpoint);
        *self.agent.lock().unwrap() = Some(agent);
        Ok(())
    }

    fn set_speech(&self, endpoint: EndpointId, speech: Speech) -> Result<(), MediaError> {
        assert!(self.open.lock().unwrap().contains_key(&endpoint));
        self.speech.lock().unwrap().insert(endpoint, speech);
        Ok(())
    }

    fn tell(&self, endpoint: EndpointId, notice: AgentNotice) -> Result<(), MediaError> {
        assert!(self.open.lock().unwrap().contains_key(&endpoint));
        self.told.lock().unwrap().push(notice);
        Ok(())
    }

    fn close(&self, endpoint: EndpointId) -> Option<LegReport> {
        self.open.lock().unwrap().remove(&endpoint).expect("closed twice");
        None
    }

    fn prefer(&self, _: EndpointId, lane: Lane) -> Result<Lane, MediaError> {
        Ok(lane)
    }

    fn mirror(&self, endpoint: EndpointId, _: crossbeam_channel::Sender<MirroredFrame>) -> Result<(), MediaError> {
        self.mirrored.lock().unwrap().push(endpoint);
        Ok(())
    }

    fn tap(&self, endpoint: EndpointId, spec: TapSpec) -> Result<TapId, MediaError> {
        let tap = TapId(self.next.fetch_add(1, Ordering::SeqCst));
        self.taps.lock().unwrap().insert(tap, (endpoint, spec));
        Ok(tap)
    }

    fn end_tap(&self, tap: TapId) {
        self.taps.lock().unwrap().remove(&tap);
    }

    fn flow(&self, endpoint: EndpointId) -> Option<FlowReport> {
        let heard = self.heard.lock().unwrap();
        let silent = heard.as_ref()?;
        let remote = self.remote(endpoint);
        let mut packets = self.packets.lock().unwrap();
        let packets = packets.entry(endpoint).or_default();
        *packets += u64::from(remote.is_some_and(|remote| !silent.contains(&remote)));
        Some(FlowReport {
            endpoint,
            local: ([203, 0, 113, 50], 10_000).into(),
            forwarded_to: None,
            lane: Lane::Worker,
            reason: None,
            received: StreamStats {
                packets: *packets,
                ..StreamStats::default()
            },
            sent_packets: 0,
            userspace_packets: 0,
            drops: Vec::new(),
            digits: 0,
            paced: false,
            rtt_ms: None,
            quality: Quality::default(),
            srtp: None,
        })
    }

    fn flows(&self) -> Vec<FlowReport> {
        Vec::new()
    }

    fn status(&self) -> PlaneStatus {
        use voxlane_dataplane::media_plane::{IoMode, IoStatus};

        PlaneStatus {
            interfaces: Vec::new(),
            unavailable: None,
            workers: Vec::new(),
            ports_in_use: self.open.lock().unwrap().len(),
            ports_total: 0,
            io: IoStatus {
                mode: IoMode::Sockets,
                reason: None,
            },
            kernel: None,
        }
    }
}
