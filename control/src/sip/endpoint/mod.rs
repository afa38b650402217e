//! The user agent core: the one object that holds every transaction and dialog.
//!
//! What a message is for is decided here, in one place: [`frame`] and [`Message::new`] make it a sound message or refuse
//! it; [`Purpose`] names everything a request can be for; `on_request` says what is done about each. The doing is beside:
//! [`uas`] answers calls, [`indialog`] serves requests within dialogs, [`uac`] places calls, [`offer`] and
//! [`request`] ask things of the other side once they are up, [`responses`] hears the answers, [`reliable`] makes what
//! rings arrive, [`refer`] hears what comes of a REFER, [`referred`] takes those of the others, [`replaces`] finds the dialog that a call takes the place of, [`update`] and [`session_timer`] keep sessions going or change them, [`ending`] hangs up, [`screen`] turns calls away
//! that are for nobody or too many,
//! [`authentication`] lets the others in and answers challenges, [`timers`] acts on time, [`compose`] writes what all of
//! them send.

mod authentication;
mod compose;
mod ending;
mod indialog;
mod offer;
mod outside;
mod purpose;
mod redirects;
mod refer;
mod referred;
mod reliable;
mod replaces;
mod request;
mod responses;
mod screen;
mod session_timer;
mod timers;
mod uac;
mod uas;
mod update;

use std::collections::HashMap;
use std::net::SocketAddr;

use super::api::{Counters, DialogId, EndpointConfig, Event, Input, Output, Transmit};
use super::dialog::{Dialogs, Reply};
use super::digest::{Admission, Client, NonceKey};
use super::domains::Domains;
use super::ids::Ids;
use super::outbox::Outbox;
use super::outside::Known;
use super::path::{ConnectionId, PeerId, Transport};
use super::policy::Policies;
use super::syntax::frame::NotSip;
use super::syntax::message::Message;
use super::syntax::{Fault, Framed, Method, Request, StartLine, Via, frame};
use super::transaction::{
    Context, Key, Owner, Path, Server, ServerInvite, Timers, Timings, Transaction, TransactionId, Transactions,
};
use crate::guard::intake::Intake;
use crate::guard::rate::Rate;
use crate::time::Time;
use purpose::Purpose;

pub use authentication::AuthFailures;

/// Most transactions at once; beyond, requests outside dialogs are answered 503 and forgotten. Some 1.5 KiB each.
const MAX_TRANSACTIONS: usize = 1 << 20;

/// Refusals a second of callers whom no trunk allows that are worth a warning.
const GRUMBLES: u32 = 2;

/// The SIP core. See the [module above](super) for how it is driven.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    options_status: u16,
    shared: Shared,
    transactions: Transactions,
    dialogs: Dialogs,
    ids: Ids,
    admission: Admission,
    logins: Client,
    domains: Domains,
    intake: Intake,
    /// How often it is logged that somebody is refused whom no trunk allows: whoever likes can make that happen.
    grumbles: Rate,
    /// What those who connected over TLS asked for.
    server_names: HashMap<ConnectionId, String>,
    policies: Policies,
    outside: HashMap<TransactionId, outside::Asked>,
    /// User parts of our Contacts that registrars know, and whose calls to them are.
    contacts: HashMap<String, Known>,
}

/// What every state machine works with.
#[derive(Debug)]
struct Shared {
    timings: Timings,
    timers: Timers,
    outbox: Outbox,
    counters: Counters,
}

impl Shared {
    fn context(&mut self, now: Time, owner: Owner) -> Context<'_> {
        Context {
            now,
            owner,
            timings: &self.timings,
            timers: &mut self.timers,
            outbox: &mut self.outbox,
            counters: &mut self.counters,
        }
    }

    fn transaction(&mut self, now: Time, id: TransactionId) -> Context<'_> {
        self.context(now, Owner::Transaction(id))
    }

    fn dialog(&mut self, now: Time, id: DialogId) -> Context<'_> {
        self.context(now, Owner::Dialog(id))
    }
}

impl Endpoint {
    /// A core with no calls, that lets everybody in and has no login anywhere: see [`Self::with_trunks`].
    pub fn new(config: EndpointConfig) -> Self {
        let mut ids = Ids::new(config.seed);
        Self {
            admission: Admission::open(NonceKey::new(ids.key())),
            logins: Client::default(),
            domains: Domains::default(),
            intake: Intake::default(),
            grumbles: Rate::new(GRUMBLES, Time::ZERO),
            server_names: HashMap::new(),
            policies: Policies::default(),
            outside: HashMap::new(),
            contacts: HashMap::new(),
            options_status: 200,
            shared: Shared {
                timings: Timings::new(&config),
                timers: Timers::default(),
                outbox: Outbox::default(),
                counters: Counters::default(),
            },
            transactions: Transactions::default(),
            dialogs: Dialogs::default(),
            ids,
            config,
        }
    }

    /// Takes in something that happened outside.
    pub fn handle_input(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Datagram { local, remote, data } => self.on_message(now, Path::udp(local, remote), data),
            Input::Message { path, data } => self.on_message(now, path, data),
            Input::Damaged {
                path,
                head,
                status,
                reason,
            } => self.on_damaged(path, head, Fault { status, reason }),
            Input::Named {
                connection,
                server_name,
            } => {
                self.server_names.insert(connection, server_name.to_owned());
            }
            Input::Unreachable { transport, remote } => self.on_unreachable(now, transport, remote),
            Input::Returned { remote, datagram } => self.on_returned(now, remote, datagram),
            Input::Lost {
                connection,
                transport,
                remote,
            } => {
                self.server_names.remove(&connection);
                self.on_lost(now, connection, transport, remote);
            }
        }
    }

    /// Acts on every timer that is due. To be called at the time [`Output::Timeout`] gave; earlier or later does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((owner, timer)) = self.shared.timers.pop(now) {
            self.on_timer(now, owner, timer);
        }
    }

    /// The next thing to do; [`Output::Timeout`] when there is nothing to do now.
    pub fn poll_output(&mut self) -> Output {
        self.shared
            .outbox
            .pop()
            .unwrap_or_else(|| Output::Timeout(self.shared.timers.next()))
    }

    /// What has been seen and done since start, and what is alive now.
    pub fn counters(&self) -> Counters {
        Counters {
            transactions: self.transactions.len() as u64,
            dialogs: self.dialogs.len() as u64,
            ..self.shared.counters
        }
    }

    /// Call-ID of a dialog that is alive.
    pub fn call_id(&self, dialog: DialogId) -> Option<&str> {
        Some(&self.dialogs.get(dialog)?.identity.call_id)
    }

    /// Says whom connections are opened to where a dialog that came in needs one.
    pub fn belongs_to(&mut self, dialog: DialogId, peer: PeerId) {
        if let Some(dialog) = self.dialogs.get_mut(dialog) {
            dialog.identity.belongs_to(peer);
        }
    }

    /// Sets what OPTIONS outside a dialog is answered: 200 normally, 503 when overloaded.
    pub fn options_status(&mut self, status: u16) {
        self.options_status = status;
    }

    fn on_message(&mut self, now: Time, path: Path, data: &[u8]) {
        let framed = match frame(data) {
            Ok(framed) => framed,
            Err(NotSip::Keepalive) => return,
            Err(NotSip::StartLine | NotSip::TooLong) => {
                self.shared.counters.malformed += 1;
                return;
            }
        };
        match Message::new(framed) {
            Ok(Message::Request(request)) => {
                self.shared.counters.requests += 1;
                self.on_request(now, path, &request);
            }
            Ok(Message::Response(response)) => {
                self.shared.counters.responses += 1;
                self.on_response(now, path, &response);
            }
            Err(refused) => self.refuse_damaged(path, data.len(), &refused.1, refused.0),
        }
    }

    /// A message that does not end where it should, on a connection that is about to be closed for it.
    fn on_damaged(&mut self, path: Path, head: &[u8], fault: Fault) {
        match frame(head) {
            Ok(framed) => self.refuse_damaged(path, usize::MAX, &framed, fault),
            Err(_) => self.shared.counters.malformed += 1,
        }
    }

    /// Answers a damaged request, if it says where the answer goes and the answer is no longer than it was: a forged
    /// source must not be sent more than the forger spent.
    fn refuse_damaged(&mut self, path: Path, size: usize, framed: &Framed, fault: Fault) {
        let answerable = match &framed.start {
            StartLine::Request { method, .. } => method != "ACK",
            StartLine::Response { .. } => false,
        };
        let via = framed.fields.vias.first();
        let via = via.and_then(|via| Via::parse(via).ok().or_else(|| Via::of_damaged(via)));
        let (true, Some(via)) = (answerable, via) else {
            self.shared.counters.malformed += 1;
            return;
        };
        let reply = Reply::to_damaged(&framed.fields, via, path);
        let response = reply
            .write_reason(fault.status, fault.reason, &self.ids.tag())
            .finish(None);
        // A request for a scheme we do not serve, or of a version we do not speak, is a sound one.
        // Who has a connection is where he says.
        let may_be_forged = path.transport == Transport::Udp && !matches!(fault.status, 416 | 505);
        if response.len() > size && may_be_forged {
            self.shared.counters.malformed += 1;
            return;
        }
        tracing::debug!(remote = %path.remote, status = fault.status, reason = fault.reason, "request refused");
        self.shared.counters.bad_requests += 1;
        self.shared.outbox.send(Transmit {
            path: reply.path,
            data: response,
        });
    }

    /// Everything a request can be for, and what is done about it.
    fn on_request(&mut self, now: Time, path: Path, request: &Request) {
        match self.purpose(request) {
            Purpose::Repeated(transaction) => self.on_repeated(now, transaction),
            Purpose::AcksRefusal(transaction) => self.on_ack_of_refusal(now, transaction, request),
            Purpose::AcksAnswer(dialog) => self.on_ack_of_answer(now, dialog, request),
            Purpose::StrayAck => self.shared.counters.stray += 1,
            Purpose::Cancels(invite) => self.on_cancel(now, path, request, invite),
            Purpose::NewCall { .. } if self.turns_away(now, path, request) => {}
            Purpose::NewCall { sdp } => self.on_call(now, path, request, sdp),
            Purpose::Ping { dialog } => self.on_options(now, path, request, dialog),
            Purpose::Reinvite { dialog, sdp } => self.on_reinvite(now, path, request, dialog, sdp),
            Purpose::Update { dialog, sdp } => self.on_update(now, path, request, dialog, sdp),
            Purpose::Prack { dialog, sdp } => self.on_prack(now, path, request, dialog, sdp),
            Purpose::Refer { dialog, referral } => self.on_refer(now, path, request, dialog, referral),
            Purpose::Notify { dialog, refer, news } => self.on_notify(now, path, request, dialog, refer, news),
            Purpose::Bye { dialog } => self.on_bye(now, path, request, dialog),
            Purpose::Refused { refusal, dialog } => self.refuse(now, path, request, refusal, dialog),
        }
    }

    /// A request came again within its transaction.
    fn on_repeated(&mut self, now: Time, id: TransactionId) {
        self.shared.counters.retransmissions_received += 1;
        let Some(entry) = self.transactions.get(id) else { return };
        let mut cx = self.shared.transaction(now, id);
        match &entry.transaction {
            Transaction::ServerInvite(invite) => invite.on_repeated(&mut cx),
            Transaction::Server(server) => server.on_repeated(&mut cx),
            Transaction::ClientInvite(_) | Transaction::Client(_) => {}
        }
    }

    /// Starts the transaction of an INVITE.
    fn start_invite(&mut self, request: &Request, path: Path, dialog: Option<DialogId>) -> TransactionId {
        let id = self.transactions.next_id();
        let mut keys = vec![Key::server(request, "INVITE")];
        if request.to.tag().is_none() {
            keys.push(Key::merged(request));
        }
        let invite = ServerInvite::new(path);
        self.transactions
            .insert(id, Transaction::ServerInvite(invite), dialog, keys, None);
        id
    }

    /// Sends a response to an INVITE through its transaction.
    fn respond(&mut self, now: Time, id: TransactionId, status: u16, response: Vec<u8>) {
        let Some(entry) = self.transactions.get_mut(id) else {
            return;
        };
        let mut cx = self.shared.transaction(now, id);
        match &mut entry.transaction {
            Transaction::ServerInvite(invite) => invite.respond(&mut cx, status, response),
            Transaction::Server(_) | Transaction::ClientInvite(_) | Transaction::Client(_) => {}
        }
    }

    /// Sends the final response to any request, with a transaction of its own.
    fn finish(&mut self, now: Time, request: &Request, path: Path, status: u16, response: Vec<u8>) {
        let in_dialog = request.to.tag().is_some();
        if self.transactions.len() >= MAX_TRANSACTIONS && !in_dialog {
            self.shared.outbox.send(Transmit { path, data: response });
            return;
        }
        if request.method == Method::Known(rsip::Method::Invite) {
            let id = self.start_invite(request, path, None);
            self.respond(now, id, status, response);
            return;
        }
        let id = self.transactions.next_id();
        let mut keys = vec![Key::server(request, &request.method_text)];
        if !in_dialog && request.method != Method::Known(rsip::Method::Cancel) {
            keys.push(Key::merged(request));
        }
        let server = Server::start(&mut self.shared.transaction(now, id), path, response);
        self.transactions
            .insert(id, Transaction::Server(server), None, keys, None);
    }

    fn tell(&mut self, event: Event) {
        self.shared.outbox.tell(event);
    }

    /// Forgets a dialog and its timers.
    fn forget(&mut self, dialog: DialogId) {
        self.shared.timers.disarm_all(Owner::Dialog(dialog));
        self.dialogs.remove(dialog);
    }

    /// Forgets a transaction and its timers.
    fn drop_transaction(&mut self, id: TransactionId) -> Option<DialogId> {
        self.shared.timers.disarm_all(Owner::Transaction(id));
        self.transactions.remove(id)?.dialog
    }

    fn on_unreachable(&mut self, now: Time, transport: Transport, remote: SocketAddr) {
        for id in self.transactions.sent_to(transport, remote) {
            self.on_undelivered(now, id);
        }
    }

    /// The request with the branch that is quoted did not arrive.
    fn on_returned(&mut self, now: Time, remote: SocketAddr, datagram: &[u8]) {
        let request = Key::quoted(datagram).and_then(|key| self.transactions.find(&key));
        if let Some(id) = request.filter(|id| self.transactions.sent_to(Transport::Udp, remote).contains(id)) {
            self.shared.counters.undelivered += 1;
            self.on_undelivered(now, id);
        }
    }

    /// The request of a transaction did not arrive.
    fn on_undelivered(&mut self, now: Time, id: TransactionId) {
        let mut cx = self.shared.transaction(now, id);
        let fate = match self.transactions.get_mut(id).map(|entry| &mut entry.transaction) {
            Some(Transaction::ClientInvite(invite)) => {
                let fate = invite.on_unreachable(&mut cx);
                let path = invite.hop.path;
                self.transactions.moved(id, path);
                fate
            }
            Some(Transaction::Client(client)) => client.on_unreachable(),
            Some(Transaction::ServerInvite(_) | Transaction::Server(_)) | None => return,
        };
        self.on_fate(now, id, fate);
    }

    /// Requests that nobody has answered may not have arrived (RFC 3261 section 18.4 leaves it to us what to do).
    fn on_lost(&mut self, now: Time, connection: ConnectionId, transport: Transport, remote: SocketAddr) {
        let mut ids = self.transactions.sent_on(connection);
        ids.extend(self.transactions.sent_to(transport, remote));
        for id in ids {
            let mut cx = self.shared.transaction(now, id);
            match self.transactions.get_mut(id).map(|entry| &mut entry.transaction) {
                Some(Transaction::ClientInvite(invite)) => {
                    let fate = invite.on_lost(&mut cx);
                    let path = invite.hop.path;
                    self.transactions.moved(id, path);
                    self.on_fate(now, id, fate);
                }
                Some(Transaction::Client(client)) => client.on_lost(&mut cx),
                Some(Transaction::ServerInvite(_) | Transaction::Server(_)) | None => {}
            }
        }
    }
}
