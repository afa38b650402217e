//! The gateway: the shell around the sans-IO cores.
//!
//! [`run`] binds the sockets, starts the data plane and then does one thing in a loop: wait for a datagram, a timer, a
//! media event or a looked-up name, give it to [`core::Core`], carry out the [`core::Effects`].
//!
//! The core is behind a mutex so that the admin socket can look at it; it is held for one batch of input and never
//! across an `await`.

mod agents;
mod application;
mod arrivals;
pub mod core;
mod dialling;
mod dns;
mod ephemeral;
mod fallback;
mod inspect;
mod live;
mod load;
pub mod locate;
mod operate;
mod overload;
mod perform;
mod placing;
mod realtime;
mod registered;
mod registrar;
mod requests;
mod supervision;
mod tallies;
mod tap;
mod transfer;
mod trunks;
mod watch;

use std::future::{pending, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{Notify, mpsc};
use tracing::{debug, error, info, warn};
use voxlane_dataplane::media_plane::MediaEvent;

use self::core::{Asker, Core, Effects};
use self::dns::Dns;
use self::load::{Load, Queue};
use crate::call::CallId;
use crate::config::model::{Config, Connections, HostPort};
use crate::ops::server::AdminServer;
use crate::rest::register::Register;
use crate::rest::server::{Api, Counts};
use crate::sip::locate::Destination;
use crate::sip::transport::tls::{self, ClientConfigs, Tls, TlsErrors};
use crate::sip::transport::udp::is_unreachable;
use crate::sip::transport::{Received, Settings, StreamEvent, Transports};
use crate::sip::{ConnectionId, Input, Transport};
use crate::time::{Clock, Time};
use crate::web::client::Client;
use crate::web::{Answered, RequestId};

/// A name that takes longer to look up than this is taken for unknown.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);
/// How long calls get to end when the gateway stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// How long connections get to take what is on its way to them when the gateway stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Messages handled before what they lead to is sent, and timers and other input get their turn: 100 Trying is not to wait for
/// long.
const BATCH: usize = 32;
/// Largest datagram UDP can carry.
const MAX_DATAGRAM: usize = 65_535;

/// How often the media of calls is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What was looked up, for whom.
enum Lookup {
    Host(CallId, HostPort, Result<Vec<SocketAddr>, String>),
    Listener(CallId, String, Result<Vec<SocketAddr>, String>),
    Place(Asker, Result<Vec<Destination>, String>),
    Web(RequestId, Answered),
}

/// Runs the gateway until SIGINT or SIGTERM; then hangs up what calls there are and returns.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let transport =
        Arc::new(Transports::bind(&config.sip.listen, settings(&config)?).context("cannot listen for SIP")?);
    let (sender, events) = crossbeam_channel::unbounded();
    ephemeral::check(&config.media);
    let dns = Dns::new(&config);
    let web = Arc::new(Client::new(config.sip.user_agent.clone(), tls::system_client()?));
    let plane = crate::plane::start(&config, sender)?;
    let media = bridge(events);
    let clock = Clock::start();
    let local_for = {
        let transport = Arc::clone(&transport);
        Box::new(move |by, remote| transport.local_for(by, remote))
    };
    let listen = transport.listen().to_vec();
    let mut core = Core::new(Arc::clone(&config), plane, listen, local_for, rand::random());
    core.set_agent_certificates(agent_certificates(&config).context("certificates of agents")?);
    let core = Arc::new(Mutex::new(core));
    let acted = Arc::new(Notify::new());
    let counts = Arc::new(Counts::default());
    let inspect = Arc::new(inspect::Inspector::new(
        Arc::clone(&core),
        Arc::clone(&transport),
        clock,
        Arc::clone(&acted),
        Arc::clone(&counts),
    ));
    let node = &config.node;
    let _api = match config.api.listen {
        Some(address) => {
            let register = Arc::new(Register::new(config.api.history));
            lock(&core).set_register(Arc::clone(&register));
            let gateway = Arc::clone(&inspect);
            let api = Api::start(address, Arc::clone(&config), gateway, register, counts).await;
            Some(api.with_context(|| format!("api.listen: cannot listen on {address}"))?)
        }
        None => None,
    };
    let admin = AdminServer::start(inspect, &node.runtime_dir, node.metrics).await?;

    let mut gateway = Gateway {
        config: Arc::clone(&config),
        core,
        transport,
        web,
        clock,
        dns,
        acted,
        lookups: mpsc::unbounded_channel(),
        wake: None,
        watching: false,
        finishing: Vec::new(),
        load: Load::new(Instant::now()),
    };
    // Trunks have things that are due at once.
    gateway.wake = Some(clock.now());
    let listen: Vec<String> = gateway.transport.listen().iter().map(ToString::to_string).collect();
    info!(listen = listen.join(" "), "ready");
    let served = gateway.serve(media).await;
    gateway.transport.streams.close(CLOSE_TIMEOUT).await;
    admin.stop().await;
    served
}

/// What the configuration says of sockets.
fn settings(config: &Config) -> anyhow::Result<Settings> {
    let Connections {
        most,
        most_per_source,
        idle,
        keepalive,
    } = config.sip.connections;
    Ok(Settings {
        tos: config.sip.dscp.tos(),
        most,
        most_per_source,
        idle,
        keepalive,
        tls: Arc::new(Tls::load(config.tls()).context("certificates of SIP over TLS")?),
    })
}

/// What TLS towards agents needs, read from the files that the configuration names.
fn agent_certificates(config: &Config) -> Result<ClientConfigs, TlsErrors> {
    tls::clients(config.agent_peers())
}

/// Hands media events from the workers' channel to a tokio channel; ends when either side is gone.
pub(crate) fn bridge(events: crossbeam_channel::Receiver<MediaEvent>) -> mpsc::UnboundedReceiver<MediaEvent> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for event in events {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Gateway {
    config: Arc<Config>,
    core: Arc<Mutex<Core>>,
    transport: Arc<Transports>,
    web: Arc<Client>,
    clock: Clock,
    dns: Dns,
    /// Told when something was done to the core from elsewhere.
    acted: Arc<Notify>,
    lookups: (mpsc::UnboundedSender<Lookup>, mpsc::UnboundedReceiver<Lookup>),
    wake: Option<Time>,
    /// Whether there are calls whose media is to be looked at now.
    watching: bool,
    /// Connections to be closed once what is to be sent is.
    finishing: Vec<ConnectionId>,
    load: Load,
}

impl Gateway {
    async fn serve(&mut self, mut media: mpsc::UnboundedReceiver<MediaEvent>) -> anyhow::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut stopping = None;
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if stopping.is_some() && lock(&self.core).is_idle() {
                info!("every call has ended");
                return Ok(());
            }
            let wake = self.wake.map(|wake| self.clock.instant(wake));
            let effects = tokio::select! {
                received = self.transport.udp.recv(&mut buffer) => self.received(received, &mut buffer),
                event = self.transport.streams.recv() => self.on_streams(event),
                () = sleep_until(wake) => self.with_core(|core, now| core.timeout(now)),
                returned = self.transport.udp.returned() => self.with_core(|core, now| core.input(now, Input::Returned {
                    remote: returned.remote,
                    datagram: &returned.datagram,
                })),
                due = looks.tick() => self.look(due.elapsed()),
                () = self.acted.notified() => self.with_core(|core, now| core.timeout(now)),
                () = ready(()), if self.watching => self.watch(|_| {}),
                Some(event) = media.recv() => self.with_core(|core, now| core.media(now, event)),
                Some(lookup) = self.lookups.1.recv() => self.with_core(|core, now| match lookup {
                    Lookup::Host(call, host, result) => core.resolved(now, call, &host, result),
                    Lookup::Listener(call, stream, result) => core.listener_found(now, call, &stream, result),
                    Lookup::Place(asker, result) => core.located(now, asker, result),
                    Lookup::Web(request, answered) => core.responded(now, request, answered),
                }),
                _ = hang_up.recv() => {
                    self.reload();
                    continue;
                }
                _ = interrupt.recv(), if stopping.is_none() => self.stop(&mut stopping),
                _ = terminate.recv(), if stopping.is_none() => self.stop(&mut stopping),
                () = sleep_until(stopping) => {
                    warn!("some calls or registrations did not end in time");
                    return Ok(());
                }
            };
            self.carry_out(effects).await;
        }
    }

    /// Looks at the media of a few calls, after what is to be done before.
    fn watch(&mut self, before: impl FnOnce(&mut Core)) -> Effects {
        let mut more = false;
        let effects = self.with_core(|core, now| {
            before(core);
            more = core.watch_some(now);
        });
        self.watching = more;
        effects
    }

    /// Handles the datagram that woke us and what else is waiting, up to a batch.
    fn received(&mut self, first: std::io::Result<Received>, buffer: &mut [u8]) -> Effects {
        let mut next = first.map(Some);
        let mut full = false;
        let effects = self.with_core(|core, now| {
            for more in (0..BATCH).rev() {
                match next {
                    Ok(Some(Received { local, remote, len })) => {
                        core.input(
                            now,
                            Input::Datagram {
                                local,
                                remote,
                                data: &buffer[..len],
                            },
                        );
                    }
                    Ok(None) => return,
                    // An earlier datagram of ours found nobody; retransmission or time-out deals with it.
                    Err(error) => debug!(%error, "SIP receive failed"),
                }
                // What is taken must be handled, too.
                if more == 0 {
                    full = true;
                    return;
                }
                next = self.transport.udp.try_recv(buffer);
            }
        });
        match full {
            true => self.load.full(Queue::Datagrams, Instant::now()),
            false => self.load.drained(Queue::Datagrams),
        }
        effects
    }

    /// Looks at how much there is to do, and at calls' media.
    fn look(&mut self, late: Duration) -> Effects {
        let measured = self.load.measure(Instant::now(), late);
        let now = self.clock.now();
        self.watch(|core| {
            core.measured(now, measured);
            core.begin_watch();
        })
    }

    /// The same of what happens on connections.
    fn on_streams(&mut self, first: StreamEvent) -> Effects {
        let now = self.clock.now();
        let mut core = lock(&self.core);
        let streams = &self.transport.streams;
        let others = std::iter::from_fn(|| streams.try_recv());
        let mut room = BATCH;
        for event in std::iter::once(first).chain(others).take(BATCH) {
            room -= 1;
            match &event {
                StreamEvent::Message { path, data } => core.input(now, Input::Message { path: *path, data }),
                StreamEvent::Named {
                    connection,
                    server_name,
                } => {
                    let connection = *connection;
                    core.input(
                        now,
                        Input::Named {
                            connection,
                            server_name,
                        },
                    );
                }
                StreamEvent::Damaged {
                    path,
                    head,
                    status,
                    reason,
                } => {
                    let damaged = Input::Damaged {
                        path: *path,
                        head,
                        status: *status,
                        reason,
                    };
                    core.input(now, damaged);
                    self.finishing.extend(path.connection);
                }
                StreamEvent::Unreachable { transport, remote } => {
                    let (transport, remote) = (*transport, *remote);
                    core.input(now, Input::Unreachable { transport, remote });
                }
                StreamEvent::Lost {
                    connection,
                    transport,
                    remote,
                } => {
                    let lost = Input::Lost {
                        connection: *connection,
                        transport: *transport,
                        remote: *remote,
                    };
                    core.input(now, lost);
                }
            }
        }
        match room {
            0 => self.load.full(Queue::Streams, Instant::now()),
            _ => self.load.drained(Queue::Streams),
        }
        core.take_effects()
    }

    /// Reads the certificates anew.
    fn reload(&self) {
        // Where something is wrong with the agents', those of SIP are not touched either.
        let read = agent_certificates(&self.config).and_then(|agents| self.transport.streams.reload().map(|()| agents));
        match read {
            Ok(agents) => {
                lock(&self.core).set_agent_certificates(agents);
                info!("certificates read anew");
            }
            Err(errors) => error!("the certificates stay as they were: {errors}"),
        }
    }

    fn with_core(&self, work: impl FnOnce(&mut Core, Time)) -> Effects {
        let now = self.clock.now();
        let mut core = lock(&self.core);
        work(&mut core, now);
        core.take_effects()
    }

    async fn carry_out(&mut self, mut effects: Effects) {
        loop {
            self.wake = effects.wake;
            for (call, host) in effects.lookups {
                let answer = self.lookups.0.clone();
                tokio::spawn(async move {
                    // The receiver lives as long as the gateway.
                    let found = resolve(&host).await;
                    let _ = answer.send(Lookup::Host(call, host, found));
                });
            }
            for (call, stream, host) in effects.listeners {
                let answer = self.lookups.0.clone();
                tokio::spawn(async move {
                    let _ = answer.send(Lookup::Listener(call, stream, resolve(&host).await));
                });
            }
            for (asker, place) in effects.places {
                let (answer, dns) = (self.lookups.0.clone(), self.dns.clone());
                tokio::spawn(async move {
                    let _ = answer.send(Lookup::Place(asker, dns.locate(&place).await));
                });
            }
            for (id, request) in effects.requests {
                let (answer, web) = (self.lookups.0.clone(), Arc::clone(&self.web));
                tokio::spawn(async move {
                    let _ = answer.send(Lookup::Web(id, web.ask(request).await));
                });
            }
            let mut unreachable = Vec::new();
            for transmit in effects.transmits {
                let remote = transmit.path.remote;
                if let Err(error) = self.transport.send(transmit).await {
                    debug!(%remote, %error, "SIP send failed");
                    unreachable.extend(is_unreachable(&error).then_some(remote));
                }
            }
            for connection in self.finishing.drain(..) {
                self.transport.streams.finish(connection);
            }
            if unreachable.is_empty() {
                return;
            }
            effects = self.with_core(|core, now| {
                for remote in unreachable {
                    core.input(
                        now,
                        Input::Unreachable {
                            transport: Transport::Udp,
                            remote,
                        },
                    );
                }
            });
        }
    }

    /// Begins to stop; `give_up` is set to when to give up waiting.
    fn stop(&self, give_up: &mut Option<Instant>) -> Effects {
        info!("stopping: hanging up every call");
        *give_up = Some(Instant::now() + STOP_TIMEOUT);
        self.with_core(|core, now| core.stop(now, "gateway is stopping"))
    }
}

/// Sleeps until then; for ever, if there is no then.
pub(crate) async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => pending().await,
    }
}

/// Looks a host up; every address of it, with its port.
pub(crate) async fn resolve(host: &HostPort) -> Result<Vec<SocketAddr>, String> {
    let lookup = tokio::net::lookup_host((host.host.as_str(), host.port));
    match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(format!("cannot resolve {}: {error}", host.host)),
        Err(_) => Err(format!(
            "cannot resolve {}: no answer in {} s",
            host.host,
            LOOKUP_TIMEOUT.as_secs()
        )),
    }
}

/// Locks the core. A panic in another task must not take the gateway down with it: the state is used as it is.
fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}
