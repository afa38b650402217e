//! Requests of ours outside dialogs, sent again with credentials where they are asked for.

use super::super::api::Event;
use super::super::digest::Attempt;
use super::super::outside::{Answer, Heard, Known, Outside, OutsideId, OutsideMethod, Sequence};
use super::super::path::Path;
use super::super::syntax::uri::{phone_name_addr, phone_uri};
use super::super::syntax::{NameAddr, Response, Writer, status};
use super::super::transaction::hop::via;
use super::super::transaction::{Client, Key, Transaction, TransactionId};
use super::redirects::seconds;
use super::request::Ended;
use super::{Endpoint, compose};
use crate::sip::api::{MAX_FORWARDS, UserPhone};
use crate::time::Time;

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    id: OutsideId,
    outside: Outside,
    sequence: Sequence,
    attempt: Attempt,
}

impl Endpoint {
    /// Sends a request outside dialogs, with credentials where they are asked for. [`Event::Outside`] follows with its name.
    pub fn ask_outside(&mut self, now: Time, outside: Outside) -> OutsideId {
        let transaction = self.transactions.next_id();
        let id = OutsideId(transaction.0);
        let sequence = match &outside.sequence {
            Some(sequence) => sequence.clone(),
            None => Sequence {
                call_id: self.ids.call_id(),
                cseq: self.ids.cseq(),
            },
        };
        let asked = Asked {
            id,
            outside,
            sequence,
            attempt: Attempt::default(),
        };
        self.send_outside(now, transaction, asked);
        id
    }

    /// Sends it, for the first time or with credentials.
    fn send_outside(&mut self, now: Time, transaction: TransactionId, mut asked: Asked) {
        let Outside {
            method,
            local,
            remote,
            transport,
            peer,
            request_uri,
            from,
            to,
            contact,
            trunk,
            headers,
            ..
        } = &asked.outside;
        let path = Path {
            local: *local,
            remote: *remote,
            transport: *transport,
            connection: None,
            peer: *peer,
        };
        asked.sequence.cseq = asked.sequence.cseq.saturating_add(1);
        let uri = phone_uri(request_uri, UserPhone::Off) + transport.parameter();
        let ids = &mut self.ids;
        let credentials = self
            .logins
            .credentials(trunk.as_deref(), &mut asked.attempt, method.name(), &uri, || {
                ids.cnonce()
            });
        let branch = self.ids.branch();
        let mut writer = Writer::request(method.name(), &uri);
        writer
            .header("Via", via(path, &branch))
            .header("Max-Forwards", MAX_FORWARDS)
            .header(
                "From",
                format_args!("{};tag={}", phone_name_addr(from, UserPhone::Off), self.ids.tag()),
            )
            .header("To", phone_name_addr(to, UserPhone::Off))
            .header("Call-ID", &asked.sequence.call_id)
            .header("CSeq", format_args!("{} {}", asked.sequence.cseq, method.name()));
        if !contact.is_empty() {
            writer.header("Contact", compose::contact_of(contact, path));
        }
        if *method == OutsideMethod::Options {
            writer.header("Accept", compose::SDP);
        }
        for (name, value) in credentials.iter().chain(headers) {
            writer.header(name, value);
        }
        writer.header("User-Agent", &self.config.user_agent);
        let request = writer.finish(None);
        let client = Client::start(&mut self.shared.transaction(now, transaction), path, request);
        let key = Key::Client {
            branch,
            method: method.name().to_owned(),
        };
        self.transactions
            .insert(transaction, Transaction::Client(client), None, vec![key], Some(path));
        self.outside.insert(transaction, asked);
    }

    /// A request of ours that belongs to no dialog has ended, or is to be sent again with credentials. A CANCEL is one, too;
    /// nobody waits for its end.
    pub(super) fn on_outside_ended(&mut self, now: Time, transaction: TransactionId, ended: Ended<'_>) {
        let Some(mut asked) = self.outside.remove(&transaction) else {
            return;
        };
        let Asked { outside, sequence, .. } = &asked;
        let response = match ended {
            Ended::Response(response) => response,
            Ended::Failed(status) => {
                let answer = Answer {
                    status,
                    reason: status::phrase(status).to_owned(),
                    heard: match status {
                        503 => Heard::Unreachable,
                        _ => Heard::Nothing,
                    },
                    sequence: sequence.clone(),
                    expires: None,
                    min_expires: None,
                    retry_after: None,
                };
                return self.tell(Event::Outside {
                    id: asked.id,
                    answer: Box::new(answer),
                });
            }
        };
        let mut reason = match response.reason.as_str() {
            "" => status::phrase(response.status),
            reason => reason,
        }
        .to_owned();
        if matches!(response.status, 401 | 407) {
            let trunk = outside.trunk.clone();
            let challenges = &response.fields.challenges;
            match self.logins.challenged(trunk.as_deref(), &mut asked.attempt, challenges) {
                Ok(()) => {
                    let again = self.transactions.next_id();
                    return self.send_outside(now, again, asked);
                }
                Err(refused) => {
                    self.logins.note(trunk.as_deref(), &refused);
                    reason = refused.to_string();
                }
            }
        }
        let fields = &response.fields;
        let number = |text: &Option<String>| text.as_deref().and_then(seconds);
        let answer = Answer {
            status: response.status,
            reason,
            heard: Heard::Response,
            sequence: asked.sequence,
            expires: expires_of(response, &asked.outside.contact).or_else(|| number(&fields.expires)),
            min_expires: number(&fields.min_expires),
            retry_after: number(&fields.retry_after),
        };
        self.tell(Event::Outside {
            id: asked.id,
            answer: Box::new(answer),
        });
    }

    /// Calls to this user part are calls to us from now on, since a registrar is told of it; the number is in their To.
    pub fn take_contact(&mut self, contact: &str, whose: Known) {
        self.contacts.insert(contact.to_owned(), whose);
    }
}

/// What a response says of how long our Contact is known.
fn expires_of(response: &Response, contact: &str) -> Option<std::time::Duration> {
    let ours = |text: &String| NameAddr::parse(text).ok().filter(|known| known.uri.user == contact);
    let found = response.fields.contacts.iter().find_map(ours)?;
    seconds(found.params.get("expires")?)
}
